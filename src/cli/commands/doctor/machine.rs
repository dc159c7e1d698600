//! Checks the kernel's inotify limits and the clock.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::cli::commands::doctor::finding::{Finding, Findings};

/// Time since the Unix epoch before which the clock must be wrong: 2026-01-01, before any release.
const MIN_PLAUSIBLE_TIME: Duration = Duration::from_hours(490_896);
/// How much later than now the last event may be.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// Minimum for `max_queued_events`; the kernel's default is 16,384.
const MIN_QUEUED_EVENTS: u64 = 4_096;
/// Minimum for `max_user_instances`, of which the daemon uses a quarter at most.
const MIN_USER_INSTANCES: u64 = 64;

/// Checks that the limits below `proc` allow watching `need` directories.
pub(crate) fn check_inotify_limits(findings: &mut Findings, proc: &Path, need: u64) {
    let check = "inotify";
    let read = |name: &str| -> Option<u64> {
        std::fs::read_to_string(proc.join("sys").join(name)).ok()?.trim().parse().ok()
    };
    let lowest = |global: &str, namespace: &str| {
        let limits = [(global, read(global)), (namespace, read(namespace))];
        let known = limits.into_iter().filter_map(|(name, limit)| Some((limit?, name)));
        known.min().map(|(limit, name)| (limit, name.replace('/', ".")))
    };
    let watches = lowest("fs/inotify/max_user_watches", "user/max_inotify_watches");
    let Some((watches, name)) = watches else {
        let fix = "make /proc/sys readable, for example in the settings of the container";
        findings.warning(check, "cannot read the limits in /proc/sys", fix);
        return;
    };
    let raised = (need * 4).next_power_of_two().max(524_288);
    let sysctl = |name: &str, value: u64| {
        format!(
            "`sudo sysctl {name}={value}`, and permanently: \
             `echo {name}={value} | sudo tee /etc/sysctl.d/60-dossierd.conf`"
        )
    };
    let message = format!("{need} directories to watch; {name} is {watches}");
    if need > watches {
        findings.error(check, message, &sysctl(&name, raised));
    } else if need * 2 > watches {
        let message = format!("{message}, which is shared with other programs");
        findings.warning(check, message, &sysctl(&name, raised));
    } else {
        findings.ok(check, message);
    }
    let instances = lowest("fs/inotify/max_user_instances", "user/max_inotify_instances");
    if let Some((instances, name)) = instances.filter(|(limit, _)| *limit < MIN_USER_INSTANCES) {
        findings.warning(check, format!("{name} is only {instances}"), &sysctl(&name, 1_024));
    }
    let name = "fs.inotify.max_queued_events";
    if let Some(queue) =
        read("fs/inotify/max_queued_events").filter(|queue| *queue < MIN_QUEUED_EVENTS)
    {
        let message =
            format!("{name} is only {queue}; a burst of changes overflows it and causes a rescan");
        findings.warning(check, message, &sysctl(name, 16_384));
    }
}

/// Checks that the clock is plausible and not earlier than the last event.
pub(crate) fn check_clock(now: SystemTime, last_event: Option<SystemTime>) -> Finding {
    let check = "clock";
    let fix = "`timedatectl set-ntp true`";
    if now < SystemTime::UNIX_EPOCH + MIN_PLAUSIBLE_TIME {
        return Finding::error(check, "set to a time before this program was released", fix);
    }
    match last_event.and_then(|last| last.duration_since(now).ok()) {
        Some(ahead) if ahead > MAX_CLOCK_SKEW => Finding::warning(
            check,
            format!(
                "the last event is {} s in the future; the clock was set back",
                ahead.as_secs()
            ),
            fix,
        ),
        _ => Finding::ok(check, "plausible, and no event is in the future"),
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
        let mut findings = Findings::default();
        check_inotify_limits(&mut findings, proc.path(), need);
        for finding in &findings.all {
            assert_eq!(finding.fix.is_none(), finding.level == FindingLevel::Ok);
        }
        findings.all.into_iter().map(|finding| (finding.level, finding.message)).collect()
    }

    #[test]
    fn inotify_limits_below_the_need_are_found() {
        let (watches, queue) = ("fs/inotify/max_user_watches", "fs/inotify/max_queued_events");
        let message = |need, limit| {
            format!("{need} directories to watch; fs.inotify.max_user_watches is {limit}")
        };
        assert_eq!(check(&[(watches, 100)], 50), [(FindingLevel::Ok, message(50, 100))]);
        let findings = check(&[(watches, 100)], 51);
        assert_eq!(findings[0].0, FindingLevel::Warning);
        assert_eq!(check(&[(watches, 100)], 101), [(FindingLevel::Error, message(101, 100))]);
        let findings = check(&[(watches, 100), ("user/max_inotify_watches", 10)], 11);
        assert_eq!(findings[0].1, "11 directories to watch; user.max_inotify_watches is 10");
        let findings =
            check(&[(watches, 100), (queue, 16), ("fs/inotify/max_user_instances", 8)], 1);
        assert_eq!(findings.len(), 3);
        assert!(findings[1].1.contains("max_user_instances is only 8"));
        assert!(findings[2].1.contains("max_queued_events is only 16"));
        assert_eq!(check(&[], 1)[0].0, FindingLevel::Warning);
    }

    #[test]
    fn check_clock_finds_implausible_times() {
        let at =
            |seconds| SystemTime::UNIX_EPOCH + MIN_PLAUSIBLE_TIME + Duration::from_secs(seconds);
        assert_eq!(check_clock(at(100), Some(at(100))).level, FindingLevel::Ok);
        assert_eq!(check_clock(at(100), None).level, FindingLevel::Ok);
        assert_eq!(check_clock(at(100), Some(at(3_700))).level, FindingLevel::Warning);
        assert_eq!(check_clock(SystemTime::UNIX_EPOCH, None).level, FindingLevel::Error);
    }
}
