//! A receiver of webhooks: takes requests over HTTP/1.1, verifies their signatures, passes over
//! events that it has had, and keeps the rest. It can misbehave on demand.
//!
//! Signatures are verified by the `standardwebhooks` crate, and `CloudEvents` are read by the
//! `cloudevents` SDK: neither knows of dossierd.

use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudevents::{AttributesReader as _, Data, Event};
use flate2::read::GzDecoder;
use http::HeaderMap;
use serde_json::Value;
use standardwebhooks::Webhook;

/// Bytes of a body, at most, packed or not.
const BODY_MOST: u64 = 64 << 20;

/// How it answers a request whose signature is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// With 200.
    #[default]
    Good,
    /// With that status, and these lines in its head; the events are not kept.
    Answer(u16, String),
    /// With 400 where an event of that feature is among them.
    Refuse(String),
    /// Never.
    Hang,
    /// With 200, and a body without end.
    Endless,
    /// With 200, and a head without end.
    EndlessHead,
    /// With one word after the other that an answer will come.
    Soon,
    /// It keeps the events and closes the connection.
    Break,
}

/// What it has had.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The envelopes, each once, in the order in which they came.
    pub(crate) events: Vec<Value>,
    ids: HashSet<String>,
    /// Events that came once more.
    pub(crate) again: u64,
    /// Requests that came.
    pub(crate) requests: u64,
    /// What was wrong with requests.
    pub(crate) wrong: Vec<String>,
    /// The signatures of the last one.
    pub(crate) signatures: String,
    /// How it answers.
    pub(crate) mood: Mood,
}

/// A running receiver; it ends with the process.
#[derive(Clone)]
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    verifiers: Verifiers,
}

type Heard = Arc<dyn Fn(&Value) + Send + Sync>;
type Verifiers = Arc<Mutex<Vec<Webhook>>>;

impl Receiver {
    /// Listens, on any port where it is 0. `secrets` are those whose signatures count; `heard` is
    /// told of each event that is new.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) fn start(
        address: &str,
        secrets: &[&str],
        heard: impl Fn(&Value) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_by(address, secrets, heard, Ok)
    }

    /// The same, where a connection is first made something else, such as one with TLS.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) fn start_by<S: Read + Write>(
        address: &str,
        secrets: &[&str],
        heard: impl Fn(&Value) + Send + Sync + 'static,
        make: impl Fn(TcpStream) -> io::Result<S> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let verifiers = Verifiers::default();
        let address = listener.local_addr()?;
        let receiver = Self { address, kept: Arc::default(), verifiers };
        receiver.trust(secrets)?;
        let (serving, heard): (_, Heard) = (receiver.clone(), Arc::new(heard));
        let make = Arc::new(make);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serving, heard) = (serving.clone(), Arc::clone(&heard));
                let make = Arc::clone(&make);
                std::thread::spawn(move || {
                    // A sender that goes away is nothing wrong.
                    let _ = stream
                        .set_nodelay(true)
                        .and_then(|()| make(stream))
                        .and_then(|stream| serving.serve(stream, &heard));
                });
            }
        });
        Ok(receiver)
    }

    /// From now on signatures by these secrets count.
    ///
    /// # Errors
    /// When one is no secret.
    pub(crate) fn trust(&self, secrets: &[&str]) -> io::Result<()> {
        let verifiers: Result<Vec<Webhook>, _> =
            secrets.iter().map(|secret| Webhook::new(secret)).collect();
        let verifiers = verifiers.map_err(io::Error::other)?;
        *self.verifiers.lock().unwrap_or_else(PoisonError::into_inner) = verifiers;
        Ok(())
    }

    /// What it has had.
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers so from now on.
    pub(crate) fn turn(&self, mood: Mood) {
        self.kept().mood = mood;
    }

    fn serve(&self, stream: impl Read + Write, heard: &Heard) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        while let Some((headers, body)) = request(&mut reader)? {
            let verifiers = self.verifiers.lock().unwrap_or_else(PoisonError::into_inner);
            let events = read(&headers, &body, &verifiers);
            drop(verifiers);
            let mut kept = self.kept();
            kept.requests += 1;
            header(&headers, "webhook-signature").clone_into(&mut kept.signatures);
            let (events, mood) = match events {
                Ok(events) => (events, kept.mood.clone()),
                Err(why) => {
                    kept.wrong.push(why);
                    (Vec::new(), Mood::Answer(401, String::new()))
                }
            };
            let refused =
                |slug: &String| events.iter().any(|event| event["feature_slug"] == **slug);
            let mood = match mood {
                Mood::Refuse(slug) if refused(&slug) => Mood::Answer(400, String::new()),
                Mood::Refuse(_) => Mood::Good,
                mood => mood,
            };
            if matches!(mood, Mood::Good | Mood::Endless | Mood::Break) {
                kept.take(events, heard);
            }
            drop(kept);
            let stream = reader.get_mut();
            match mood {
                Mood::Good | Mood::Refuse(_) => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
                }
                Mood::Answer(status, lines) => {
                    write!(stream, "HTTP/1.1 {status} No\r\n{lines}content-length: 0\r\n\r\n")?;
                }
                Mood::Break => return Ok(()),
                Mood::Hang => {
                    io::copy(stream, &mut io::sink())?;
                    return Ok(());
                }
                Mood::Endless => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                    loop {
                        stream.write_all(b"4\r\nmore\r\n")?;
                    }
                }
                Mood::EndlessHead => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nmore: ")?;
                    loop {
                        stream.write_all(b"and more and more and more and more")?;
                    }
                }
                Mood::Soon => loop {
                    stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
                },
            }
        }
        Ok(())
    }
}

impl Kept {
    fn take(&mut self, events: Vec<Value>, heard: &Heard) {
        for event in events {
            let id = event["event_id"].as_str().unwrap_or_default().to_owned();
            if self.ids.insert(id) {
                heard(&event);
                self.events.push(event);
            } else {
                self.again += 1;
            }
        }
    }
}

/// The next request's head and body; `None` where the sender is done.
fn request(reader: &mut BufReader<impl Read>) -> io::Result<Option<(HeaderMap, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = HeaderMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        headers.append(name, value.parse().map_err(io::Error::other)?);
    }
    let length: u64 = header(&headers, "content-length").parse().unwrap_or(0);
    let mut body = Vec::new();
    reader.take(length.min(BODY_MOST)).read_to_end(&mut body)?;
    Ok(Some((headers, body)))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// The envelopes in a request, or what is wrong with it.
fn read(headers: &HeaderMap, body: &[u8], verifiers: &[Webhook]) -> Result<Vec<Value>, String> {
    let header = |name| header(headers, name);
    let body = match header("content-encoding") {
        "gzip" => {
            let mut unpacked = Vec::new();
            let mut decoder = GzDecoder::new(body).take(BODY_MOST);
            decoder.read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
            unpacked
        }
        _ => body.to_vec(),
    };
    // Before anything of it is used; what is signed is the text, unpacked.
    if !verifiers.iter().any(|verifier| verifier.verify(&body, headers).is_ok()) {
        return Err("no signature of ours".to_owned());
    }
    let wrong = |error: serde_json::Error| error.to_string();
    match header("content-type").split(';').next().unwrap_or_default() {
        "application/cloudevents+json" => {
            let event: Event = serde_json::from_slice(&body).map_err(wrong)?;
            let envelope = envelope(&event)?;
            if header("webhook-id") == envelope["event_id"] {
                Ok(vec![envelope])
            } else {
                Err("`webhook-id` is not the event's".to_owned())
            }
        }
        "application/cloudevents-batch+json" => {
            let events: Vec<Event> = serde_json::from_slice(&body).map_err(wrong)?;
            events.iter().map(envelope).collect()
        }
        _ => match serde_json::from_slice(&body).map_err(wrong)? {
            Value::Array(events) => Ok(events),
            event => Ok(vec![event]),
        },
    }
}

fn envelope(event: &Event) -> Result<Value, String> {
    match event.data() {
        Some(Data::Json(data)) if data["event_id"] == event.id() => Ok(data.clone()),
        _ => Err("the data is not the event".to_owned()),
    }
}
