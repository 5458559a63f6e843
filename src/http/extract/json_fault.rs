//! Where a text stops being JSON, in the words and by the count of Python's `json` module: the place, in characters,
//! goes into `loc` and the words into `ctx.error` of FastAPI's answer, and clients have seen both. Only texts that
//! `serde_json` has refused come here.

use std::iter::Peekable;
use std::str::Chars;

/// Deeper than `serde_json` goes: what is nested further was refused for that.
const MAX_DEPTH: usize = 130;

/// What is wrong, and at which character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyntaxFault {
    pub(super) offset: usize,
    pub(super) error: &'static str,
}

/// The first fault; none if the grammar is kept, and the text was refused for something else.
pub(super) fn locate(text: &str) -> Option<SyntaxFault> {
    let mut reader = Reader { rest: text.chars().peekable(), offset: 0 };
    match reader.document() {
        Err(Stop::Fault(fault)) => Some(fault),
        Ok(()) | Err(Stop::TooDeep) => None,
    }
}

enum Stop {
    Fault(SyntaxFault),
    TooDeep,
}

fn fault<T>(offset: usize, error: &'static str) -> Result<T, Stop> {
    Err(Stop::Fault(SyntaxFault { offset, error }))
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    /// How many characters were read.
    offset: usize,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Stop> {
        self.blanks();
        self.value(0)?;
        self.blanks();
        if self.peek().is_some() { fault(self.offset, "Extra data") } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::TooDeep);
        }
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some('"') => self.string(),
            Some('-' | '0'..='9') => self.number(),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Stop> {
        self.take();
        self.blanks();
        if self.took('}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some('"') {
                return fault(self.offset, "Expecting property name enclosed in double quotes");
            }
            self.string()?;
            self.blanks();
            if !self.took(':') {
                return fault(self.offset, "Expecting ':' delimiter");
            }
            self.blanks();
            self.value(depth + 1)?;
            if self.ends_or_goes_on('}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Stop> {
        self.take();
        self.blanks();
        if self.took(']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.ends_or_goes_on(']')? {
                return Ok(());
            }
        }
    }

    /// After a member or an element: whether the end has come, else a comma.
    fn ends_or_goes_on(&mut self, end: char) -> Result<bool, Stop> {
        self.blanks();
        if self.took(end) {
            return Ok(true);
        }
        if !self.took(',') {
            return fault(self.offset, "Expecting ',' delimiter");
        }
        self.blanks();
        Ok(false)
    }

    fn string(&mut self) -> Result<(), Stop> {
        let start = self.offset;
        self.take();
        loop {
            let here = self.offset;
            match self.take() {
                None => return fault(start, "Unterminated string starting at"),
                Some('"') => return Ok(()),
                Some('\\') => self.escape(start, here)?,
                Some('\0'..='\u{1F}') => return fault(here, "Invalid control character at"),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, start: usize, backslash: usize) -> Result<(), Stop> {
        match self.take() {
            None => fault(start, "Unterminated string starting at"),
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => Ok(()),
            Some('u') => self.code_unit(backslash + 1),
            Some(_) => fault(backslash, "Invalid \\escape"),
        }
    }

    /// Four hex digits; of half a pair, the other half. Python lets a lone half pass, but no text can hold one.
    fn code_unit(&mut self, at: usize) -> Result<(), Stop> {
        const INVALID: &str = "Invalid \\uXXXX escape";
        let unit = self.hex();
        let Some(unit) = unit else { return fault(at, INVALID) };
        if (0xDC00..0xE000).contains(&unit) {
            return fault(at, INVALID);
        }
        if (0xD800..0xDC00).contains(&unit) {
            if !(self.took('\\') && self.took('u')) {
                return fault(at, INVALID);
            }
            let second = self.offset - 1;
            match self.hex() {
                None => return fault(second, INVALID),
                Some(0xDC00..0xE000) => {}
                Some(_) => return fault(at, INVALID),
            }
        }
        Ok(())
    }

    fn hex(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek()?.to_digit(16)?;
            self.take();
            unit = unit * 16 + digit;
        }
        Some(unit)
    }

    /// As much of a number as there is; what comes after is judged by what it stands in.
    fn number(&mut self) -> Result<(), Stop> {
        let start = self.offset;
        self.took('-');
        match self.peek() {
            Some('0') => {
                self.take();
            }
            Some('1'..='9') => self.digits(),
            _ => return fault(start, "Expecting value"),
        }
        // A point or an exponent counts only with a digit behind it.
        if self.peek() == Some('.') && self.digit_follows(1) {
            self.take();
            self.digits();
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            let signed = matches!(self.rest.clone().nth(1), Some('+' | '-'));
            if self.digit_follows(if signed { 2 } else { 1 }) {
                self.take();
                if signed {
                    self.take();
                }
                self.digits();
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some('0'..='9')) {
            self.take();
        }
    }

    fn digit_follows(&self, distance: usize) -> bool {
        self.rest.clone().nth(distance).is_some_and(|next| next.is_ascii_digit())
    }

    fn literal(&mut self) -> Result<(), Stop> {
        for word in ["true", "false", "null"] {
            if self.rest.clone().take(word.len()).eq(word.chars()) {
                for _ in word.chars() {
                    self.take();
                }
                return Ok(());
            }
        }
        fault(self.offset, "Expecting value")
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.take();
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.offset += 1;
        Some(next)
    }

    fn took(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.take();
        }
        there
    }
}

#[cfg(test)]
mod tests;
