//! Decides when which notification is shown. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cli::notify::notice::Notice;
use crate::core::drift::Severity;

/// Time that a notification waits for further events of its feature.
const COALESCE_INTERVAL: Duration = Duration::from_millis(500);
/// Minimum time between two notifications of a feature.
const FEATURE_INTERVAL: Duration = Duration::from_secs(10);
/// Number of lines that a notification shows; the others are counted.
const MAX_LINES: usize = 5;

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notification {
    /// Identity of the root, and slug of the feature.
    pub(super) feature: (String, String),
    pub(super) summary: String,
    /// The events, one line each.
    pub(super) lines: Vec<String>,
    /// That of the most severe event.
    pub(super) severity: Severity,
}

/// The notifications that wait, and when each feature had its last one.
#[derive(Debug, Default)]
pub(super) struct NotificationSchedule(BTreeMap<(String, String), FeatureSchedule>);

#[derive(Debug, Default)]
struct FeatureSchedule {
    waiting: Vec<Notice>,
    /// Events beyond [`MAX_LINES`].
    omitted: usize,
    severity: Option<Severity>,
    first_at: Option<Instant>,
    sent_at: Option<Instant>,
}

impl FeatureSchedule {
    fn due_at(&self) -> Option<Instant> {
        let coalesced = self.first_at? + COALESCE_INTERVAL;
        Some(self.sent_at.map_or(coalesced, |sent| coalesced.max(sent + FEATURE_INTERVAL)))
    }
}

impl NotificationSchedule {
    /// Adds what is reported about an event.
    pub(super) fn add(&mut self, notice: Notice, now: Instant) {
        let feature = self.0.entry(notice.feature.clone()).or_default();
        feature.first_at.get_or_insert(now);
        feature.severity = feature.severity.max(Some(notice.severity));
        if feature.waiting.len() < MAX_LINES {
            feature.waiting.push(notice);
        } else {
            feature.omitted += 1;
        }
    }

    /// Returns when the next notification is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter_map(FeatureSchedule::due_at).min()
    }

    /// Returns the notifications that are due, and counts them as shown.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Notification> {
        let mut due = Vec::new();
        for (key, feature) in &mut self.0 {
            if feature.due_at().is_none_or(|at| at > now) {
                continue;
            }
            let sent = FeatureSchedule { sent_at: Some(now), ..FeatureSchedule::default() };
            let FeatureSchedule { waiting, omitted, severity, .. } =
                std::mem::replace(feature, sent);
            let project = waiting.first().map(|one| one.project.clone()).unwrap_or_default();
            let mut lines: Vec<String> = waiting.into_iter().map(|one| one.line).collect();
            if omitted > 0 {
                lines.push(format!("and {omitted} more"));
            }
            due.push(Notification {
                feature: key.clone(),
                summary: format!("{project}: {}", key.1),
                lines,
                severity: severity.unwrap_or(Severity::Info),
            });
        }
        // What has not been shown for long needs no memory.
        self.0.retain(|_, feature| {
            feature.first_at.is_some()
                || feature.sent_at.is_some_and(|sent| now < sent + FEATURE_INTERVAL)
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(feature: &str, severity: Severity, line: &str) -> Notice {
        let feature = ("r".to_owned(), feature.to_owned());
        Notice { feature, project: "p".to_owned(), severity, line: line.to_owned() }
    }

    #[test]
    fn events_of_a_feature_become_one_notification_in_ten_seconds() {
        let mut schedule = NotificationSchedule::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        schedule.add(notice("a", Severity::Info, "1"), at(0));
        schedule.add(notice("a", Severity::Error, "2"), at(400));
        schedule.add(notice("b", Severity::Info, "3"), at(400));
        assert_eq!(schedule.next_due(), Some(at(500)));
        assert_eq!(schedule.take_due(at(499)), []);
        let shown = |due: Vec<Notification>| -> Vec<(String, Severity, String)> {
            due.into_iter().map(|one| (one.summary, one.severity, one.lines.join(" "))).collect()
        };
        let of =
            |name: &str, severity, lines: &str| (format!("p: {name}"), severity, lines.to_owned());
        assert_eq!(shown(schedule.take_due(at(500))), [of("a", Severity::Error, "1 2")]);
        schedule.add(notice("a", Severity::Warning, "4"), at(600));
        assert_eq!(shown(schedule.take_due(at(900))), [of("b", Severity::Info, "3")]);
        for number in 5..=10 {
            schedule.add(notice("a", Severity::Info, &number.to_string()), at(2_000));
        }
        assert_eq!(schedule.next_due(), Some(at(10_500)));
        assert_eq!(schedule.take_due(at(10_499)), []);
        assert_eq!(
            shown(schedule.take_due(at(10_500))),
            [of("a", Severity::Warning, "4 5 6 7 8 and 2 more")]
        );
        assert_eq!(schedule.next_due(), None);
        assert_eq!(schedule.take_due(at(30_000)), []);
        assert!(schedule.0.is_empty(), "nothing is remembered for ever");
    }
}
