//! A receiver of webhooks: reads requests over HTTP/1.1, verifies their signatures, ignores events
//! that it already received, and stores the others. It can fail on demand.
//!
//! The `standardwebhooks` crate verifies signatures and the `cloudevents` SDK parses events;
//! dossierd uses neither.

use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudevents::{AttributesReader as _, Data, Event};
use flate2::read::GzDecoder;
use http::HeaderMap;
use serde_json::Value;
use standardwebhooks::Webhook;

/// Maximum length of a body in bytes, compressed or not; the rest is not read.
const MAX_BODY_LENGTH: u64 = 64 << 20;

/// How the receiver responds to a request with a valid signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Stores the events and responds with 200.
    #[default]
    Accept,
    /// Responds with this status and these header lines; the events are not stored.
    Respond(u16, String),
    /// Responds with 400 if the request contains an event of this feature.
    RejectFeature(String),
    /// Never responds.
    Hang,
    /// Stores the events and responds with 200 and an endless body.
    EndlessBody,
    /// Responds with 200 and an endless head.
    EndlessHead,
    /// Responds with an endless sequence of 102 Processing.
    EndlessInterim,
    /// Stores the events and closes the connection without a response.
    CloseAfterAccept,
}

/// Everything that the receiver has received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The envelopes, each once, in the order of their first delivery.
    pub(crate) events: Vec<Value>,
    event_ids: HashSet<String>,
    /// Number of events that were received again.
    pub(crate) duplicates: u64,
    /// Number of requests.
    pub(crate) requests: u64,
    /// Errors in requests: invalid signatures and bodies.
    pub(crate) errors: Vec<String>,
    /// The `webhook-signature` header of the last request.
    pub(crate) signatures: String,
    /// How further requests are answered.
    pub(crate) behaviour: Behaviour,
}

/// A receiver that runs until the process exits.
#[derive(Clone)]
pub(crate) struct Receiver {
    /// The address on which it listens.
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Received>>,
    verifiers: Verifiers,
}

type OnEvent = Arc<dyn Fn(&Value) + Send + Sync>;
type Verifiers = Arc<Mutex<Vec<Webhook>>>;

impl Receiver {
    /// Listens on an address; port 0 selects a free port. Signatures with any of `secrets` are
    /// valid. Calls `on_event` for each new event.
    ///
    /// # Errors
    /// Returns an error if it cannot listen, or if a secret is invalid.
    pub(crate) fn start(
        address: &str,
        secrets: &[&str],
        on_event: impl Fn(&Value) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_with(address, secrets, on_event, Ok)
    }

    /// Does the same with connections that `accept` wraps, for example in TLS.
    ///
    /// # Errors
    /// Returns an error if it cannot listen, or if a secret is invalid.
    pub(crate) fn start_with<S: Read + Write>(
        address: &str,
        secrets: &[&str],
        on_event: impl Fn(&Value) + Send + Sync + 'static,
        accept: impl Fn(TcpStream) -> io::Result<S> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let verifiers = Verifiers::default();
        let address = listener.local_addr()?;
        let receiver = Self { address, received: Arc::default(), verifiers };
        receiver.set_secrets(secrets)?;
        let (serving, on_event): (_, OnEvent) = (receiver.clone(), Arc::new(on_event));
        let accept = Arc::new(accept);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serving, on_event) = (serving.clone(), Arc::clone(&on_event));
                let accept = Arc::clone(&accept);
                std::thread::spawn(move || {
                    // A sender that closes the connection is not an error.
                    let _ = stream
                        .set_nodelay(true)
                        .and_then(|()| accept(stream))
                        .and_then(|stream| serving.serve(stream, &on_event));
                });
            }
        });
        Ok(receiver)
    }

    /// Replaces the secrets whose signatures are valid.
    ///
    /// # Errors
    /// Returns an error if a secret is invalid.
    pub(crate) fn set_secrets(&self, secrets: &[&str]) -> io::Result<()> {
        let verifiers: Result<Vec<Webhook>, _> =
            secrets.iter().map(|secret| Webhook::new(secret)).collect();
        let verifiers = verifiers.map_err(io::Error::other)?;
        *self.verifiers.lock().unwrap_or_else(PoisonError::into_inner) = verifiers;
        Ok(())
    }

    /// Returns everything that was received so far.
    pub(crate) fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how further requests are answered.
    pub(crate) fn set_behaviour(&self, behaviour: Behaviour) {
        self.received().behaviour = behaviour;
    }

    fn serve(&self, stream: impl Read + Write, on_event: &OnEvent) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        while let Some((headers, body)) = read_request(&mut reader)? {
            let verifiers = self.verifiers.lock().unwrap_or_else(PoisonError::into_inner);
            let events = parse_request(&headers, &body, &verifiers);
            drop(verifiers);
            let mut received = self.received();
            received.requests += 1;
            header(&headers, "webhook-signature").clone_into(&mut received.signatures);
            let (events, behaviour) = match events {
                Ok(events) => (events, received.behaviour.clone()),
                Err(error) => {
                    received.errors.push(error);
                    (Vec::new(), Behaviour::Respond(401, String::new()))
                }
            };
            let has_feature =
                |slug: &String| events.iter().any(|event| event["feature_slug"] == **slug);
            let behaviour = match behaviour {
                Behaviour::RejectFeature(slug) if has_feature(&slug) => {
                    Behaviour::Respond(400, String::new())
                }
                Behaviour::RejectFeature(_) => Behaviour::Accept,
                behaviour => behaviour,
            };
            if matches!(
                behaviour,
                Behaviour::Accept | Behaviour::EndlessBody | Behaviour::CloseAfterAccept
            ) {
                received.store(events, on_event);
            }
            drop(received);
            let stream = reader.get_mut();
            match behaviour {
                Behaviour::Accept | Behaviour::RejectFeature(_) => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
                }
                Behaviour::Respond(status, lines) => {
                    write!(stream, "HTTP/1.1 {status} No\r\n{lines}content-length: 0\r\n\r\n")?;
                }
                Behaviour::CloseAfterAccept => return Ok(()),
                Behaviour::Hang => {
                    io::copy(stream, &mut io::sink())?;
                    return Ok(());
                }
                Behaviour::EndlessBody => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                    loop {
                        stream.write_all(b"4\r\nmore\r\n")?;
                    }
                }
                Behaviour::EndlessHead => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nmore: ")?;
                    loop {
                        stream.write_all(b"and more and more and more and more")?;
                    }
                }
                Behaviour::EndlessInterim => loop {
                    stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
                },
            }
        }
        Ok(())
    }
}

impl Received {
    fn store(&mut self, events: Vec<Value>, on_event: &OnEvent) {
        for event in events {
            let id = event["event_id"].as_str().unwrap_or_default().to_owned();
            if self.event_ids.insert(id) {
                on_event(&event);
                self.events.push(event);
            } else {
                self.duplicates += 1;
            }
        }
    }
}

/// Reads the next request; returns `None` if the sender has closed the connection.
fn read_request(reader: &mut BufReader<impl Read>) -> io::Result<Option<(HeaderMap, Vec<u8>)>> {
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
    reader.take(length.min(MAX_BODY_LENGTH)).read_to_end(&mut body)?;
    Ok(Some((headers, body)))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Verifies and parses a request; returns its envelopes.
fn parse_request(
    headers: &HeaderMap,
    body: &[u8],
    verifiers: &[Webhook],
) -> Result<Vec<Value>, String> {
    let header = |name| header(headers, name);
    let body = match header("content-encoding") {
        "gzip" => {
            let mut text = Vec::new();
            let mut decoder = GzDecoder::new(body).take(MAX_BODY_LENGTH);
            decoder.read_to_end(&mut text).map_err(|error| error.to_string())?;
            text
        }
        _ => body.to_vec(),
    };
    // The signature is verified before the body is parsed; the uncompressed body is signed.
    if !verifiers.iter().any(|verifier| verifier.verify(&body, headers).is_ok()) {
        return Err("no valid signature".to_owned());
    }
    let describe = |error: serde_json::Error| error.to_string();
    match header("content-type").split(';').next().unwrap_or_default() {
        "application/cloudevents+json" => {
            let event: Event = serde_json::from_slice(&body).map_err(describe)?;
            let envelope = envelope(&event)?;
            if header("webhook-id") == envelope["event_id"] {
                Ok(vec![envelope])
            } else {
                Err("`webhook-id` is not the id of the event".to_owned())
            }
        }
        "application/cloudevents-batch+json" => {
            let events: Vec<Event> = serde_json::from_slice(&body).map_err(describe)?;
            events.iter().map(envelope).collect()
        }
        _ => match serde_json::from_slice(&body).map_err(describe)? {
            Value::Array(events) => Ok(events),
            event => Ok(vec![event]),
        },
    }
}

/// Returns the envelope that is the data of a `CloudEvents` event.
fn envelope(event: &Event) -> Result<Value, String> {
    match event.data() {
        Some(Data::Json(data)) if data["event_id"] == event.id() => Ok(data.clone()),
        _ => Err("the data is not the envelope of the event".to_owned()),
    }
}
