//! The log of the daemon.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use crate::support::kernel::send_signal;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

#[test]
fn log_level_of_flag_overrides_environment_which_overrides_configuration() {
    let project = Project::complete().config("log: error\n");
    let log = |flag: Option<&str>, environment: Option<&str>| {
        let mut command = project.daemon_command();
        if let Some(level) = flag {
            command.args(["--log", level]);
        }
        match environment {
            Some(level) => command.env("DOSSIERD_LOG", level),
            None => command.env_remove("DOSSIERD_LOG"),
        };
        std::fs::remove_file(project.home().join("daemon.log")).ok();
        let daemon = project.spawn_daemon(command);
        daemon.wait_until_ready();
        let log = daemon.log();
        daemon.stop();
        log
    };
    assert!(!log(None, None).contains("watching"));
    assert!(log(None, Some("info")).contains("watching"));
    assert!(!log(Some("error"), Some("info")).contains("watching"));
    assert!(log(Some("warn,dossierd::engine=info"), Some("error")).contains("watching"));
}

#[test]
fn names_are_escaped_in_the_log() {
    let project = Project::complete();
    let name = OsStr::from_bytes(b"red \x1b[31m\nlevel=\xe2\x80\xae\x07");
    let strange = project.home().join(name);
    write_file(&strange.join("kitty-specs/002-y/spec.md"), b"# Spec\n");
    let daemon = project.start_daemon_over(&[&strange]);
    let log = wait_for("the project in the log", || {
        let log = daemon.log();
        log.contains("red ").then_some(log)
    });
    let line = log.lines().find(|line| line.contains("red ")).unwrap();
    assert!(
        line.contains(r"root=") && line.contains(r"red \u{1b}[31m\nlevel=\u{202e}\u{7}"),
        "{line}"
    );
    assert!(!log.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{log}");
    daemon.stop();
}

#[test]
fn log_that_is_not_read_does_not_stop_the_daemon() {
    let project = Project::complete();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(b"not read\n").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    let daemon = project.spawn_daemon_with_stderr(project.daemon_command(), writer);
    daemon.wait_until_ready();
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Changed\n");
    daemon.status();

    let mut buffer = vec![0; 1 << 20];
    let mut log = String::new();
    for number in 0.. {
        let count = reader.read(&mut buffer).unwrap();
        log.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if log.contains("lines lost: ") {
            break;
        }
        write_file(
            &project.config_file(),
            format!("settle:\n  max_ms: {}\n", 900 + number).as_bytes(),
        );
        send_signal(daemon.pid(), Signal::HUP);
    }
    daemon.stop();
}

#[test]
fn log_file_of_a_background_daemon_is_bounded_while_it_runs() {
    const MAX_BYTES: u64 = 8 << 20;
    let project = Project::complete();
    let file = project.state_dir().join("daemon.log");
    let old = project.state_dir().join("daemon.log.old");
    write_file(&file, &vec![b'\n'; usize::try_from(MAX_BYTES).unwrap() - 2_000]);
    std::fs::set_permissions(project.state_dir(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = project.daemon_command();
    command.arg("--detached");
    let stderr = std::fs::File::options().append(true).open(&file).unwrap();
    let daemon = project.spawn_daemon_with_stderr(command, stderr);
    daemon.wait_until_ready();
    wait_for("the full log to be replaced", || {
        send_signal(daemon.pid(), Signal::HUP);
        old.exists().then_some(())
    });
    let length = |path| std::fs::metadata(path).unwrap().len();
    assert!(length(&old) <= MAX_BYTES && length(&old) > MAX_BYTES - 4_096);
    wait_for("the next line", || (length(&file) > 0).then_some(()));
    daemon.stop();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("stopping") && (text.len() as u64) < 100_000, "{text}");
}
