//! Which line of a file an offset is on. The CSV reader counts other lines if lines end with CR LF, or are blank.

use std::collections::VecDeque;
use std::io::{self, Read};

/// Passes bytes on and remembers where lines end.
pub(super) struct NewlineIndex<R> {
    inner: R,
    /// The number of bytes passed on.
    offset: u64,
    /// The offsets of line ends that were not asked for yet: those of about one buffer.
    ends: VecDeque<u64>,
    /// The number of line ends before them.
    passed: u64,
}

impl<R> NewlineIndex<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, offset: 0, ends: VecDeque::new(), passed: 0 }
    }

    /// The line, from 1, of the byte at this offset, which is never below an earlier one.
    pub(super) fn line_of(&mut self, offset: u64) -> u64 {
        while self.ends.front().is_some_and(|end| *end < offset) {
            self.ends.pop_front();
            self.passed += 1;
        }
        self.passed + 1
    }
}

impl<R: Read> Read for NewlineIndex<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        for (offset, byte) in (self.offset..).zip(buffer.iter().take(length)) {
            if *byte == b'\n' {
                self.ends.push_back(offset);
            }
        }
        self.offset += u64::try_from(length).unwrap_or_default();
        Ok(length)
    }
}
