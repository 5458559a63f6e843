//! Locates JSON syntax errors as Python's `json` module does: FastAPI reports the character offset in `loc`
//! and Python's message in `ctx.error`, and clients rely on both. Only used for texts that `serde_json` has
//! rejected.

/// Deeper than the recursion limit of `serde_json`, which rejects deeper texts for that reason.
const MAX_DEPTH: usize = 130;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonSyntaxError {
    pub(super) offset: usize,
    pub(super) error: &'static str,
}

/// The first syntax error; `None` if the syntax is valid and the text was rejected for another reason.
pub(super) fn locate(text: &str) -> Option<JsonSyntaxError> {
    match (Scanner { rest: text }).document() {
        Err(ScanError::Syntax { rest, error }) => {
            Some(JsonSyntaxError { offset: text.chars().count() - rest.chars().count(), error })
        }
        Ok(()) | Err(ScanError::TooDeep) => None,
    }
}

enum ScanError<'a> {
    /// `rest` is the text from the error on.
    Syntax {
        rest: &'a str,
        error: &'static str,
    },
    TooDeep,
}

type Scan<'a> = Result<(), ScanError<'a>>;

fn fail<'a>(rest: &'a str, error: &'static str) -> Scan<'a> {
    Err(ScanError::Syntax { rest, error })
}

fn skip_digits(text: &str) -> &str {
    text.trim_start_matches(|next: char| next.is_ascii_digit())
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn document(&mut self) -> Scan<'a> {
        self.skip_whitespace();
        self.value(0)?;
        self.skip_whitespace();
        if self.rest.is_empty() { Ok(()) } else { fail(self.rest, "Extra data") }
    }

    fn value(&mut self, depth: usize) -> Scan<'a> {
        if depth > MAX_DEPTH {
            return Err(ScanError::TooDeep);
        }
        match self.rest.chars().next() {
            Some('{') => self.collection('}', depth),
            Some('[') => self.collection(']', depth),
            Some('"') => self.string(),
            Some('-' | '0'..='9') => self.number(),
            _ => self.literal(),
        }
    }

    /// An object or an array.
    fn collection(&mut self, end: char, depth: usize) -> Scan<'a> {
        self.advance();
        self.skip_whitespace();
        if self.eat(end) {
            return Ok(());
        }
        loop {
            if end == '}' {
                self.name()?;
            }
            self.value(depth + 1)?;
            self.skip_whitespace();
            if self.eat(end) {
                return Ok(());
            }
            if !self.eat(',') {
                return fail(self.rest, "Expecting ',' delimiter");
            }
            self.skip_whitespace();
        }
    }

    /// The name of a member, and the colon.
    fn name(&mut self) -> Scan<'a> {
        if !self.rest.starts_with('"') {
            return fail(self.rest, "Expecting property name enclosed in double quotes");
        }
        self.string()?;
        self.skip_whitespace();
        if !self.eat(':') {
            return fail(self.rest, "Expecting ':' delimiter");
        }
        self.skip_whitespace();
        Ok(())
    }

    fn string(&mut self) -> Scan<'a> {
        let start = self.rest;
        self.advance();
        loop {
            let here = self.rest;
            match self.advance() {
                None => return fail(start, "Unterminated string starting at"),
                Some('"') => return Ok(()),
                Some('\\') => self.escape(start, here)?,
                Some('\0'..='\u{1F}') => return fail(here, "Invalid control character at"),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, start: &'a str, backslash: &'a str) -> Scan<'a> {
        let here = self.rest;
        match self.advance() {
            None => fail(start, "Unterminated string starting at"),
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => Ok(()),
            Some('u') => self.code_unit().or_else(|at| fail(at.unwrap_or(here), "Invalid \\uXXXX escape")),
            Some(_) => fail(backslash, "Invalid \\escape"),
        }
    }

    /// Four hex digits and, for a surrogate, its pair. Python accepts lone surrogates, but a Rust string
    /// cannot hold one. The error is the second escape, if that is malformed.
    fn code_unit(&mut self) -> Result<(), Option<&'a str>> {
        match self.hex().ok_or(None)? {
            0xD800..0xDC00 if self.eat('\\') => {
                let second = self.rest;
                if !self.eat('u') {
                    return Err(None);
                }
                let low = self.hex().ok_or(Some(second))?;
                if (0xDC00..0xE000).contains(&low) { Ok(()) } else { Err(None) }
            }
            0xD800..0xE000 => Err(None),
            _ => Ok(()),
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    }

    /// Reads the longest number; the caller checks what follows.
    fn number(&mut self) -> Scan<'a> {
        let start = self.rest;
        self.eat('-');
        if !self.eat('0') {
            let rest = skip_digits(self.rest);
            if rest == self.rest {
                return fail(start, "Expecting value");
            }
            self.rest = rest;
        }
        // A point or an exponent belongs to the number only if a digit follows.
        let fraction = self.rest.strip_prefix('.').unwrap_or_default();
        if fraction.starts_with(|next: char| next.is_ascii_digit()) {
            self.rest = skip_digits(fraction);
        }
        let exponent = self.rest.strip_prefix(['e', 'E']).unwrap_or_default();
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if exponent.starts_with(|next: char| next.is_ascii_digit()) {
            self.rest = skip_digits(exponent);
        }
        Ok(())
    }

    fn literal(&mut self) -> Scan<'a> {
        let rest = ["true", "false", "null"].iter().find_map(|word| self.rest.strip_prefix(word));
        let Some(rest) = rest else { return fail(self.rest, "Expecting value") };
        self.rest = rest;
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn advance(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_match_those_of_python() {
        // Measured with Python 3.11, `json.loads`.
        for (text, offset, error) in [
            ("", 0, "Expecting value"),
            (" \r\n ", 4, "Expecting value"),
            ("nope", 0, "Expecting value"),
            ("tru", 0, "Expecting value"),
            ("-", 0, "Expecting value"),
            ("[", 1, "Expecting value"),
            ("[1,", 3, "Expecting value"),
            ("[1,]", 3, "Expecting value"),
            ("\t\n[ 1 ,, 2]", 7, "Expecting value"),
            ("{\"a\":[1,{\"b\":tru}]}", 13, "Expecting value"),
            ("{\n\"a\": x}", 7, "Expecting value"),
            ("\u{B}1", 0, "Expecting value"),
            ("{", 1, "Expecting property name enclosed in double quotes"),
            ("{,}", 1, "Expecting property name enclosed in double quotes"),
            ("{'a':1}", 1, "Expecting property name enclosed in double quotes"),
            ("{\"a\":1,}", 7, "Expecting property name enclosed in double quotes"),
            ("{\"a\"", 4, "Expecting ':' delimiter"),
            ("{\"a\":1,\"b\"}", 10, "Expecting ':' delimiter"),
            ("{\"a\":1", 6, "Expecting ',' delimiter"),
            ("{\"a\":01}", 6, "Expecting ',' delimiter"),
            ("[1}", 2, "Expecting ',' delimiter"),
            ("{\"a\":1}}", 7, "Extra data"),
            ("1.", 1, "Extra data"),
            ("1e+", 1, "Extra data"),
            ("truex", 4, "Extra data"),
            ("\"abc", 0, "Unterminated string starting at"),
            ("\"a\\", 0, "Unterminated string starting at"),
            ("{\"é\":\"", 5, "Unterminated string starting at"),
            ("{\"email\":\"a\nb\"}", 11, "Invalid control character at"),
            ("{\"a\":\"\\x\"}", 6, "Invalid \\escape"),
            ("{\"a\":\"\\u12\"}", 7, "Invalid \\uXXXX escape"),
            ("\"a\\u", 3, "Invalid \\uXXXX escape"),
            ("\"\\uD83D\\uDE0\"", 8, "Invalid \\uXXXX escape"),
        ] {
            assert_eq!(locate(text), Some(JsonSyntaxError { offset, error }), "{text:?}");
        }
    }

    #[test]
    fn nan_infinity_and_lone_surrogates_are_errors() {
        assert!(locate("{\"a\":NaN}").is_some());
        assert!(locate("[-Infinity]").is_some());
        assert_eq!(locate("\"\\uD800\"").map(|error| error.offset), Some(2));
    }

    #[test]
    fn depth_and_number_size_are_not_syntax_errors() {
        assert_eq!(locate(&"[".repeat(100_000)), None);
        assert_eq!(locate("{\"a\":1e999}"), None);
    }
}
