//! What the machine gives: watches of the kernel, and the time.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::cli::commands::doctor::finding::{Finding, Findings};

/// A program that was made then cannot run earlier.
const MIN_PLAUSIBLE_TIME: Duration = Duration::from_hours(490_896); // 2026-01-01
/// How far apart two clocks of one machine may be.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// Events that the kernel keeps while a daemon is busy; the kernel's own default is 16,384.
const MIN_QUEUED_EVENTS: u64 = 4_096;
/// Watchers of one user; a daemon needs one for each project, and editors need theirs.
const MIN_USER_INSTANCES: u64 = 64;

/// Whether `need` directories can be watched.
pub(crate) fn check_inotify_limits(found: &mut Findings, proc: &Path, need: u64) {
    let check = "inotify";
    let read = |name: &str| -> Option<u64> {
        std::fs::read_to_string(proc.join("sys").join(name)).ok()?.trim().parse().ok()
    };
    let least = |here: &str, of_namespace: &str| {
        let limits = [(here, read(here)), (of_namespace, read(of_namespace))];
        let known = limits.into_iter().filter_map(|(name, limit)| Some((limit?, name)));
        known.min().map(|(limit, name)| (limit, name.replace('/', ".")))
    };
    let watches = least("fs/inotify/max_user_watches", "user/max_inotify_watches");
    let Some((watches, name)) = watches else {
        found.warning(check, "the kernel does not tell its limits", "");
        return;
    };
    let raised = (need * 4).next_power_of_two().max(524_288);
    let sysctl = |name: &str, value: u64| {
        format!(
            "`sudo sysctl {name}={value}`, and for good \
             `echo {name}={value} | sudo tee /etc/sysctl.d/60-dossierd.conf`"
        )
    };
    let message = format!("{need} folders to watch, {name} is {watches}");
    if need > watches {
        found.error(check, message, &sysctl(&name, raised));
    } else if need * 2 > watches {
        let message = format!("{message}, which other programs use, too");
        found.warning(check, message, &sysctl(&name, raised));
    } else {
        found.ok(check, message);
    }
    let instances = least("fs/inotify/max_user_instances", "user/max_inotify_instances");
    if let Some((instances, name)) = instances.filter(|(limit, _)| *limit < MIN_USER_INSTANCES) {
        found.warning(check, format!("{name} is only {instances}"), &sysctl(&name, 1_024));
    }
    let name = "fs.inotify.max_queued_events";
    if let Some(queue) =
        read("fs/inotify/max_queued_events").filter(|queue| *queue < MIN_QUEUED_EVENTS)
    {
        let message =
            format!("{name} is only {queue}: after a burst everything is compared with the disk");
        found.warning(check, message, &sysctl(name, 16_384));
    }
}

/// Whether the time can be right.
pub(crate) fn check_clock(now: SystemTime, last_event: Option<SystemTime>) -> Finding {
    let check = "clock";
    let mend = "`timedatectl set-ntp true`";
    if now < SystemTime::UNIX_EPOCH + MIN_PLAUSIBLE_TIME {
        return Finding::error(check, "it is set before this program was made", mend);
    }
    match last_event.and_then(|last| last.duration_since(now).ok()) {
        Some(ahead) if ahead > MAX_CLOCK_SKEW => Finding::warning(
            check,
            format!("the last event was {} s later than now: it was set back", ahead.as_secs()),
            mend,
        ),
        _ => Finding::ok(check, "it is set, and no event is later than now"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::commands::doctor::finding::FindingLevel;

    fn check(limits: &[(&str, u64)], need: u64) -> Vec<(FindingLevel, String)> {
        let proc = tempfile::tempdir().unwrap();
        for (name, limit) in limits {
            let path = proc.path().join("sys").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{limit}\n")).unwrap();
        }
        let mut found = Findings::default();
        check_inotify_limits(&mut found, proc.path(), need);
        for finding in &found.all {
            assert_eq!(
                finding.fix.is_none(),
                finding.level == FindingLevel::Ok || limits.is_empty()
            );
        }
        found.all.into_iter().map(|finding| (finding.level, finding.message)).collect()
    }

    #[test]
    fn limits_against_need() {
        let (watches, queue) = ("fs/inotify/max_user_watches", "fs/inotify/max_queued_events");
        let said = |need, limit| {
            format!("{need} folders to watch, fs.inotify.max_user_watches is {limit}")
        };
        assert_eq!(check(&[(watches, 100)], 50), [(FindingLevel::Ok, said(50, 100))]);
        let found = check(&[(watches, 100)], 51);
        assert_eq!(found[0].0, FindingLevel::Warning);
        assert_eq!(check(&[(watches, 100)], 101), [(FindingLevel::Error, said(101, 100))]);
        let found = check(&[(watches, 100), ("user/max_inotify_watches", 10)], 11);
        assert_eq!(found[0].1, "11 folders to watch, user.max_inotify_watches is 10");
        let found = check(&[(watches, 100), (queue, 16), ("fs/inotify/max_user_instances", 8)], 1);
        assert_eq!(found.len(), 3);
        assert!(found[1].1.contains("max_user_instances is only 8"));
        assert!(found[2].1.contains("max_queued_events is only 16"));
        assert_eq!(check(&[], 1)[0].0, FindingLevel::Warning);
    }

    #[test]
    fn times_that_cannot_be() {
        let at =
            |seconds| SystemTime::UNIX_EPOCH + MIN_PLAUSIBLE_TIME + Duration::from_secs(seconds);
        assert_eq!(check_clock(at(100), Some(at(100))).level, FindingLevel::Ok);
        assert_eq!(check_clock(at(100), None).level, FindingLevel::Ok);
        assert_eq!(check_clock(at(100), Some(at(3_700))).level, FindingLevel::Warning);
        assert_eq!(check_clock(SystemTime::UNIX_EPOCH, None).level, FindingLevel::Error);
    }
}
