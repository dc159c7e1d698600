//! Counts log lines that were not written because nothing reads them. A full log costs lines, not the
//! time of the daemon.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of lines that were lost since it was last reported.
pub(crate) struct LostLines(AtomicU64);

impl LostLines {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Writes a line with `write`, which does not block and returns false if it cannot write now.
    /// Before it, reports the lines that were lost.
    pub(crate) fn write(
        &self,
        line: &[u8],
        render_notice: impl FnOnce(&str) -> Vec<u8>,
        write: impl Fn(&[u8]) -> bool,
    ) {
        let lost = self.0.swap(0, Ordering::Relaxed);
        let notice = format!("the log was not read; lines lost: {lost}");
        let is_notice_written = lost == 0 || write(&render_notice(&notice));
        let mut still_lost = if is_notice_written { 0 } else { lost };
        if !(is_notice_written && write(line)) {
            still_lost += 1;
        }
        self.0.fetch_add(still_lost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn lost_lines_are_counted_and_reported_before_the_next_one() {
        let (lost, written) = (LostLines::new(), RefCell::new(Vec::new()));
        let capacity = Cell::new(1);
        let write = |line: &str| {
            lost.write(
                line.as_bytes(),
                |notice| notice.as_bytes().to_vec(),
                |bytes| {
                    let is_written = capacity.get() > 0;
                    if is_written {
                        capacity.set(capacity.get() - 1);
                        written.borrow_mut().push(String::from_utf8_lossy(bytes).into_owned());
                    }
                    is_written
                },
            );
        };
        write("a");
        write("b");
        write("c");
        // The report can be written, but not the line.
        capacity.set(1);
        write("d");
        capacity.set(9);
        write("e");
        write("f");
        let notice = |count| format!("the log was not read; lines lost: {count}");
        assert_eq!(
            *written.borrow(),
            ["a".to_owned(), notice(2), notice(1), "e".into(), "f".into()]
        );
    }
}
