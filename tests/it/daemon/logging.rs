//! The log of the daemon.

use crate::support::Project;

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
