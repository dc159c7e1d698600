//! The events that `--since` and `--until` select: from which cursor they are read, and which of them are
//! within.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::cli::args::Moment;
use crate::cli::daemon::connection::DaemonConnection;
use crate::client::RequestPath;
use crate::core::time::Timestamp;
use crate::wire::cursor::Cursor;
use crate::wire::events::JournalPage;
use crate::wire::status::Status;

/// Events between two moments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventRange {
    /// Cursor before the first event.
    pub(crate) since: String,
    /// Earliest time of an event.
    not_before: Option<Timestamp>,
    /// Number of the last event.
    last: Option<u64>,
    /// Latest time of an event.
    not_after: Option<Timestamp>,
}

/// Where an event is relative to a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangePosition {
    Within,
    /// Within, and all later ones are after the range.
    Last,
    /// A later one may be within: clocks are set back.
    Outside,
    /// All later ones are after the range, too.
    After,
}

/// The fields of an event that decide where it is.
#[derive(Debug, Deserialize)]
struct EventMoment {
    seq: u64,
    event_id: String,
    emitted_at: Timestamp,
}

impl EventMoment {
    /// Returns the time of its identifier. It never decreases with the number, and is not before the time at which
    /// the event was emitted, which decreases when the clock is set back.
    fn id_time(&self) -> Timestamp {
        let ulid = self.event_id.parse::<ulid::Ulid>().ok();
        let millis = ulid.and_then(|id| i64::try_from(id.timestamp_ms()).ok());
        millis.and_then(Timestamp::from_millis).unwrap_or(self.emitted_at)
    }
}

impl EventRange {
    /// Finds the range. `default` is the cursor without `since`.
    pub(crate) fn find(
        connection: &mut DaemonConnection,
        since: Option<&Moment>,
        until: Option<&Moment>,
        default: &str,
    ) -> anyhow::Result<Self> {
        let now = SystemTime::now();
        let not_before = since.filter(|since| **since != Moment::Now).and_then(|one| one.time(now));
        let since = match since {
            None => default.to_owned(),
            Some(Moment::Start) => "start".to_owned(),
            Some(Moment::Now) => "now".to_owned(),
            Some(Moment::Cursor(cursor)) => cursor.to_string(),
            Some(Moment::Event(seq)) => {
                let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
                Cursor { instance: status.instance.into_owned(), seq: *seq }.to_string()
            }
            Some(Moment::Ago(_) | Moment::At(_)) => {
                find_time(connection, not_before.unwrap_or_default())?
            }
        };
        Ok(Self {
            since,
            not_before,
            last: until.and_then(Moment::seq),
            not_after: until.and_then(|until| until.time(now)),
        })
    }

    /// Returns where an event is.
    pub(crate) fn position(&self, envelope: &str) -> serde_json::Result<RangePosition> {
        if (self.not_before, self.last, self.not_after) == (None, None, None) {
            return Ok(RangePosition::Within);
        }
        let event: EventMoment = serde_json::from_str(envelope)?;
        let is_late = self.not_after.is_some_and(|end| event.emitted_at > end);
        let is_early = self.not_before.is_some_and(|begin| event.emitted_at < begin);
        Ok(if self.last.is_some_and(|last| event.seq > last) {
            RangePosition::After
        } else if is_late || is_early {
            RangePosition::Outside
        } else if self.last == Some(event.seq) {
            RangePosition::Last
        } else {
            RangePosition::Within
        })
    }

    /// Returns the time left until no event can be within; `None` if there is no end by time.
    pub(crate) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let left = self.not_after?.as_millis().saturating_sub(Timestamp::from(now).as_millis());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
    }
}

/// Returns the cursor before the first event whose identifier has a time from `begin` on.
fn find_time(connection: &mut DaemonConnection, begin: Timestamp) -> anyhow::Result<String> {
    let status: Status<'_> = connection.get_json(&RequestPath::new("/api/status"))?;
    let instance = status.instance.into_owned();
    let cursor = |seq: u64| Cursor { instance: instance.clone(), seq }.to_string();
    let mut first_after = |since: &str| -> anyhow::Result<Option<EventMoment>> {
        let path = RequestPath::new("/api/events").with("since", since).with("limit", "1");
        let page: JournalPage = connection.get_json(&path)?;
        let event = page.events.first().map(|event| serde_json::from_str(event.get()));
        Ok(event.transpose()?)
    };
    let Some(oldest) = first_after("start")? else {
        return Ok("start".to_owned());
    };
    // Each number below `low` is too early, none from `high` on is.
    let (mut low, mut high) = (oldest.seq, status.seq.max(oldest.seq) + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_after(&cursor(middle - 1))? {
            Some(event) if event.id_time() < begin => low = event.seq.max(middle) + 1,
            _ => high = middle,
        }
    }
    Ok(if low <= oldest.seq { "start".to_owned() } else { cursor(low - 1) })
}
