//! The circuit breaker: pauses all delivery while the receiver fails, then lets one request at a time
//! test it. Does not decide which failure counts; the dispatcher does.

use std::time::Duration;

/// Time after which an address at which there is no receiver is not tried again.
const MAX_ABSENCE: Duration = Duration::from_hours(1);

/// State of the circuit breaker. An open circuit is half-open once its pause has ended: then one
/// request at a time is sent, until one is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CircuitState {
    /// The receiver works: requests are sent from `resume_at` on, which is in the future only if a
    /// request from before an earlier pause failed late.
    Closed { resume_at: Duration },
    /// The receiver fails: nothing is sent until `until`.
    Open {
        until: Duration,
        /// Pauses since the last accepted request, at least 1; each is longer than the one before.
        pauses: u32,
    },
    /// There was no receiver for too long: nothing is sent until a person intervenes.
    Refused,
}

/// The circuit breaker of a receiver.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    state: CircuitState,
    /// Number of pauses so far.
    pause_count: u64,
    /// Time of the first response since which there is no receiver at the address.
    absent_since: Option<Duration>,
}

impl CircuitBreaker {
    pub(crate) fn new() -> Self {
        let state = CircuitState::Closed { resume_at: Duration::ZERO };
        Self { state, pause_count: 0, absent_since: None }
    }

    /// Returns true if no request was accepted since the last pause began.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, CircuitState::Open { .. } | CircuitState::Refused)
    }

    /// Returns true if nothing is sent until [`CircuitBreaker::end_pause`].
    pub(crate) fn is_refused(&self) -> bool {
        self.state == CircuitState::Refused
    }

    /// Returns the time from which requests may be sent; the maximum if there is none.
    pub(crate) fn resumes_at(&self) -> Duration {
        match self.state {
            CircuitState::Closed { resume_at } => resume_at,
            CircuitState::Open { until, .. } => until,
            CircuitState::Refused => Duration::MAX,
        }
    }

    /// Returns the number of pauses so far. The caller keeps it with each request, for
    /// [`CircuitBreaker::on_failure`].
    pub(crate) fn pause_count(&self) -> u64 {
        self.pause_count
    }

    /// Begins a pause. `pauses_before` is the number of pauses when the failed request was sent, and
    /// `delay` returns the pause after that many in a row.
    ///
    /// Of requests in flight at the same time only the first failure counts as a new pause: the
    /// others fail for the same reason, and only extend it.
    pub(crate) fn on_failure(
        &mut self,
        pauses_before: u64,
        now: Duration,
        delay: impl FnOnce(u32) -> Duration,
    ) {
        if self.is_refused() {
            return;
        }
        let is_first = pauses_before == self.pause_count;
        let pauses = match self.state {
            CircuitState::Closed { .. } | CircuitState::Refused => 0,
            CircuitState::Open { pauses, .. } => pauses,
        };
        let pauses = pauses.saturating_add(u32::from(is_first));
        let until = self.resumes_at().max(now + delay(pauses.max(1)));
        self.pause_count += u64::from(is_first);
        self.state = match pauses {
            0 => CircuitState::Closed { resume_at: until },
            pauses => CircuitState::Open { until, pauses },
        };
    }

    /// Closes the circuit, because a request was accepted. Returns true if it was open.
    pub(crate) fn on_accepted(&mut self, now: Duration) -> bool {
        self.absent_since = None;
        let was_open = self.is_open();
        if was_open {
            self.state = CircuitState::Closed { resume_at: now };
        }
        was_open
    }

    /// Records, after [`CircuitBreaker::on_failure`], that there is no receiver at the address. After an
    /// hour of such responses nothing more is sent.
    pub(crate) fn on_no_receiver(&mut self, now: Duration) {
        let since = *self.absent_since.get_or_insert(now);
        if now.saturating_sub(since) >= MAX_ABSENCE {
            self.state = CircuitState::Refused;
        }
    }

    /// Records that the address has a receiver, or cannot be reached: the hour begins again.
    pub(crate) fn on_receiver_found(&mut self) {
        self.absent_since = None;
    }

    /// Ends the pause, so that the next request is sent now.
    pub(crate) fn end_pause(&mut self, now: Duration) {
        match &mut self.state {
            CircuitState::Closed { resume_at: at } | CircuitState::Open { until: at, .. } => {
                *at = now.min(*at);
            }
            CircuitState::Refused => {
                self.absent_since = None;
                self.state = CircuitState::Open { until: now, pauses: 1 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Doubles the pause each time.
    fn delay(pauses: u32) -> Duration {
        SECOND * 2_u32.pow(pauses - 1)
    }

    #[test]
    fn pauses_grow_until_a_request_is_accepted() {
        let mut circuit = CircuitBreaker::new();
        assert!(!circuit.is_open());
        circuit.on_failure(circuit.pause_count(), SECOND, delay);
        assert_eq!((circuit.is_open(), circuit.resumes_at()), (true, 2 * SECOND));
        circuit.on_failure(circuit.pause_count(), 2 * SECOND, delay);
        assert_eq!(circuit.resumes_at(), 4 * SECOND);
        assert!(circuit.on_accepted(5 * SECOND));
        assert_eq!((circuit.is_open(), circuit.resumes_at()), (false, 5 * SECOND));
        assert!(!circuit.on_accepted(6 * SECOND), "it was closed already");
        circuit.on_failure(circuit.pause_count(), 7 * SECOND, delay);
        assert_eq!(circuit.resumes_at(), 8 * SECOND, "the first pause is the shortest again");
    }

    #[test]
    fn concurrent_failures_count_as_one_pause() {
        let mut circuit = CircuitBreaker::new();
        let pauses_before = circuit.pause_count();
        circuit.on_failure(pauses_before, SECOND, delay);
        circuit.on_failure(pauses_before, SECOND, |pauses| delay(pauses) * 5);
        assert_eq!((circuit.pause_count(), circuit.resumes_at()), (1, 6 * SECOND));
        circuit.end_pause(2 * SECOND);
        assert_eq!((circuit.is_open(), circuit.resumes_at()), (true, 2 * SECOND));
    }

    #[test]
    fn late_failure_of_an_earlier_request_delays_but_does_not_open() {
        let mut circuit = CircuitBreaker::new();
        let pauses_before = circuit.pause_count();
        circuit.on_failure(pauses_before, SECOND, delay);
        circuit.on_accepted(3 * SECOND);
        circuit.on_failure(pauses_before, 4 * SECOND, delay);
        assert_eq!((circuit.is_open(), circuit.resumes_at()), (false, 5 * SECOND));
    }
}
