//! Hostile contents and budgets while the daemon runs: it shows the same as a scan, nothing blocks,
//! and a feature that is within its budgets again is evaluated again.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use rustix::fs::{FileType, Mode};

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

#[test]
fn hostile_names_links_and_special_files_are_shown_as_by_a_scan() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let feature = project.feature_dir();
    let names: [&[u8]; 6] = [
        b"new\nline.md",
        b"esc\x1b[31m.md",
        b"\xff\xfe.md",
        b"back\\slash.md",
        b"sp ace.md",
        b"\xe2\x80\xae.md",
    ];
    for name in names {
        write_file(&feature.join("research").join(OsStr::from_bytes(name)), b"x\n");
    }
    symlink("/etc/passwd", feature.join("link.md")).unwrap();
    symlink("/etc", feature.join("folder-link")).unwrap();
    symlink(".", feature.join("loop")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, feature.join("fifo.md"), FileType::Fifo, Mode::RUSR, 0)
        .unwrap();
    write_file(&feature.join("not-utf-8.md"), b"\xff\xff");
    File::create(feature.join("sparse.bin")).unwrap().set_len(1 << 40).unwrap();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(b'b'..=b'z')
            .map(|letter| {
                let (this, last) = (char::from(letter), char::from(letter - 1));
                format!("{this}: &{this} [*{last},*{last},*{last},*{last},*{last},*{last}]\n")
            })
            .collect::<String>();
    write_file(
        &feature.join("tasks/WP09-bomb.md"),
        format!("---\n{bomb}work_package_id: *z\n---\n").as_bytes(),
    );
    assert_invariants(&project, &daemon, &mut journal);
    // Entries change their type.
    fs::remove_file(feature.join("fifo.md")).unwrap();
    write_file(&feature.join("fifo.md"), b"a file now\n");
    fs::remove_file(feature.join("link.md")).unwrap();
    fs::create_dir(feature.join("link.md")).unwrap();
    write_file(&feature.join("link.md/inside.md"), b"x\n");
    fs::remove_file(feature.join("sparse.bin")).unwrap();
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn feature_beyond_a_budget_is_degraded_until_within_it_again() {
    let project = Project::complete().config("limits: {entries: 60, depth: 6, file_bytes: 1000}\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let feature = project.feature_dir();
    let state = || {
        let overview = daemon.overview(FEATURE);
        let text = |name: &str| overview[name].as_str().unwrap().to_owned();
        (text("watch"), text("completeness_status"))
    };
    let within = ("live".to_owned(), "complete".to_owned());
    let beyond = ("degraded".to_owned(), "unknown".to_owned());
    assert_eq!(state(), within);
    for number in 0..100 {
        write_file(&feature.join(format!("research/{number}.md")), b"x\n");
    }
    wait_for("too many entries", || (state() == beyond).then_some(()));
    fs::remove_dir_all(feature.join("research")).unwrap();
    wait_for("entries within the budget", || (state() == within).then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    fs::create_dir_all(feature.join("a/b/c/d/e/f/g/h/i")).unwrap();
    wait_for("a directory that is too deep", || (state() == beyond).then_some(()));
    fs::remove_dir_all(feature.join("a")).unwrap();
    wait_for("a depth within the budget", || (state() == within).then_some(()));
    write_file(&feature.join("large.md"), &[b'x'; 2000]);
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

/// Each directory is checked separately, because the test waits for the daemon after creating it.
#[test]
fn budgets_apply_to_directories_created_one_by_one() {
    let project = Project::complete().config("limits: {entries: 60, depth: 6}\n");
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let feature = project.feature_dir();
    let is_evaluated = || daemon.overview(FEATURE)["completeness_status"] == "complete";
    let mut deep = feature.join("a");
    for name in ["b", "c", "d", "e", "f"] {
        fs::create_dir_all(&deep).unwrap();
        assert!(is_evaluated(), "{}", deep.display());
        deep.push(name);
    }
    fs::create_dir(&deep).unwrap();
    assert!(is_evaluated(), "as deep as the budget allows");
    fs::create_dir(deep.join("g")).unwrap();
    assert!(!is_evaluated(), "deeper than the budget allows");
    fs::remove_dir_all(feature.join("a")).unwrap();
    wait_for("a depth within the budget", || is_evaluated().then_some(()));
    for number in 0..60 {
        fs::create_dir(feature.join(number.to_string())).unwrap();
        daemon.overview(FEATURE);
    }
    wait_for("too many entries", || (!is_evaluated()).then_some(()));
    for number in 0..60 {
        fs::remove_dir(feature.join(number.to_string())).unwrap();
    }
    wait_for("entries within the budget", || is_evaluated().then_some(()));
    assert_invariants(&project, &daemon, &mut journal);
    daemon.stop();
}

#[test]
fn link_planted_at_the_probe_path_is_not_followed() {
    let project = Project::complete();
    let victim = project.home().join("victim");
    write_file(&victim, b"precious\n");
    let probe = project.root.join(".kittify/dossiers/.dossierd-probe");
    fs::create_dir_all(probe.parent().unwrap()).unwrap();
    symlink(&victim, &probe).unwrap();
    let daemon = project.start_daemon();
    wait_for("the probe to be removed", || fs::symlink_metadata(&probe).is_err().then_some(()));
    assert_invariants(&project, &daemon, &mut JournalReader::default());
    assert_eq!(fs::read(&victim).unwrap(), b"precious\n");
    daemon.stop();
}
