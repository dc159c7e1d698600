//! Server-Sent Events out of the bytes of a stream.

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Cursor to go on from after it; empty where one goes on from where one was.
    pub id: String,
    /// An event's type, `gap` or `snapshot`.
    pub event: String,
    /// JSON on one line.
    pub data: String,
}

/// What has come and is no whole message yet.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// Up to where messages were taken.
    taken: usize,
    /// Up to where there is no end of a message.
    searched: usize,
}

impl Messages {
    /// More bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of a message that has not ended.
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// The next whole message; comments are passed over.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            let rest = &self.bytes[self.searched..];
            let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else {
                // The first of two line ends may be the last byte.
                self.searched = self.bytes.len().saturating_sub(1).max(self.taken);
                return None;
            };
            let end = self.searched + end;
            let message = parse(&self.bytes[self.taken..end]);
            self.taken = end + 2;
            self.searched = self.taken;
            if message.is_some() {
                return message;
            }
        }
    }
}

/// `None` for what has no data, such as a sign of life.
fn parse(block: &[u8]) -> Option<Message> {
    let block = String::from_utf8_lossy(block);
    let mut message = Message { id: String::new(), event: String::new(), data: String::new() };
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
            let (mut messages, mut seen) = (Messages::default(), Vec::new());
            for chunk in stream.chunks(size) {
                messages.push(chunk);
                while let Some(message) = messages.next() {
                    seen.push((message.id, message.event, message.data));
                }
            }
            let expect = [("i:1", "a", "{\"x\":1}"), ("", "b", "{}")]
                .map(|(id, event, data)| (id.to_owned(), event.to_owned(), data.to_owned()));
            assert_eq!(seen, expect, "{size}");
            assert_eq!(messages.pending(), 0);
        }
    }
}
