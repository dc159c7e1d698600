//! Incremental decoder for Server-Sent Events, as the WHATWG HTML standard specifies them
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! Two deliberate differences: [`SseMessage::id`] is the id of that message alone and not the last
//! one of the stream, because a message without an id must not move the cursor; and `retry` is
//! ignored, because [`Follower`](crate::client::Follower) has its own backoff.

/// The mark that a stream may begin with.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseMessage {
    /// Cursor to resume from after this message; empty if the cursor does not move.
    pub id: String,
    /// The event type: that of a journal event, `gap` or `snapshot`; `message` if none was sent.
    pub event: String,
    /// JSON on one line.
    pub data: String,
}

/// Turns the bytes of a stream into messages, however the bytes are split into chunks.
#[derive(Debug)]
pub(super) struct SseDecoder {
    /// Received bytes; everything before `line_start` was decoded.
    buffer: Vec<u8>,
    /// Where the first incomplete line begins.
    line_start: usize,
    /// The buffer has no line end between `line_start` and here.
    scanned: usize,
    /// True until the first line is complete.
    at_start: bool,
    /// True if the last line ended with CR: a following LF belongs to the same line end.
    after_cr: bool,
    /// The fields since the last empty line.
    fields: Fields,
}

#[derive(Debug, Default)]
struct Fields {
    id: String,
    event: String,
    /// The values of all `data` fields, each followed by LF.
    data: String,
}

impl Default for SseDecoder {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            line_start: 0,
            scanned: 0,
            at_start: true,
            after_cr: false,
            fields: Fields::default(),
        }
    }
}

impl SseDecoder {
    /// Appends bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.line_start);
        self.scanned -= self.line_start;
        self.line_start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the number of bytes held for a message that is not complete yet.
    pub(super) fn pending_bytes(&self) -> usize {
        let Fields { id, event, data } = &self.fields;
        self.buffer.len() - self.line_start + id.len() + event.len() + data.len()
    }

    /// Returns the next complete message; `None` if more bytes are needed. Comments are skipped.
    pub(super) fn next_message(&mut self) -> Option<SseMessage> {
        loop {
            let rest = &self.buffer[self.scanned..];
            let Some(length) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.scanned = self.buffer.len();
                return None;
            };
            let end = self.scanned + length;
            let line = &self.buffer[self.line_start..end];
            let is_cr = self.buffer[end] == b'\r';
            self.line_start = end + 1;
            self.scanned = end + 1;
            if std::mem::replace(&mut self.after_cr, is_cr) && !is_cr && line.is_empty() {
                continue;
            }
            let at_start = std::mem::take(&mut self.at_start);
            let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| at_start).unwrap_or(line);
            if !line.is_empty() {
                self.fields.add(line);
            } else if let Some(message) = self.fields.take_message() {
                return Some(message);
            }
        }
    }
}

impl Fields {
    fn add(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // A comment has an empty name.
            _ => {}
        }
    }

    /// Ends a message; returns `None` for one without a `data` field, such as a keep-alive.
    fn take_message(&mut self) -> Option<SseMessage> {
        let Self { id, mut event, mut data } = std::mem::take(self);
        data.pop()?;
        if event.is_empty() {
            "message".clone_into(&mut event);
        }
        Some(SseMessage { id, event, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the messages of chunks as (id, event, data), and the number of bytes that are left.
    fn decode<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<(String, String, String)>, usize) {
        let (mut decoder, mut messages) = (SseDecoder::default(), Vec::new());
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(SseMessage { id, event, data }) = decoder.next_message() {
                messages.push((id, event, data));
            }
        }
        (messages, decoder.pending_bytes())
    }

    /// Decodes a stream in chunks of every size, and in two chunks split at every byte.
    fn assert_decodes(stream: &[u8], expected: &[(&str, &str, &str)]) {
        let owned = |&(id, event, data): &(&str, &str, &str)| {
            (id.to_owned(), event.to_owned(), data.to_owned())
        };
        let expected: Vec<_> = expected.iter().map(owned).collect();
        let text = String::from_utf8_lossy(stream);
        let (_, left) = decode([stream]);
        for size in 1..=stream.len() {
            assert_eq!(decode(stream.chunks(size)), (expected.clone(), left), "{size}: {text:?}");
        }
        for at in 0..=stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(decode([first, second]), (expected.clone(), left), "{at}: {text:?}");
        }
    }

    #[test]
    fn decode_returns_the_messages_of_the_examples_in_the_standard() {
        assert_decodes(b"data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "message", "YHOO\n+2\n10")]);
        // The message without a final empty line is discarded.
        let stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n\
            data:  third event";
        let two = [("1", "message", "first event"), ("", "message", "second event")];
        assert_decodes(stream, &two);
        let three = [&two[..], &[("", "message", " third event")]].concat();
        assert_decodes(&[&stream[..], b"\n\n"].concat(), &three);
        assert_decodes(
            b"data\n\ndata\ndata\n\ndata:",
            &[("", "message", ""), ("", "message", "\n")],
        );
        assert_decodes(
            b"data:test\n\ndata: test\n\n",
            &[("", "message", "test"), ("", "message", "test")],
        );
        assert_decodes(
            b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\ndata: 113411\n\n",
            &[("", "add", "73857293"), ("", "remove", "2153"), ("", "message", "113411")],
        );
    }

    #[test]
    fn decode_skips_comments_and_messages_without_data() {
        let stream =
            b": keep-alive\n\nid: i:1\nevent: a\ndata: {\"x\":1}\n\n: z\n\nevent: b\ndata: {}\n\n";
        assert_decodes(stream, &[("i:1", "a", "{\"x\":1}"), ("", "b", "{}")]);
        assert_eq!(decode([&stream[..]]).1, 0);
        assert_decodes(b":\n:data: x\n\n", &[]);
        // What a message without data named does not carry over to the next.
        assert_decodes(b"event: a\nid: 1\n\ndata: x\n\n", &[("", "message", "x")]);
        assert_decodes(b"data: a\n: between\ndata: b\n\n", &[("", "message", "a\nb")]);
        assert_decodes(b"\n\n\r\r\r\n\r\n", &[]);
    }

    #[test]
    fn decode_accepts_every_line_end() {
        let expected = [("1", "a", "x\ny"), ("", "message", "z")];
        for end in ["\n", "\r", "\r\n"] {
            let lines = ["id: 1", "event: a", "data: x", "data: y", "", "data: z", "", ""];
            assert_decodes(lines.join(end).as_bytes(), &expected);
        }
        assert_decodes(
            b"id: 1\revent: a\r\ndata: x\ndata: y\r\r\ndata: z\n\r",
            &[("1", "a", "x\ny"), ("", "message", "z")],
        );
        // LF CR is two line ends, and so is CR LF LF.
        assert_decodes(b"data: x\n\rdata: y\r\n\n", &[("", "message", "x"), ("", "message", "y")]);
    }

    #[test]
    fn decode_strips_one_byte_order_mark_at_the_start_of_the_stream() {
        assert_decodes("\u{feff}data: x\n\n".as_bytes(), &[("", "message", "x")]);
        assert_decodes("\u{feff}\u{feff}data: x\n\n".as_bytes(), &[]);
        assert_decodes("\ndata: x\n\u{feff}data: y\n\n".as_bytes(), &[("", "message", "x")]);
        assert_decodes("data: \u{feff}\n\n".as_bytes(), &[("", "message", "\u{feff}")]);
    }

    #[test]
    fn decode_parses_each_field_by_the_standard() {
        for (stream, expected) in [
            // An id that contains NUL is ignored.
            ("id: 1\nid: 2\0\ndata: x\n\n", [("1", "message", "x")]),
            ("id: 1\nid\ndata: x\n\n", [("", "message", "x")]),
            ("id: a: b\ndata: x\n\n", [("a: b", "message", "x")]),
            // One space after the colon is removed.
            ("data:  x \n\n", [("", "message", " x ")]),
            ("data:\tx\n\n", [("", "message", "\tx")]),
            // The last event type is used.
            ("event: a\nevent: b\ndata: x\n\n", [("", "b", "x")]),
            ("event: a\nevent\ndata: x\n\n", [("", "message", "x")]),
            // Names are compared as they are; unknown fields and `retry` are ignored.
            ("retry: 1000\nretry: x\nretry\ndata: x\n\n", [("", "message", "x")]),
            ("Data: a\n data: b\ndata : c\ndatax: d\nx\ndata: x\n\n", [("", "message", "x")]),
            ("data\ndata: x\n\n", [("", "message", "\nx")]),
            ("data: \u{fc}\u{2028}\u{1f600}\n\n", [("", "message", "\u{fc}\u{2028}\u{1f600}")]),
        ] {
            assert_decodes(stream.as_bytes(), &expected);
        }
        assert_decodes(b"data: a\xffb\n\n", &[("", "message", "a\u{fffd}b")]);
    }

    #[test]
    fn pending_bytes_counts_the_incomplete_message() {
        assert_eq!(decode([&b"data: xyz\n\n"[..]]).1, 0);
        assert_eq!(decode([&b"data: xyz\n\ndata: x"[..]]).1, "data: x".len());
        assert_eq!(decode([&b"id: 12\ndata: x\nda"[..]]).1, "12".len() + "x\n".len() + "da".len());
        assert_eq!(decode([&b": a comment\n"[..]]).1, 0);
    }
}
