//! Compresses contents. It does not know what they are.

use std::io::{self, Read as _};

use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};

/// Compresses contents, one after the other with the same tables: to create them takes longer than to
/// compress a small file.
#[derive(Default)]
pub struct FrameEncoder {
    encoder: Option<Compress>,
}

impl FrameEncoder {
    /// Returns the compressed bytes.
    ///
    /// # Errors
    /// None in practice: the encoder writes to memory.
    pub fn compress(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let encoder =
            self.encoder.get_or_insert_with(|| Compress::new(Compression::default(), false));
        encoder.reset();
        let mut frame = Vec::with_capacity(bytes.len() / 2 + 64);
        let mut rest = bytes;
        loop {
            let before = encoder.total_in();
            let status = encoder.compress_vec(rest, &mut frame, FlushCompress::Finish)?;
            if status == Status::StreamEnd {
                return Ok(frame);
            }
            let read = encoder.total_in() - before;
            rest = &rest[usize::try_from(read).map_err(io::Error::other)?..];
            frame.reserve(frame.capacity());
        }
    }

    /// Frees the tables.
    pub fn release(&mut self) {
        self.encoder = None;
    }
}

/// Returns the bytes of a frame, which must be exactly `size`.
pub(super) fn decompress(frame: &[u8], size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // A corrupt frame must not fill the memory.
    DeflateDecoder::new(frame).take(size.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
}
