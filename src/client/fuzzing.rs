//! Fuzzing of the decoder of event streams: the messages do not depend on how the bytes are split.

use crate::client::sse::{SseDecoder, SseMessage};

/// Decodes one input, as a whole and in parts whose length is the first byte.
///
/// # Panics
/// If the messages differ.
pub fn run(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    let whole = decode([stream].into_iter());
    let parts = decode(stream.chunks(usize::from(*first).max(1)));
    assert_eq!(whole, parts);
}

fn decode<'b>(parts: impl Iterator<Item = &'b [u8]>) -> Vec<SseMessage> {
    let (mut decoder, mut messages) = (SseDecoder::default(), Vec::new());
    for part in parts {
        decoder.push(part);
        while let Some(message) = decoder.next_message() {
            assert!(!message.data.contains('\r'), "{message:?}");
            messages.push(message);
        }
    }
    messages
}
