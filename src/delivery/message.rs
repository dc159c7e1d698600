//! One request's identity, type and body: events as the receiver gets them.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::config::WebhookFormat;
use crate::core::digest::Digest;
use crate::wire::json;

/// A request, but for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookMessage {
    /// The event's id; of several events one that is the same whenever the same are sent.
    pub(crate) id: String,
    pub(crate) content_type: &'static str,
    /// What is signed: the reference libraries of Standard Webhooks take text only.
    pub(crate) body: Vec<u8>,
    /// The same as it is sent, where it is packed.
    pub(crate) gzip_body: Option<Vec<u8>>,
}

/// How messages are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageEncoder {
    pub(crate) format: WebhookFormat,
    /// Whether each is a list, though it may be of one.
    pub(crate) batch: bool,
    pub(crate) gzip: bool,
}

/// What of an envelope stands outside of it.
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
    /// The message with these envelopes, at least one.
    pub(crate) fn encode(self, envelopes: &[String]) -> io::Result<WebhookMessage> {
        let mut body = Vec::with_capacity(envelopes.iter().map(|text| text.len() + 512).sum());
        let mut ids = Vec::with_capacity(envelopes.len());
        if self.batch {
            body.push(b'[');
        }
        for (place, envelope) in envelopes.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            let head: EventAttributes<'_> = serde_json::from_str(envelope)?;
            ids.push(head.event_id);
            match self.format {
                WebhookFormat::CloudEvents => write_cloud_event(&mut body, &head, envelope)?,
                WebhookFormat::Envelope => {
                    body.extend(json::escape_for_terminal(envelope).as_bytes())
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
            // Without a charset, which JSON does not need: the SDK for JavaScript knows the type by
            // its text.
            (WebhookFormat::CloudEvents, false) => "application/cloudevents+json",
            (WebhookFormat::CloudEvents, true) => "application/cloudevents-batch+json",
            (WebhookFormat::Envelope, _) => "application/json",
        };
        let packed = if self.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&body)?;
            Some(encoder.finish()?)
        } else {
            None
        };
        Ok(WebhookMessage { id, content_type, body: body, gzip_body: packed })
    }
}

/// An event in `CloudEvents` 1.0 structured JSON, with the extensions `sequence` and
/// `partitionkey` that its specification documents.
fn write_cloud_event(
    body: &mut Vec<u8>,
    head: &EventAttributes<'_>,
    envelope: &str,
) -> io::Result<()> {
    let EventAttributes { event_id, seq, event_type, root_id, feature_slug, emitted_at } = head;
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

    fn form(format: WebhookFormat, batch: bool, gzip: bool) -> MessageEncoder {
        MessageEncoder { format, batch, gzip }
    }

    #[test]
    fn an_independent_reader_takes_our_cloud_events() {
        let sent = envelope("01H", 7);
        let form = form(WebhookFormat::CloudEvents, false, false);
        let message = form.encode(std::slice::from_ref(&sent)).unwrap();
        assert_eq!(message.id, "01H");
        let event: Event = serde_json::from_slice(&message.body).unwrap();
        assert_eq!((event.id(), event.ty(), event.subject()), ("01H", "mission_x", Some("1-a")));
        assert_eq!(event.source(), "urn:dossierd:00ff");
        assert_eq!(event.time().unwrap().to_rfc3339(), "2026-02-21T10:00:00.123+00:00");
        assert_eq!(event.extension("sequence").unwrap().to_string(), format!("{:020}", 7));
        let Some(Data::Json(data)) = event.data() else { panic!("{event:?}") };
        assert_eq!(*data, serde_json::from_str::<serde_json::Value>(&sent).unwrap());
        let text = String::from_utf8(message.body).unwrap();
        assert!(!text.contains('\u{202e}'), "it can be shown");
    }

    #[test]
    fn a_batch_is_a_list_with_an_identity_of_its_own() {
        let sent = [envelope("A", 1), envelope("B", 2)];
        let cloud = form(WebhookFormat::CloudEvents, true, true);
        let message = cloud.encode(&sent).unwrap();
        assert_eq!(message, cloud.encode(&sent).unwrap(), "the same when it is sent again");
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
        let one = form(WebhookFormat::Envelope, true, false).encode(&sent[..1]).unwrap();
        assert_eq!((one.id.as_str(), one.content_type), ("A", "application/json"));
        let list: Vec<serde_json::Value> = serde_json::from_slice(&one.body).unwrap();
        assert_eq!(list[0]["event_id"], "A");
    }
}
