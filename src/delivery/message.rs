//! Encodes events as the body of a request. Does not sign or send it.
//!
//! The formats are in `docs/specification.md#webhook-requests`.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::config::WebhookFormat;
use crate::core::digest::Digest;
use crate::wire::json;

/// A request without its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookMessage {
    /// Id of the event. A batch of several has an id that depends only on the ids of its events, so
    /// that it is the same at each attempt.
    pub(crate) id: String,
    pub(crate) content_type: &'static str,
    /// The uncompressed body, which is what is signed: the reference libraries of Standard Webhooks
    /// verify only text.
    pub(crate) body: Vec<u8>,
    /// The compressed body, which is sent instead.
    pub(crate) gzip_body: Option<Vec<u8>>,
}

/// Options of the encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageEncoder {
    pub(crate) format: WebhookFormat,
    /// True if each message is a list, also of one event.
    pub(crate) batch: bool,
    pub(crate) gzip: bool,
}

/// The parts of an envelope that are repeated outside of it.
#[derive(Deserialize)]
struct EventAttributes<'a> {
    event_id: &'a str,
    seq: u64,
    event_type: &'a str,
    root_id: &'a str,
    feature_slug: &'a str,
    emitted_at: &'a str,
}

impl MessageEncoder {
    /// Encodes envelopes, at least one.
    pub(crate) fn encode(self, envelopes: &[String]) -> io::Result<WebhookMessage> {
        let mut body = Vec::with_capacity(envelopes.iter().map(|text| text.len() + 512).sum());
        let mut ids = Vec::with_capacity(envelopes.len());
        if self.batch {
            body.push(b'[');
        }
        for (index, envelope) in envelopes.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            let attributes: EventAttributes<'_> = serde_json::from_str(envelope)?;
            ids.push(attributes.event_id);
            match self.format {
                WebhookFormat::CloudEvents => write_cloud_event(&mut body, &attributes, envelope)?,
                WebhookFormat::Envelope => {
                    body.extend(json::escape_for_terminal(envelope).as_bytes());
                }
            }
        }
        if self.batch {
            body.push(b']');
        }
        let id = match &*ids {
            [one] => (*one).to_owned(),
            several => format!("batch_{}", Digest::of(several.join(".").as_bytes())),
        };
        let content_type = match (self.format, self.batch) {
            // Without a charset, because the JavaScript SDK compares the whole text. JSON is UTF-8.
            (WebhookFormat::CloudEvents, false) => "application/cloudevents+json",
            (WebhookFormat::CloudEvents, true) => "application/cloudevents-batch+json",
            (WebhookFormat::Envelope, _) => "application/json",
        };
        let gzip_body = if self.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&body)?;
            Some(encoder.finish()?)
        } else {
            None
        };
        Ok(WebhookMessage { id, content_type, body, gzip_body })
    }
}

/// Writes an event in `CloudEvents` 1.0 structured JSON, with the documented extensions `sequence` and
/// `partitionkey` (<https://github.com/cloudevents/spec>).
fn write_cloud_event(
    body: &mut Vec<u8>,
    attributes: &EventAttributes<'_>,
    envelope: &str,
) -> io::Result<()> {
    let EventAttributes { event_id, seq, event_type, root_id, feature_slug, emitted_at } =
        attributes;
    write!(
        body,
        "{{\"specversion\":\"1.0\",\"id\":\"{event_id}\",\"source\":\"urn:dossierd:{root_id}\",\
         \"type\":\"{event_type}\",\"subject\":\"{feature_slug}\",\"time\":\"{emitted_at}\",\
         \"sequence\":\"{seq:020}\",\"partitionkey\":\"{root_id}/{feature_slug}\",\
         \"datacontenttype\":\"application/json\",\"data\":"
    )?;
    body.extend(json::escape_for_terminal(envelope).as_bytes());
    body.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use cloudevents::{AttributesReader as _, Data, Event};

    use super::*;

    fn envelope(id: &str, seq: u64) -> String {
        format!(
            "{{\"event_id\":\"{id}\",\"seq\":{seq},\"event_type\":\"mission_x\",\"project\":\"p\",\
             \"root_id\":\"00ff\",\"project_uuid\":\"u\",\"node_id\":\"n\",\"feature_slug\":\"1-a\",\
             \"emitted_at\":\"2026-02-21T10:00:00.123Z\",\"payload\":{{\"a\":\"\u{202e}\"}}}}"
        )
    }

    fn encoder(format: WebhookFormat, batch: bool, gzip: bool) -> MessageEncoder {
        MessageEncoder { format, batch, gzip }
    }

    #[test]
    fn cloud_event_is_parsed_by_an_independent_sdk() {
        let sent = envelope("01H", 7);
        let encoder = encoder(WebhookFormat::CloudEvents, false, false);
        let message = encoder.encode(std::slice::from_ref(&sent)).unwrap();
        assert_eq!(message.id, "01H");
        let event: Event = serde_json::from_slice(&message.body).unwrap();
        assert_eq!((event.id(), event.ty(), event.subject()), ("01H", "mission_x", Some("1-a")));
        assert_eq!(event.source(), "urn:dossierd:00ff");
        assert_eq!(event.time().unwrap().to_rfc3339(), "2026-02-21T10:00:00.123+00:00");
        assert_eq!(event.extension("sequence").unwrap().to_string(), format!("{:020}", 7));
        let Some(Data::Json(data)) = event.data() else { panic!("{event:?}") };
        assert_eq!(*data, serde_json::from_str::<serde_json::Value>(&sent).unwrap());
        let text = String::from_utf8(message.body).unwrap();
        assert!(!text.contains('\u{202e}'), "control characters are escaped");
    }

    #[test]
    fn batch_is_a_list_with_a_reproducible_id() {
        let sent = [envelope("A", 1), envelope("B", 2)];
        let cloud = encoder(WebhookFormat::CloudEvents, true, true);
        let message = cloud.encode(&sent).unwrap();
        assert_eq!(message, cloud.encode(&sent).unwrap(), "the same at each attempt");
        assert_ne!(message.id, cloud.encode(&[envelope("A", 1), envelope("C", 3)]).unwrap().id);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*message.gzip_body.unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text.as_bytes(), message.body);
        let events: Vec<Event> = serde_json::from_str(&text).unwrap();
        assert_eq!(
            events.iter().map(cloudevents::AttributesReader::id).collect::<Vec<_>>(),
            ["A", "B"]
        );
        let one = encoder(WebhookFormat::Envelope, true, false).encode(&sent[..1]).unwrap();
        assert_eq!((one.id.as_str(), one.content_type), ("A", "application/json"));
        let list: Vec<serde_json::Value> = serde_json::from_slice(&one.body).unwrap();
        assert_eq!(list[0]["event_id"], "A");
    }
}
