//! Follows the requests of an HTTP/1 connection through its bytes, and passes each head on only when it is
//! complete and valid.

use super::request_head::{BodyLength, InvalidHead, check};

/// The largest head. The library gets a larger one as it is, and answers that it is too large.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// Of a line with the size of a chunk, or of a trailer.
const MAX_LINE: usize = 8 * 1024;

/// What the bytes that follow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Of the head, this many bytes were searched for its end.
    Head {
        searched: usize,
    },
    Body {
        left: u64,
    },
    ChunkSize,
    Chunk {
        left: u64,
    },
    /// The CRLF after a chunk.
    ChunkEnd,
    Trailer,
    /// Bytes are passed on as they are, for the library to refuse them.
    Unchecked,
}

/// Bytes received, of which the first may be passed on.
#[derive(Debug)]
pub(super) struct RequestFilter {
    received: Vec<u8>,
    passed: usize,
    part: Part,
    pub(super) is_refused: bool,
}

/// What no parser of HTTP takes for a head or for a chunk.
const REFUSED: &[u8] = b"\0\r\n\r\n";

impl RequestFilter {
    pub(super) fn new() -> Self {
        Self { received: Vec::new(), passed: 0, part: Part::Head { searched: 0 }, is_refused: false }
    }

    /// Takes bytes from the connection.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        // Nothing is read from a connection after it was refused.
        if !self.is_refused {
            self.received.extend_from_slice(bytes);
            self.advance();
        }
    }

    /// The connection has ended: the library finds out what is missing.
    pub(super) fn receive_end(&mut self) {
        self.part = Part::Unchecked;
        self.passed = self.received.len();
    }

    /// The bytes that may be passed on.
    pub(super) fn available(&self) -> &[u8] {
        self.received.get(..self.passed).unwrap_or_default()
    }

    /// The first bytes were passed on.
    pub(super) fn consume(&mut self, count: usize) {
        self.received.drain(..count);
        self.passed -= count;
        if self.received.is_empty() {
            // A connection between two requests holds no memory.
            self.received = Vec::new();
        }
    }

    /// How many bytes of an incomplete head are held.
    pub(super) fn held(&self) -> usize {
        self.received.len() - self.passed
    }

    /// Whether a head has begun that is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        matches!(self.part, Part::Head { .. }) && self.held() > 0
    }

    fn rest(&self) -> &[u8] {
        self.received.get(self.passed..).unwrap_or_default()
    }

    fn advance(&mut self) {
        while !self.rest().is_empty() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(InvalidHead) => return self.refuse(),
            }
        }
    }

    /// Passes on what it can. Whether something may follow; otherwise more bytes are needed.
    fn step(&mut self) -> Result<bool, InvalidHead> {
        match self.part {
            Part::Head { searched } => self.head(searched),
            Part::Body { left: 0 } => {
                self.part = Part::Head { searched: 0 };
                Ok(true)
            }
            Part::Chunk { left: 0 } => {
                self.part = Part::ChunkEnd;
                Ok(true)
            }
            Part::Body { left } => Ok(self.pass_up_to(left, |left| Part::Body { left })),
            Part::Chunk { left } => Ok(self.pass_up_to(left, |left| Part::Chunk { left })),
            Part::ChunkSize => self.line(|line| match chunk_size(line)? {
                0 => Ok(Part::Trailer),
                left => Ok(Part::Chunk { left }),
            }),
            Part::ChunkEnd => {
                self.line(|line| if line.is_empty() { Ok(Part::ChunkSize) } else { Err(InvalidHead) })
            }
            Part::Trailer => {
                self.line(|line| Ok(if line.is_empty() { Part::Head { searched: 0 } } else { Part::Trailer }))
            }
            Part::Unchecked => {
                self.passed = self.received.len();
                Ok(false)
            }
        }
    }

    fn pass_up_to(&mut self, left: u64, part: impl Fn(u64) -> Part) -> bool {
        let count = self.rest().len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.passed += count;
        self.part = part(left - u64::try_from(count).unwrap_or(left));
        true
    }

    /// Passes the head on once it is complete. A line that does not end in CRLF makes it invalid.
    fn head(&mut self, searched: usize) -> Result<bool, InvalidHead> {
        // Empty lines before a request line are ignored (RFC 9112 §2.2), by the library too.
        if self.rest().starts_with(b"\r\n") {
            self.passed += 2;
            self.part = Part::Head { searched: 0 };
            return Ok(true);
        }
        let rest = self.rest();
        let from = searched.saturating_sub(3);
        let Some(end) = find_end(rest, from)? else {
            let length = rest.len();
            self.part = if length > MAX_HEAD { Part::Unchecked } else { Part::Head { searched: length } };
            return Ok(length > MAX_HEAD);
        };
        let body = check(rest.get(..end).unwrap_or_default())?;
        self.passed += end;
        self.part = match body {
            BodyLength::Known(left) => Part::Body { left },
            BodyLength::Chunked => Part::ChunkSize,
        };
        Ok(true)
    }

    /// Passes a line on once it is complete.
    fn line(&mut self, next: impl Fn(&[u8]) -> Result<Part, InvalidHead>) -> Result<bool, InvalidHead> {
        let rest = self.rest();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > MAX_LINE { Err(InvalidHead) } else { Ok(false) };
        };
        let line = rest.get(..=end).and_then(|line| line.strip_suffix(b"\r\n")).ok_or(InvalidHead)?;
        self.part = next(line)?;
        self.passed += end + 1;
        Ok(true)
    }

    fn refuse(&mut self) {
        self.is_refused = true;
        self.received.truncate(self.passed);
        self.received.extend_from_slice(REFUSED);
        self.receive_end();
    }
}

/// The end of the empty line after the head. Positions before `from` were searched.
fn find_end(bytes: &[u8], from: usize) -> Result<Option<usize>, InvalidHead> {
    let unsearched = bytes.get(from..).unwrap_or_default();
    for (index, pair) in unsearched.windows(2).enumerate() {
        match pair {
            b"\r\n" => {
                let at = from + index;
                if at >= 2 && bytes.get(at - 2..at) == Some(b"\r\n") {
                    return Ok(Some(at + 2));
                }
            }
            [b'\r', _] => return Err(InvalidHead),
            [before, b'\n'] if *before != b'\r' => return Err(InvalidHead),
            _ => {}
        }
    }
    if bytes.first() == Some(&b'\n') { Err(InvalidHead) } else { Ok(None) }
}

/// The size of a chunk; extensions are ignored (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, InvalidHead> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    let is_extension = matches!(extension.trim_ascii_start().first(), None | Some(b';'));
    if !is_extension || extension.contains(&b'\r') {
        return Err(InvalidHead);
    }
    let digits = str::from_utf8(digits).map_err(|_| InvalidHead)?;
    u64::from_str_radix(digits, 16).map_err(|_| InvalidHead)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// What is passed on of the bytes, received in parts of that size.
    fn passed(text: &str, size: usize) -> (String, bool) {
        let mut filter = RequestFilter::new();
        let mut passed = Vec::new();
        for part in text.as_bytes().chunks(size) {
            filter.receive(part);
            passed.extend_from_slice(filter.available());
            filter.consume(filter.available().len());
        }
        (String::from_utf8(passed).unwrap(), filter.is_refused)
    }

    #[test]
    fn requests_pass_whatever_the_size_of_the_parts() {
        let chunked = HEAD.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        let sized = HEAD.replace("\r\n\r\n", "\r\nContent-Length: 7\r\n\r\n");
        let all = format!(
            "\r\n{HEAD}{chunked}5;e=\"f\"\r\na\nb\rc\r\n1 ;x\r\n\0\r\n0\r\nT: u\r\n\r\n{sized}\n\n\r\r\n\r\n{HEAD}"
        );
        for size in [1, 2, 3, 7, 64, 10_000] {
            assert_eq!(passed(&all, size), (all.clone(), false), "{size}");
        }
    }

    #[test]
    fn nothing_passes_of_an_incomplete_head() {
        let mut filter = RequestFilter::new();
        filter.receive(&HEAD.as_bytes()[..HEAD.len() - 1]);
        assert!(filter.available().is_empty() && filter.is_within_head());
        filter.receive(b"\n");
        assert!(filter.available() == HEAD.as_bytes() && !filter.is_within_head());
    }

    #[test]
    fn invalid_bytes_and_all_that_follow_do_not_pass() {
        let chunked = HEAD.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (good, bad) in [
            (HEAD, "GET / HTTP/1.1\nHost: a\n\n"),
            (HEAD, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
            (HEAD, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (HEAD, "GET / HTTP/1.1\r\n\r\n"),
            (&chunked, "1\na\r\n0\r\n\r\n"),
            (&chunked, "-1\r\na\r\n0\r\n\r\n"),
            (&chunked, "\r\na\r\n0\r\n\r\n"),
            (&chunked, "11111111111111111\r\n"),
        ] {
            for size in [1, 2, 5, 1000] {
                let (passed, is_refused) = passed(&format!("{good}{bad}{HEAD}"), size);
                assert!(is_refused, "{bad:?} in parts of {size}");
                assert_eq!(passed, format!("{good}\0\r\n\r\n"), "{bad:?} in parts of {size}");
            }
        }
        let (passed, is_refused) = passed(&format!("{chunked}1\r\nab\r\n0\r\n\r\n"), 3);
        assert!(is_refused && passed.starts_with(&format!("{chunked}1\r\na")), "{passed:?}");
    }

    #[test]
    fn an_oversized_head_passes_unchecked() {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(MAX_HEAD));
        assert_eq!(passed(&head, 1000).0.len(), head.len());
    }
}
