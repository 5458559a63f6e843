//! Checks the head of an HTTP/1 request where RFC 9112 demands a refusal and the library is lenient. Proxies
//! and servers that disagree about such a head disagree about where the next request begins (request
//! smuggling).
//!
//! The library parses the head afterwards, and refuses what is no HTTP at all.

use axum::http::uri::Authority;

/// How long the body is that follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    Known(u64),
    Chunked,
}

/// The head must be refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidHead;

#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
}

/// Checks a complete head, whose lines end in CRLF, up to and including the empty line.
pub(super) fn check(head: &[u8]) -> Result<BodyLength, InvalidHead> {
    let mut lines = Lines(head);
    let request_line = lines.next_line().ok_or(InvalidHead)?;
    let is_http_1_0 = request_line.ends_with(b" HTTP/1.0");
    let mut fields = Fields::default();
    while let Some(line) = lines.next_line().filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(InvalidHead)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        // Space before the colon, and a line that continues the previous one (RFC 9112 §5.1, §5.2).
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err(InvalidHead);
        }
        fields.add(name, value)?;
    }
    fields.body_length(is_http_1_0)
}

impl<'a> Fields<'a> {
    fn add(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), InvalidHead> {
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            return if is_host(value) { Ok(()) } else { Err(InvalidHead) };
        }
        let place = if name.eq_ignore_ascii_case(b"content-length") {
            &mut self.length
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            &mut self.coding
        } else {
            return Ok(());
        };
        // Repeated, the recipients may choose different ones.
        if place.replace(value).is_some() { Err(InvalidHead) } else { Ok(()) }
    }

    fn body_length(&self, is_http_1_0: bool) -> Result<BodyLength, InvalidHead> {
        let hosts_expected = usize::from(!is_http_1_0)..=1;
        if !hosts_expected.contains(&self.hosts) {
            return Err(InvalidHead);
        }
        match (self.length, self.coding) {
            (None, None) => Ok(BodyLength::Known(0)),
            (Some(length), None) => parse_length(length).map(BodyLength::Known),
            (None, Some(coding)) if !is_http_1_0 && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyLength::Chunked)
            }
            _ => Err(InvalidHead),
        }
    }
}

/// A host with an optional port, without user information (RFC 9110 §7.2).
fn is_host(value: &[u8]) -> bool {
    let Some(authority) = str::from_utf8(value).ok().and_then(|text| text.parse::<Authority>().ok()) else {
        return false;
    };
    let is_port_valid = match authority.as_str().strip_prefix(authority.host()) {
        Some("" | ":") => true,
        Some(_) => authority.port_u16().is_some(),
        None => false,
    };
    // A comma is allowed in a host, but rather joins two fields.
    !authority.host().is_empty() && is_port_valid && !value.iter().any(|byte| matches!(byte, b'@' | b','))
}

fn parse_length(value: &[u8]) -> Result<u64, InvalidHead> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(InvalidHead);
    }
    str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(InvalidHead)
}

/// Lines that end in CRLF.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.0.split_at_checked(end + 1)?;
        self.0 = rest;
        line.strip_suffix(b"\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(fields: &str) -> Result<BodyLength, InvalidHead> {
        check(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn body_length_follows_from_the_head() {
        assert_eq!(checked(""), Ok(BodyLength::Known(0)));
        assert_eq!(checked("content-LENGTH:  17 \r\n"), Ok(BodyLength::Known(17)));
        assert_eq!(checked("Transfer-Encoding: chunKed\r\n"), Ok(BodyLength::Chunked));
    }

    #[test]
    fn ambiguous_lengths_are_refused() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding : chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
            ": x\r\n",
            "no colon\r\n",
        ] {
            assert_eq!(checked(fields), Err(InvalidHead), "{fields:?}");
        }
    }

    #[test]
    fn hosts_are_a_name_or_an_address_with_an_optional_port() {
        for host in ["a", "a.example:80", "127.0.0.1", "[::1]", "[2001:db8::1]:8000", "a_b", "xn--p1ai", "a:"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", " ", ":80", "a b", "a,b", "a/b", "u@a", "a:b", "a:99999", "[::1", "http://a", "a?b", "\u{FC}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
