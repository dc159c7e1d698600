//! Runs the screen: receives keys, events and responses, and draws at most 20 times a second.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use ratatui::crossterm::terminal::size;
use rustix::process::{Signal as SignalNumber, kill_current_process_group};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::cli::daemon::connection::is_disconnected;
use crate::cli::daemon::status_body::without_uptime;
use crate::cli::daemon::watched_roots::WatchedRoots;
use crate::cli::render::event_format::{EventText, LastStates, LinePrefix};
use crate::cli::top::draw::{Palette, draw, next_tick};
use crate::cli::top::input::{Input, TopRequest};
use crate::cli::top::requests;
use crate::cli::top::screen::{Mouse, Screen, leave, read_inputs};
use crate::cli::top::state::TopState;
use crate::client::{Client, ClientError, FollowEvent, Follower, RequestPath, SseMessage};
use crate::core::feature::FeatureWatchState;
use crate::core::time::Timestamp;
use crate::wire::cursor::Cursor;
use crate::wire::events::ReceivedEvent;
use crate::wire::status::{ProjectWatchState, Status};

/// Minimum time between two frames that no key caused.
const FRAME_INTERVAL: Duration = Duration::from_millis(50);
/// Minimum time between two requests of the status.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);
/// The same while files are changing, which ends without an event.
const SETTLING_INTERVAL: Duration = Duration::from_millis(500);
/// Interval at which the status is requested without an event: an invalid configuration raises none.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// Number of earlier events that are shown at the start.
const EARLIER_EVENTS: u64 = 50;
/// Number of responses that wait for the screen; requests then wait.
const RESPONSE_CAPACITY: usize = 16;
/// Time after which a stop of this process has taken effect; it is ignored where there is no shell.
const STOP_DELAY: Duration = Duration::from_millis(50);

/// Why the screen was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Ending {
    /// A key, or the terminal was closed.
    Quit,
    /// A signal with this number.
    Signal(i32),
}

/// What a request returned.
enum Response {
    Input(Input),
    /// `None` if nothing changed since the last one.
    Status {
        connection: u64,
        body: Bytes,
        status: Option<Box<Status<'static>>>,
    },
    StatusFailed,
}

/// Whether a request of the status is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatusRequest {
    None,
    Sent,
    /// Something changed after it was sent.
    Outdated,
}

/// What the loop waited for.
enum Wake {
    Input(Option<Input>),
    Follow(Result<FollowEvent, ClientError>),
    Response(Option<Response>),
    Signal(SignalNumber),
    Deadline,
}

/// The screen, and the connection to the daemon.
pub(in crate::cli) struct TopSession {
    socket: PathBuf,
    roots: WatchedRoots,
    /// Root of the only project whose events are shown, and its identity once it is known.
    root: Option<String>,
    root_id: Option<String>,
    prefix: LinePrefix,
    palette: Palette,
    screen: Screen,
    state: TopState,
    follower: Follower,
    last_states: LastStates,
    inputs: mpsc::Receiver<Input>,
    responses: mpsc::Receiver<Response>,
    responder: mpsc::Sender<Response>,
    signals: Signals,
    /// Number of times that the connection was lost; responses of an earlier one do not count.
    connection: u64,
    is_connected: bool,
    status_body: Bytes,
    status_request: StatusRequest,
    status_at: Instant,
    refresh_at: Instant,
    drawn_at: Option<Instant>,
    needs_frame: bool,
    tick_at: Option<Instant>,
}

impl TopSession {
    /// Takes the terminal over; it is restored when the session is dropped.
    pub(in crate::cli) fn start(
        socket: PathBuf,
        root: Option<String>,
        roots: WatchedRoots,
        (mouse, palette): (Mouse, Palette),
        status: Status<'static>,
    ) -> anyhow::Result<Self> {
        let signals = Signals::new()?;
        let seq = status.seq.saturating_sub(EARLIER_EVENTS);
        let cursor = Cursor { instance: status.instance.to_string(), seq }.to_string();
        let (responder, responses) = mpsc::channel(RESPONSE_CAPACITY);
        let screen = Screen::enter(mouse)?;
        let now = Instant::now();
        let mut session = Self {
            follower: Follower::new(&socket, &cursor),
            socket,
            roots,
            root_id: None,
            prefix: LinePrefix::Live,
            palette,
            screen,
            state: TopState::new(size()?, root.clone(), now_timestamp()),
            root,
            last_states: LastStates::default(),
            inputs: read_inputs()?,
            responses,
            responder,
            signals,
            connection: 0,
            is_connected: true,
            status_body: Bytes::new(),
            status_request: StatusRequest::None,
            status_at: now,
            refresh_at: now + REFRESH_INTERVAL,
            drawn_at: None,
            needs_frame: true,
            tick_at: None,
        };
        session.on_status(Box::new(status));
        Ok(session)
    }

    /// Runs until a key or a signal ends it.
    pub(in crate::cli) async fn run(mut self) -> anyhow::Result<Ending> {
        loop {
            if self.state.take_changed() {
                self.needs_frame = true;
            }
            let now = Instant::now();
            let frame_at = self.drawn_at.map_or(now, |at| at + FRAME_INTERVAL);
            if self.needs_frame && frame_at <= now {
                self.draw()?;
            }
            let frame_at = self.needs_frame.then_some(frame_at);
            let is_idle = self.status_request == StatusRequest::None;
            let refresh_at = is_idle.then_some(self.refresh_at);
            let deadline = [frame_at, refresh_at, self.tick_at].into_iter().flatten().min();
            let wake = tokio::select! {
                input = self.inputs.recv() => Wake::Input(input),
                signal = self.signals.next() => Wake::Signal(signal),
                response = self.responses.recv() => Wake::Response(response),
                event = self.follower.next() => Wake::Follow(event),
                () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => Wake::Deadline,
            };
            match wake {
                Wake::Input(None) => return Ok(Ending::Quit),
                Wake::Input(Some(input)) => {
                    // A key is answered at once.
                    self.drawn_at = None;
                    if self.handle(input)? {
                        return Ok(Ending::Quit);
                    }
                }
                Wake::Signal(SignalNumber::CONT) => self.resume()?,
                Wake::Signal(signal) => return Ok(Ending::Signal(signal.as_raw())),
                Wake::Response(response) => self.on_response(response)?,
                Wake::Follow(event) => self.on_follow(event?)?,
                Wake::Deadline => self.on_deadline(),
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (state, palette) = (&mut self.state, self.palette);
        state.handle(Input::Tick(now_timestamp()));
        state.take_changed();
        self.screen
            .terminal
            .draw(|frame| draw(state, palette, frame.area(), frame.buffer_mut()))?;
        let now = Instant::now();
        self.drawn_at = Some(now);
        self.needs_frame = false;
        self.tick_at = next_tick(state).map(|millis| now + Duration::from_millis(millis));
        Ok(())
    }

    /// Returns true at the end.
    fn handle(&mut self, input: Input) -> anyhow::Result<bool> {
        for request in self.state.handle(input) {
            match request {
                TopRequest::Quit => return Ok(true),
                TopRequest::Redraw => self.screen.redraw()?,
                TopRequest::Suspend => self.suspend()?,
                request => self.send(request),
            }
        }
        Ok(false)
    }

    /// Sends a request to the daemon; its responses are inputs later.
    fn send(&self, request: TopRequest) {
        let (socket, responder) = (self.socket.clone(), self.responder.clone());
        tokio::spawn(async move {
            let answer = |input| async {
                // Fails at the end of the session only.
                let _ = responder.send(Response::Input(input)).await;
            };
            requests::send(&socket, request, answer).await;
        });
    }

    fn suspend(&mut self) -> anyhow::Result<()> {
        leave();
        kill_current_process_group(SignalNumber::TSTP)?;
        // The signal may be delivered to another thread a moment later.
        std::thread::sleep(STOP_DELAY);
        self.resume()
    }

    fn resume(&mut self) -> anyhow::Result<()> {
        self.screen.resume()?;
        let (columns, rows) = size()?;
        self.state.handle(Input::Resize(columns, rows));
        self.drawn_at = None;
        Ok(())
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        if self.tick_at.is_some_and(|at| at <= now) {
            self.tick_at = None;
            self.needs_frame = true;
        }
        if self.refresh_at <= now && self.status_request == StatusRequest::None {
            self.request_status();
        }
    }

    /// Has the status requested soon.
    fn refresh_after(&mut self, interval: Duration) {
        self.refresh_at = self.refresh_at.min(self.status_at + interval);
        if self.status_request == StatusRequest::Sent {
            self.status_request = StatusRequest::Outdated;
        }
    }

    fn request_status(&mut self) {
        let now = Instant::now();
        (self.status_at, self.refresh_at) = (now, now + REFRESH_INTERVAL);
        if !self.is_connected {
            return;
        }
        self.status_request = StatusRequest::Sent;
        let (socket, responder) = (self.socket.clone(), self.responder.clone());
        let (connection, before) = (self.connection, self.status_body.clone());
        // After a restart the daemon may no longer watch what this command added.
        let mut roots = (before.is_empty() && self.roots.was_added()).then(|| self.roots.clone());
        tokio::spawn(async move {
            let status = async {
                let mut client = Client::connect(&socket).await?;
                if let Some(roots) = &mut roots {
                    roots.ensure(&mut client).await?;
                }
                let response = client.get(&RequestPath::new("/api/status")).await?;
                let is_equal = without_uptime(&response.body) == without_uptime(&before);
                let status = if is_equal { None } else { Some(Box::new(response.parse()?)) };
                anyhow::Ok(Response::Status { connection, body: response.body, status })
            };
            let response = match status.await {
                Ok(response) => response,
                // The follower notices that the daemon is gone, and when it is back.
                Err(error) if is_disconnected(&error) => Response::StatusFailed,
                Err(error) => {
                    let failed = Input::Done(Err(format!("{error:#}")));
                    let _ = responder.send(Response::Input(failed)).await;
                    Response::StatusFailed
                }
            };
            let _ = responder.send(response).await;
        });
    }

    fn on_response(&mut self, response: Option<Response>) -> anyhow::Result<()> {
        match response {
            Some(Response::Input(input)) => {
                if matches!(input, Input::Done(_)) {
                    self.refresh_after(Duration::ZERO);
                }
                self.handle(input)?;
            }
            Some(Response::Status { connection, body, status }) => {
                let request = std::mem::replace(&mut self.status_request, StatusRequest::None);
                if request == StatusRequest::Outdated {
                    self.refresh_after(STATUS_INTERVAL);
                }
                // One of a daemon that has ended is not the current state.
                if connection == self.connection && self.is_connected {
                    self.status_body = body;
                    if let Some(status) = status {
                        self.on_status(status);
                    }
                }
            }
            Some(Response::StatusFailed) => {
                self.status_request = StatusRequest::None;
                self.refresh_after(SETTLING_INTERVAL);
            }
            // The session itself has a sender.
            None => {}
        }
        Ok(())
    }

    fn on_status(&mut self, status: Box<Status<'static>>) {
        let mut projects = status.projects.iter();
        self.root_id = self.root.as_ref().and_then(|root| {
            projects
                .find(|project| project.root == *root)
                .map(|project| project.root_id.to_string())
        });
        let is_one = self.root.is_some() || status.projects.len() < 2;
        self.prefix = if is_one { LinePrefix::Live } else { LinePrefix::LiveProjects };
        if is_settling(&status) {
            self.refresh_after(SETTLING_INTERVAL);
        }
        for request in self.state.handle(Input::Status(status)) {
            self.send(request);
        }
    }

    fn on_follow(&mut self, event: FollowEvent) -> anyhow::Result<()> {
        match event {
            FollowEvent::Message(message) => self.on_message(&message),
            FollowEvent::Disconnected(_) => {
                self.is_connected = false;
                self.connection += 1;
                self.status_body = Bytes::new();
                self.handle(Input::Disconnected)?;
            }
            FollowEvent::Reconnected => {
                self.is_connected = true;
                self.handle(Input::Reconnected)?;
                self.refresh_after(Duration::ZERO);
            }
        }
        Ok(())
    }

    fn on_message(&mut self, message: &SseMessage) {
        match message.event.as_str() {
            // The status contains the snapshots.
            "snapshot" => {}
            "gap" => {
                let line = "gap: some events are not available".to_owned();
                self.state.handle(Input::Events(vec![line]));
            }
            _ => {
                let Ok(event) = serde_json::from_str::<ReceivedEvent>(&message.data) else {
                    return;
                };
                if self.root_id.as_ref().is_some_and(|root| *root != event.root_id) {
                    return;
                }
                let formatted = self.last_states.format(&event, self.prefix);
                if !matches!(formatted.text, EventText::Unchanged(_)) {
                    self.state.handle(Input::Events(vec![formatted.line()]));
                }
            }
        }
        self.refresh_after(STATUS_INTERVAL);
    }
}

/// Returns true if something is under way whose end raises no event.
fn is_settling(status: &Status<'_>) -> bool {
    status.projects.iter().any(|project| {
        project.watch.state == ProjectWatchState::Rescanning
            || project.features.iter().any(|one| one.watch == FeatureWatchState::Settling)
    })
}

fn now_timestamp() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// The signals that end this program, after the terminal is restored, and the one that continues it.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
    resume: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            resume: signal(SignalKind::from_raw(SignalNumber::CONT.as_raw()))?,
        })
    }

    async fn next(&mut self) -> SignalNumber {
        tokio::select! {
            _ = self.interrupt.recv() => SignalNumber::INT,
            _ = self.terminate.recv() => SignalNumber::TERM,
            _ = self.hangup.recv() => SignalNumber::HUP,
            _ = self.quit.recv() => SignalNumber::QUIT,
            _ = self.resume.recv() => SignalNumber::CONT,
        }
    }
}
