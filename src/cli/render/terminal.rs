//! The terminal: its size, and the alternate screen that is redrawn in place.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::tcgetwinsize;

use crate::cli::render::output::{auto_stream, color_choice};

/// Switches to the alternate screen, hides the cursor and disables line wrapping.
const ENTER_SCREEN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Reverts [`ENTER_SCREEN`].
pub(crate) const LEAVE_SCREEN: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The alternate screen; dropping it switches back.
pub(crate) struct AlternateScreen(());

/// Size of a terminal that does not report its own, in columns and rows.
pub(crate) const DEFAULT_SIZE: (usize, usize) = (80, 24);

/// Returns columns and rows of the terminal; `None` if standard output is not a terminal.
pub(crate) fn size() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(&stdout).ok();
    let known = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    Some(known.map_or(DEFAULT_SIZE, |size| (usize::from(size.ws_col), usize::from(size.ws_row))))
}

impl AlternateScreen {
    /// Switches to the alternate screen.
    pub(crate) fn enter() -> io::Result<Self> {
        let screen = Self(());
        write_sequence(ENTER_SCREEN)?;
        Ok(screen)
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        // Fails only if the terminal was closed.
        let _ = write_sequence(LEAVE_SCREEN);
    }
}

fn write_sequence(sequence: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(sequence.as_bytes())?;
    out.flush()
}

/// Draws `text` over the previous text. Lines beyond `rows` are replaced by their number.
pub(crate) fn draw(text: &str, rows: usize) -> io::Result<()> {
    let lines: Vec<&str> = text.lines().collect();
    let shown = if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() };
    let mut frame = String::from("\x1b[H");
    for (index, line) in lines[..shown].iter().enumerate() {
        frame.push_str(if index > 0 { "\r\n" } else { "" });
        frame.push_str(line);
        frame.push_str("\x1b[K");
    }
    if shown < lines.len() {
        frame.push_str(&format!("\r\n... {} lines more\x1b[K", lines.len() - shown));
    }
    frame.push_str("\x1b[J");
    let mut out = auto_stream(io::stdout().lock());
    // The stream would also strip the sequences that move the cursor.
    if color_choice(&io::stdout()) == anstream::ColorChoice::Never {
        let plain = strip_colors(&frame);
        let mut raw = out.into_inner();
        raw.write_all(plain.as_bytes())?;
        return raw.flush();
    }
    out.write_all(frame.as_bytes())?;
    out.flush()
}

/// Removes the sequences that set colours and keeps those that move the cursor.
fn strip_colors(frame: &str) -> String {
    let mut plain = String::with_capacity(frame.len());
    let mut rest = frame;
    while let Some(at) = rest.find("\x1b[") {
        plain.push_str(&rest[..at]);
        let sequence = &rest[at..];
        let end = sequence[2..].find(|c: char| c.is_ascii_alphabetic()).map_or(0, |end| end + 3);
        if end == 0 {
            break;
        }
        if !sequence[..end].ends_with('m') {
            plain.push_str(&sequence[..end]);
        }
        rest = &sequence[end..];
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::strip_colors;

    #[test]
    fn strip_colors_keeps_cursor_movement() {
        assert_eq!(strip_colors("\x1b[Ha\x1b[31mb\x1b[0mc\x1b[K"), "\x1b[Habc\x1b[K");
    }
}
