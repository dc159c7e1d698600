//! Compresses contents. It does not know what they are.

use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// Returns the compressed bytes.
///
/// # Errors
/// None in practice: the encoder writes to memory.
pub fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder =
        DeflateEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Returns the bytes of a frame, which must be exactly `size`.
pub(super) fn decompress(frame: &[u8], size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // A corrupt frame must not fill the memory.
    DeflateDecoder::new(frame).take(size.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
}
