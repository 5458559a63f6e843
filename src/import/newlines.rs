//! Which line of a file an offset is on, and how long a record may be. The CSV reader counts other lines if lines end
//! with CR LF, or are blank, and reads a record to the end of the file if its last quote is missing.

use std::collections::VecDeque;
use std::io::{self, Read};

/// No record of a user is longer.
const MAX_RECORD_BYTES: u64 = 1024 * 1024;

/// Passes bytes on and remembers where lines end.
pub(super) struct NewlineIndex<R> {
    inner: R,
    /// The number of bytes passed on.
    offset: u64,
    /// The offsets of line ends that were not asked for yet: those of about one buffer.
    ends: VecDeque<u64>,
    /// The number of line ends before them.
    passed: u64,
    /// The offset at which the record begins that is being read.
    record_start: u64,
    /// Whether that record is too long.
    is_too_long: bool,
}

impl<R> NewlineIndex<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, offset: 0, ends: VecDeque::new(), passed: 0, record_start: 0, is_too_long: false }
    }

    /// A record begins at this offset, or after the line break there.
    pub(super) fn begin_record(&mut self, offset: u64) {
        self.record_start = offset;
    }

    /// Whether reading has failed because the record is too long.
    pub(super) fn is_too_long(&self) -> bool {
        self.is_too_long
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
        // All that was passed on belongs to the record: only then does the reader need more.
        if self.offset.saturating_sub(self.record_start) > MAX_RECORD_BYTES {
            self.is_too_long = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
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
