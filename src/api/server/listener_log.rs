//! The warnings of one listener that its clients can cause: each is logged once a minute, with the number of
//! those left out. The clients of another listener do not count.

use std::io;
use std::time::Instant;

use tracing::warn;

use crate::core::warning_limit::WarningLimit;

/// What one listener logs.
#[derive(Debug)]
pub(crate) struct ListenerLog {
    /// Which one it is.
    listener: &'static str,
    started_at: Instant,
    accept_errors: WarningLimit,
    refusals: WarningLimit,
    lookup_errors: WarningLimit,
}

impl ListenerLog {
    pub(crate) fn new(listener: &'static str) -> Self {
        Self {
            listener,
            started_at: Instant::now(),
            accept_errors: WarningLimit::new(),
            refusals: WarningLimit::new(),
            lookup_errors: WarningLimit::new(),
        }
    }

    /// Logs that a connection could not be accepted.
    pub(crate) fn warn_of_accept_error(&self, error: &io::Error) {
        if let Some(suppressed) = self.admit(&self.accept_errors) {
            let listener = self.listener;
            warn!(listener, %error, suppressed, "cannot accept a connection");
        }
    }

    /// Logs that a connection or request of another user was refused.
    pub(crate) fn warn_of_refused_user(&self) {
        if let Some(suppressed) = self.admit(&self.refusals) {
            let listener = self.listener;
            warn!(listener, suppressed, "refused a connection of another user");
        }
    }

    /// Logs that it could not be found out who connected.
    pub(crate) fn warn_of_lookup_error(&self, error: &io::Error) {
        if let Some(suppressed) = self.admit(&self.lookup_errors) {
            let listener = self.listener;
            warn!(listener, %error, suppressed, "cannot find the user of a connection");
        }
    }

    fn admit(&self, limit: &WarningLimit) -> Option<u64> {
        limit.admit(self.started_at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::core::sync::lock;

    /// A copy of what is logged.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns what `work` logs.
    fn logged(work: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(lock(&written.0).clone()).unwrap()
    }

    #[test]
    fn each_warning_of_each_listener_has_a_limit_of_its_own() {
        let text = logged(|| {
            for log in [ListenerLog::new("socket"), ListenerLog::new("dashboard")] {
                for _ in 0..3 {
                    let error = io::Error::other("no table");
                    log.warn_of_accept_error(&error);
                    log.warn_of_refused_user();
                    log.warn_of_lookup_error(&error);
                }
            }
        });
        for what in ["cannot accept a connection", "refused a connection", "cannot find the user"] {
            for listener in ["socket", "dashboard"] {
                let lines = text.lines().filter(|line| line.contains(what));
                let lines = lines.filter(|line| line.contains(&format!("listener=\"{listener}\"")));
                assert_eq!(lines.count(), 1, "{what}, {listener}: {text}");
            }
        }
    }
}
