//! Shows notifications on a thread of its own, so that a slow service delays nothing
//! (<https://specifications.freedesktop.org/notification-spec/latest/>).

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::notify::dbus::{BusArguments, BusConnection, BusMethod, DbusError};
use crate::cli::notify::notice::{Notice, NoticeFilter};
use crate::cli::notify::schedule::{Notification, NotificationSchedule};
use crate::cli::render::output;
use crate::core::drift::Severity;
use crate::core::path::escape_unprintable;
use crate::wire::events::ReceivedEvent;
use crate::wire::rich_text::escape_html;

/// Number of events that wait for the thread; further ones are not reported.
const QUEUE_CAPACITY: usize = 1_000;
/// Time without an event after which the thread only waits again.
const IDLE_INTERVAL: Duration = Duration::from_hours(1);

/// Sends events to the thread that shows notifications.
pub(in crate::cli) struct Notifier(SyncSender<Notice>);

impl Notifier {
    /// Starts the thread, which connects to the notification service. If there is none, it reports this once,
    /// and tries again with the next notification.
    pub(in crate::cli) fn start() -> io::Result<Self> {
        let (sender, notices) = sync_channel(QUEUE_CAPACITY);
        let thread = thread::Builder::new().name("notify".to_owned());
        thread.spawn(move || run(&notices))?;
        Ok(Self(sender))
    }

    /// Has an event shown, if `filter` selects it, with the `reason` why completeness became unknown.
    pub(in crate::cli) fn push(
        &self,
        event: &ReceivedEvent,
        reason: Option<&str>,
        filter: &mut NoticeFilter,
    ) {
        if let Some(notice) = filter.notice(event, reason) {
            // When the queue is full, the feature has enough to report.
            let _ = self.0.try_send(notice);
        }
    }
}

fn run(notices: &Receiver<Notice>) {
    let mut service = NotificationService::default();
    // A bus may take as long as the timeout to answer.
    if let Err(error) = service.check() {
        output::warn(&describe(&error));
        service.has_failed = true;
    }
    let mut schedule = NotificationSchedule::default();
    loop {
        let due = schedule.next_due();
        let wait = due.map_or(IDLE_INTERVAL, |at| at.saturating_duration_since(Instant::now()));
        match notices.recv_timeout(wait) {
            Ok(notice) => schedule.add(notice, Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for notification in schedule.take_due(Instant::now()) {
            service.show(&notification);
        }
    }
}

/// The service, and the notifications that it shows.
#[derive(Default)]
struct NotificationService {
    bus: Option<BusConnection>,
    /// Number of the last notification of each feature, which the next one replaces.
    shown: HashMap<(String, String), u32>,
    /// True after a failure that was reported.
    has_failed: bool,
}

impl NotificationService {
    /// Fails if there is no service.
    fn check(&mut self) -> Result<(), DbusError> {
        self.call(method("GetServerInformation"), &BusArguments::default()).map(drop)
    }

    fn show(&mut self, notification: &Notification) {
        let replaced = self.shown.get(&notification.feature).copied().unwrap_or_default();
        let arguments = notify_arguments(notification, replaced);
        match self.call(method("Notify"), &arguments) {
            Ok(id) => {
                self.has_failed = false;
                self.shown.insert(notification.feature.clone(), id.unwrap_or_default());
            }
            Err(error) if self.has_failed => drop(error),
            Err(error) => {
                output::warn(&describe(&error));
                self.has_failed = true;
            }
        }
    }

    /// Calls the service, over a new connection if the last one broke.
    fn call(
        &mut self,
        method: BusMethod,
        arguments: &BusArguments,
    ) -> Result<Option<u32>, DbusError> {
        let mut bus = match self.bus.take() {
            Some(bus) => bus,
            None => {
                // Numbers of another session mean nothing.
                self.shown.clear();
                BusConnection::open_session()?
            }
        };
        let result = bus.call(method, arguments);
        if !matches!(result, Err(DbusError::ConnectionFailed { .. })) {
            self.bus = Some(bus);
        }
        result
    }
}

fn method(member: &'static str) -> BusMethod {
    BusMethod {
        service: "org.freedesktop.Notifications",
        path: "/org/freedesktop/Notifications",
        interface: "org.freedesktop.Notifications",
        member,
    }
}

fn notify_arguments(notification: &Notification, replaced: u32) -> BusArguments {
    let urgency = match notification.severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
    };
    let line = |line: &String| escape_html(&escape_unprintable(line));
    let body: Vec<String> = notification.lines.iter().map(line).collect();
    BusArguments::default()
        .text("dossierd")
        .number(replaced)
        .text("")
        .text(&escape_unprintable(&notification.summary))
        // A body may be markup.
        .text(&body.join("\n"))
        .no_texts()
        .map_of_byte("urgency", urgency)
        // The service decides how long it is shown.
        .signed(-1)
}

fn describe(error: &DbusError) -> String {
    let is_absent = matches!(error, DbusError::Refused { name, .. }
        if name.ends_with(".ServiceUnknown") || name.ends_with(".NameHasNoOwner"));
    if is_absent {
        return "no notification service runs in this session; start that of the desktop, or for example \
                dunst; until then nothing is shown"
            .to_owned();
    }
    format!("cannot show notifications: {error}; until this is fixed nothing is shown")
}
