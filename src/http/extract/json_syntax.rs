//! Locates JSON syntax errors as Python's `json` module does: FastAPI reports the character offset in `loc`
//! and Python's message in `ctx.error`, and clients rely on both. Only used for texts that `serde_json` has
//! rejected.

use std::iter::Peekable;
use std::str::Chars;

/// Deeper than the recursion limit of `serde_json`, which rejects deeper texts for that reason.
const MAX_DEPTH: usize = 130;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonSyntaxError {
    pub(super) offset: usize,
    pub(super) error: &'static str,
}

/// The first syntax error; `None` if the syntax is valid and the text was rejected for another reason.
pub(super) fn locate(text: &str) -> Option<JsonSyntaxError> {
    let mut scanner = Scanner { rest: text.chars().peekable(), offset: 0 };
    match scanner.document() {
        Err(ScanError::Syntax(error)) => Some(error),
        Ok(()) | Err(ScanError::TooDeep) => None,
    }
}

enum ScanError {
    Syntax(JsonSyntaxError),
    TooDeep,
}

fn syntax_error<T>(offset: usize, error: &'static str) -> Result<T, ScanError> {
    Err(ScanError::Syntax(JsonSyntaxError { offset, error }))
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    /// The number of characters read.
    offset: usize,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), ScanError> {
        self.skip_whitespace();
        self.value(0)?;
        self.skip_whitespace();
        if self.peek().is_some() { syntax_error(self.offset, "Extra data") } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<(), ScanError> {
        if depth > MAX_DEPTH {
            return Err(ScanError::TooDeep);
        }
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some('"') => self.string(),
            Some('-' | '0'..='9') => self.number(),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), ScanError> {
        self.advance();
        self.skip_whitespace();
        if self.eat('}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some('"') {
                return syntax_error(self.offset, "Expecting property name enclosed in double quotes");
            }
            self.string()?;
            self.skip_whitespace();
            if !self.eat(':') {
                return syntax_error(self.offset, "Expecting ':' delimiter");
            }
            self.skip_whitespace();
            self.value(depth + 1)?;
            if self.end_or_comma('}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), ScanError> {
        self.advance();
        self.skip_whitespace();
        if self.eat(']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.end_or_comma(']')? {
                return Ok(());
            }
        }
    }

    /// After a member or an element: `true` at the end, `false` after a comma.
    fn end_or_comma(&mut self, end: char) -> Result<bool, ScanError> {
        self.skip_whitespace();
        if self.eat(end) {
            return Ok(true);
        }
        if !self.eat(',') {
            return syntax_error(self.offset, "Expecting ',' delimiter");
        }
        self.skip_whitespace();
        Ok(false)
    }

    fn string(&mut self) -> Result<(), ScanError> {
        let start = self.offset;
        self.advance();
        loop {
            let here = self.offset;
            match self.advance() {
                None => return syntax_error(start, "Unterminated string starting at"),
                Some('"') => return Ok(()),
                Some('\\') => self.escape(start, here)?,
                Some('\0'..='\u{1F}') => return syntax_error(here, "Invalid control character at"),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, start: usize, backslash: usize) -> Result<(), ScanError> {
        match self.advance() {
            None => syntax_error(start, "Unterminated string starting at"),
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => Ok(()),
            Some('u') => self.code_unit(backslash + 1),
            Some(_) => syntax_error(backslash, "Invalid \\escape"),
        }
    }

    /// Four hex digits and, for a surrogate, its pair. Python accepts lone surrogates, but a Rust string
    /// cannot hold one.
    fn code_unit(&mut self, at: usize) -> Result<(), ScanError> {
        const INVALID: &str = "Invalid \\uXXXX escape";
        let unit = self.hex();
        let Some(unit) = unit else { return syntax_error(at, INVALID) };
        if (0xDC00..0xE000).contains(&unit) {
            return syntax_error(at, INVALID);
        }
        if (0xD800..0xDC00).contains(&unit) {
            if !(self.eat('\\') && self.eat('u')) {
                return syntax_error(at, INVALID);
            }
            let second = self.offset - 1;
            match self.hex() {
                None => return syntax_error(second, INVALID),
                Some(0xDC00..0xE000) => {}
                Some(_) => return syntax_error(at, INVALID),
            }
        }
        Ok(())
    }

    fn hex(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek()?.to_digit(16)?;
            self.advance();
            unit = unit * 16 + digit;
        }
        Some(unit)
    }

    /// Reads the longest number; the caller checks what follows.
    fn number(&mut self) -> Result<(), ScanError> {
        let start = self.offset;
        self.eat('-');
        match self.peek() {
            Some('0') => {
                self.advance();
            }
            Some('1'..='9') => self.digits(),
            _ => return syntax_error(start, "Expecting value"),
        }
        // A point or an exponent belongs to the number only if a digit follows.
        if self.peek() == Some('.') && self.digit_follows(1) {
            self.advance();
            self.digits();
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            let signed = matches!(self.rest.clone().nth(1), Some('+' | '-'));
            if self.digit_follows(if signed { 2 } else { 1 }) {
                self.advance();
                if signed {
                    self.advance();
                }
                self.digits();
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some('0'..='9')) {
            self.advance();
        }
    }

    fn digit_follows(&self, distance: usize) -> bool {
        self.rest.clone().nth(distance).is_some_and(|next| next.is_ascii_digit())
    }

    fn literal(&mut self) -> Result<(), ScanError> {
        for word in ["true", "false", "null"] {
            if self.rest.clone().take(word.len()).eq(word.chars()) {
                for _ in word.chars() {
                    self.advance();
                }
                return Ok(());
            }
        }
        syntax_error(self.offset, "Expecting value")
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.advance();
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn advance(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.offset += 1;
        Some(next)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.advance();
        }
        there
    }
}

#[cfg(test)]
mod tests;
