//! Reads `.env` as the predecessor did (the grammar of python-dotenv 1.x, which Pydantic uses), so that its files keep
//! their meaning: `NAME=My project` needs no quotes, and a `$` or a `\` in an unquoted secret is just a character.
//! `${NAME}` and `${NAME:-default}` are replaced except within single quotes.

use std::collections::BTreeMap;

/// A line that cannot be read, by its number from 1. What it says is not repeated: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidLine(pub(super) usize);

/// The names and values of a file, later lines over earlier ones, and the lines that cannot be read.
/// `lookup` gives what `${NAME}` stands for if the file has not said so before.
pub(super) fn parse(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> (BTreeMap<String, String>, Vec<InvalidLine>) {
    let mut values = BTreeMap::new();
    let mut bad = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut cursor = Cursor { rest: text, line: 1 };
    while !cursor.rest.is_empty() {
        let start = cursor;
        match statement(&mut cursor) {
            Some(Statement::Blank) => {}
            Some(Statement::Assignment { name, value: Raw { text, literal } }) => {
                let known = |name: &str| values.get(name).cloned().or_else(|| lookup(name));
                let value = if literal { text } else { interpolate(&text, known) };
                values.insert(name, value);
            }
            None => {
                cursor = start;
                bad.push(InvalidLine(cursor.first_line_of_statement()));
                cursor.skip_line();
            }
        }
    }
    (values, bad)
}

#[derive(Clone, Copy)]
struct Cursor<'a> {
    rest: &'a str,
    line: usize,
}

enum Statement {
    Blank,
    Assignment { name: String, value: Raw },
}

/// A value before `${…}` is replaced.
struct Raw {
    text: String,
    literal: bool,
}

impl<'a> Cursor<'a> {
    /// Takes as many characters as fit.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !fits(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn accept(&mut self, prefix: &str) -> bool {
        let stripped = self.rest.strip_prefix(prefix);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next()?;
        self.rest = characters.as_str();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn skip_blanks(&mut self) {
        self.take_while(|character| character.is_whitespace() && !is_end(character));
    }

    /// Goes over blank lines; gives the number of the line that something stands on.
    fn first_line_of_statement(&mut self) -> usize {
        self.take_while(char::is_whitespace);
        self.line
    }

    /// To the start of the next line.
    fn skip_line(&mut self) {
        self.take_while(|character| character != '\n');
        self.next();
    }
}

fn is_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}

fn statement(cursor: &mut Cursor<'_>) -> Option<Statement> {
    cursor.take_while(char::is_whitespace);
    if cursor.rest.is_empty() || cursor.rest.starts_with('#') {
        cursor.skip_line();
        return Some(Statement::Blank);
    }
    let exported = cursor.rest.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    if let Some(rest) = exported {
        cursor.rest = rest;
        cursor.skip_blanks();
    }
    let name = if cursor.accept("'") {
        let name = cursor.take_while(|character| character != '\'' && !is_end(character));
        cursor.accept("'").then_some(name)?
    } else {
        cursor.take_while(|character| !character.is_whitespace() && !matches!(character, '=' | '#'))
    };
    if name.is_empty() {
        return None;
    }
    cursor.skip_blanks();
    let given = cursor.accept("=");
    let value = if given {
        cursor.skip_blanks();
        value(cursor)?
    } else {
        Raw { text: String::new(), literal: true }
    };
    cursor.skip_blanks();
    if cursor.rest.starts_with('#') {
        cursor.take_while(|character| !is_end(character));
    }
    let ended = cursor.rest.is_empty() || cursor.rest.starts_with(is_end);
    // A name without `=` sets nothing, there as here.
    ended.then(
        || if given { Statement::Assignment { name: name.to_owned(), value } } else { Statement::Blank },
    )
}

fn value(cursor: &mut Cursor<'_>) -> Option<Raw> {
    if cursor.accept("'") {
        return quoted(cursor, '\'', |escaped| matches!(escaped, '\\' | '\'').then_some(escaped));
    }
    if cursor.accept("\"") {
        return quoted(cursor, '"', |escaped| match escaped {
            '\\' | '\'' | '"' => Some(escaped),
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            _ => None,
        });
    }
    let line = cursor.take_while(|character| !is_end(character));
    let comment = line
        .char_indices()
        .zip(line.chars().skip(1))
        .find_map(|((start, before), hash)| (before.is_whitespace() && hash == '#').then_some(start));
    let uncommented =
        if line.starts_with('#') { "" } else { comment.map_or(line, |start| line.split_at(start).0) };
    Some(Raw { text: uncommented.trim_end().to_owned(), literal: false })
}

/// The rest of a quoted value, which may go over several lines; an escape that means nothing stays as it is.
fn quoted(cursor: &mut Cursor<'_>, quote: char, unescape: impl Fn(char) -> Option<char>) -> Option<Raw> {
    let mut text = String::new();
    loop {
        match cursor.next()? {
            '\\' => {
                let escaped = cursor.next()?;
                match unescape(escaped) {
                    Some(meant) => text.push(meant),
                    None => text.extend(['\\', escaped]),
                }
            }
            end if end == quote => return Some(Raw { text, literal: quote == '\'' }),
            other => text.push(other),
        }
    }
}

fn interpolate(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once("${") {
        let Some((inside, after)) = reference.split_once('}') else { break };
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        out.push_str(before);
        out.push_str(&known(name).unwrap_or_else(|| default.to_owned()));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BTreeMap<String, String> {
        let (values, bad) = parse(text, |name| (name == "HOME").then(|| "/home/ada".to_owned()));
        assert_eq!(bad, [], "{text}");
        values
    }

    #[test]
    fn values_are_parsed_like_python_dotenv() {
        for (line, value) in [
            ("A=b", "b"),
            ("  export A = b  ", "b"),
            ("A=My project # a comment", "My project"),
            ("A=p#a$$w\\rd", "p#a$$w\\rd"),
            ("A=", ""),
            ("A= # nothing", ""),
            ("A='a \\'b\\' $c ${HOME}' # c", "a 'b' $c ${HOME}"),
            ("A=\"a\\n\\\"b\\\" \\d ${HOME}\"", "a\n\"b\" \\d /home/ada"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=${HOME}/x ${NOBODY}${NOBODY:-else} ${", "/home/ada/x else ${"),
            ("\u{feff}A=b\r\n", "b"),
            ("'A'=b", "b"),
            ("A=a\nA=b", "b"),
        ] {
            assert_eq!(read(line).get("A").map(String::as_str), Some(value), "{line}");
        }
    }

    #[test]
    fn earlier_lines_are_interpolated() {
        assert_eq!(read("A=x\nB=${A}y")["B"], "xy");
    }

    #[test]
    fn comments_blank_lines_and_bare_names_are_skipped() {
        assert!(read("# A=b\n\n   \nA\nexport B\n").is_empty());
    }

    #[test]
    fn invalid_line_is_reported_by_number() {
        let (values, bad) = parse("A=1\n\n='x'\nB=\"two\n\nlines\"\nC='x' y\nD=2", |_| None);
        assert_eq!(bad, [InvalidLine(3), InvalidLine(7)]);
        assert_eq!(values.into_keys().collect::<Vec<_>>(), ["A", "B", "D"]);
        let (values, bad) = parse("A=\"never closed\nB=1", |_| None);
        assert_eq!((bad, values.len()), (vec![InvalidLine(1)], 1));
    }
}
