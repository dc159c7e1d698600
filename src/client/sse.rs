//! Server-Sent Events out of the bytes of a stream.

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseMessage {
    /// Cursor to go on from after it; empty where one goes on from where one was.
    pub id: String,
    /// An event's type, `gap` or `snapshot`.
    pub event: String,
    /// JSON on one line.
    pub data: String,
}

/// What has come and is no whole message yet.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    buffer: Vec<u8>,
    /// Up to where messages were taken.
    consumed: usize,
    /// Up to where there is no end of a message.
    scanned: usize,
}

impl SseDecoder {
    /// More bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.scanned -= self.consumed;
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of a message that has not ended.
    pub(super) fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.consumed
    }

    /// The next whole message; comments are passed over.
    pub(super) fn next_message(&mut self) -> Option<SseMessage> {
        loop {
            let rest = &self.buffer[self.scanned..];
            let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else {
                // The first of two line ends may be the last byte.
                self.scanned = self.buffer.len().saturating_sub(1).max(self.consumed);
                return None;
            };
            let end = self.scanned + end;
            let message = parse_message(&self.buffer[self.consumed..end]);
            self.consumed = end + 2;
            self.scanned = self.consumed;
            if message.is_some() {
                return message;
            }
        }
    }
}

/// `None` for what has no data, such as a sign of life.
fn parse_message(block: &[u8]) -> Option<SseMessage> {
    let block = String::from_utf8_lossy(block);
    let mut message = SseMessage { id: String::new(), event: String::new(), data: String::new() };
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut message.id),
            "event" => value.clone_into(&mut message.event),
            "data" => message.data.push_str(value),
            _ => {}
        }
    }
    (!message.data.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_however_they_are_cut() {
        let stream =
            b": keep-alive\n\nid: i:1\nevent: a\ndata: {\"x\":1}\n\n: z\n\nevent: b\ndata: {}\n\n";
        for size in 1..stream.len() {
            let (mut messages, mut seen) = (SseDecoder::default(), Vec::new());
            for chunk in stream.chunks(size) {
                messages.push(chunk);
                while let Some(message) = messages.next_message() {
                    seen.push((message.id, message.event, message.data));
                }
            }
            let expect = [("i:1", "a", "{\"x\":1}"), ("", "b", "{}")]
                .map(|(id, event, data)| (id.to_owned(), event.to_owned(), data.to_owned()));
            assert_eq!(seen, expect, "{size}");
            assert_eq!(messages.pending_bytes(), 0);
        }
    }
}
