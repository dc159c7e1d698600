//! Shares blocking work among clients: however many requests a client makes, those of others take turns
//! with them, and none waits longer than a time limit.
//!
//! A client is a process; all browsers together are one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::core::sync::lock;

/// Usual time limit for a turn; after it the request fails.
pub(crate) const TURN_TIMEOUT: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// See [`ApiClient::process`](crate::api::server::peer::ApiClient::process).
    static CLIENT: Option<i32>;
}

/// Usual maximum number of requests of a client that wait for a turn; a further one fails. Each of them takes a
/// connection, of which others need some as well.
pub(crate) const MAX_WAITING: usize = 64;

/// Runs the requests of a process; of `None` are all clients that are not known to be one process.
pub(crate) async fn run_for<T>(client: Option<i32>, work: impl Future<Output = T>) -> T {
    CLIENT.scope(client, work).await
}

/// No turn came within the time limit, or too many requests of the client wait for theirs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TurnTimeout;

/// Permits for blocking work.
#[derive(Debug)]
pub(crate) struct FairPermits {
    waiting: Mutex<Waiting>,
    /// Maximum number of waiting requests of a client.
    max_waiting: usize,
    /// Time limit for a turn.
    timeout: Duration,
}

#[derive(Debug)]
struct Waiting {
    free: usize,
    /// The requests of each client that wait.
    requests: BTreeMap<Option<i32>, VecDeque<oneshot::Sender<FairPermit>>>,
    /// The clients that wait, in the order of their turns.
    turns: VecDeque<Option<i32>>,
}

/// Permission to do work, until it is dropped.
#[derive(Debug)]
pub(crate) struct FairPermit(&'static FairPermits);

impl FairPermits {
    pub(crate) const fn new(count: usize, max_waiting: usize, timeout: Duration) -> Self {
        let waiting = Waiting { free: count, requests: BTreeMap::new(), turns: VecDeque::new() };
        Self { waiting: Mutex::new(waiting), max_waiting, timeout }
    }

    /// Waits for the turn of the client whose request this is.
    pub(crate) async fn acquire(&'static self) -> Result<FairPermit, TurnTimeout> {
        let client = CLIENT.try_with(|client| *client).unwrap_or_default();
        let turn = {
            let mut waiting = lock(&self.waiting);
            if waiting.free > 0 {
                waiting.free -= 1;
                return Ok(FairPermit(self));
            }
            if waiting.count(client) >= self.max_waiting {
                return Err(TurnTimeout);
            }
            let (send, turn) = oneshot::channel();
            waiting.add(client, send);
            turn
        };
        timeout(self.timeout, turn).await.ok().and_then(Result::ok).ok_or(TurnTimeout)
    }

    /// Passes a permit to the client whose turn it is.
    fn release(&'static self) {
        loop {
            let Some(next) = lock(&self.waiting).next_or_free() else {
                return;
            };
            match next.send(FairPermit(self)) {
                Ok(()) => return,
                // The request has stopped waiting; its permit must not be released again.
                Err(permit) => std::mem::forget(permit),
            }
        }
    }
}

impl Waiting {
    /// Returns how many requests of a client wait.
    fn count(&mut self, client: Option<i32>) -> usize {
        let Some(requests) = self.requests.get_mut(&client) else { return 0 };
        // Those that have stopped waiting need no memory.
        requests.retain(|request| !request.is_closed());
        requests.len()
    }

    fn add(&mut self, client: Option<i32>, request: oneshot::Sender<FairPermit>) {
        let requests = self.requests.entry(client).or_default();
        if requests.is_empty() && !self.turns.contains(&client) {
            self.turns.push_back(client);
        }
        requests.push_back(request);
    }

    /// Takes the request whose turn it is; if none waits, counts one permit as free.
    fn next_or_free(&mut self) -> Option<oneshot::Sender<FairPermit>> {
        while let Some(client) = self.turns.pop_front() {
            let Some(requests) = self.requests.get_mut(&client) else {
                continue;
            };
            let next = requests.pop_front();
            if requests.is_empty() {
                self.requests.remove(&client);
            } else {
                self.turns.push_back(client);
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn clients_take_turns_however_many_requests_each_has() {
        static PERMITS: FairPermits = FairPermits::new(1, MAX_WAITING, TURN_TIMEOUT);
        let first = PERMITS.acquire().await.unwrap();
        let request = |pid| Box::pin(run_for(Some(pid), PERMITS.acquire()));
        let mut waiting =
            [1, 1, 1, 2, 3].map(|pid| (pid, request(pid))).into_iter().collect::<Vec<_>>();
        for (_, request) in &mut waiting {
            assert!(request.now_or_never().is_none());
        }
        // One of the requests of the first client stops waiting.
        drop(waiting.remove(1));
        drop(first);
        let mut served = Vec::new();
        while served.len() < 4 {
            waiting.retain_mut(|(pid, request)| match request.now_or_never() {
                Some(permit) => {
                    // The next one gets the permit at once.
                    drop(permit.unwrap());
                    served.push(*pid);
                    false
                }
                None => true,
            });
        }
        assert_eq!(served, [1, 2, 3, 1]);
        assert!(
            PERMITS.acquire().now_or_never().is_some_and(|permit| permit.is_ok()),
            "all are back"
        );
    }

    #[tokio::test]
    async fn turn_that_does_not_come_is_an_error_and_loses_no_permit() {
        static PERMITS: FairPermits = FairPermits::new(1, MAX_WAITING, Duration::ZERO);
        let all = PERMITS.acquire().await.unwrap();
        assert_eq!(PERMITS.acquire().await.unwrap_err(), TurnTimeout);
        drop(all);
        PERMITS.acquire().await.unwrap();
    }

    #[tokio::test]
    async fn requests_of_a_client_beyond_the_maximum_fail_at_once_and_those_of_others_wait() {
        static PERMITS: FairPermits = FairPermits::new(1, 2, TURN_TIMEOUT);
        let first = PERMITS.acquire().await.unwrap();
        let request = |pid| Box::pin(run_for(Some(pid), PERMITS.acquire()));
        let mut waiting = [1, 1, 2].map(request);
        for request in &mut waiting {
            assert!(request.now_or_never().is_none());
        }
        assert_eq!(request(1).await.unwrap_err(), TurnTimeout);
        // One that stops waiting leaves its place to another.
        let [stopped, others @ ..] = waiting;
        drop(stopped);
        let mut another = request(1);
        assert!((&mut another).now_or_never().is_none());
        drop(first);
        for request in others {
            request.await.unwrap();
        }
        another.await.unwrap();
    }
}
