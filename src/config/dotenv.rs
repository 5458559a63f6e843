//! Parses `.env` like python-dotenv 1.x, which Pydantic and so the FastAPI service use, so that its files
//! keep their meaning: `NAME=My project` needs no quotes, and a `$` or a `\` in an unquoted secret is an
//! ordinary character. `${NAME}` and `${NAME:-default}` are replaced except within single quotes.
//!
//! `dotenvy` has another grammar: it rejects unquoted values with spaces and expands `$NAME`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A line that cannot be used, counted from 1. Its text is not repeated: it may contain a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidLine {
    pub(super) line: usize,
    pub(super) problem: LineProblem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LineProblem {
    Syntax,
    /// A reference to a secret of that name.
    RepeatsSecret(String),
}

/// Blank lines and then a comment, or a name with or without a value, to the end of its line.
const STATEMENT: &str = r#"(?xs) ^ \s* (?:
    (?: export [^\S\r\n]+ )?
    (?: '(?<quoted_name> [^'\r\n]+ )' | (?<name> [^=\#\s'] [^=\#\s]* ) )
    [^\S\r\n]*
    (?<value> = [^\S\r\n]* (?:
        '(?<single> (?: \\. | [^'\\] )* )'
        | "(?<double> (?: \\. | [^"\\] )* )"
        | (?<unquoted> [^'"\r\n] [^\r\n]* )?
    ) )?
    [^\S\r\n]*
)? (?: \# [^\r\n]* )? (?: [\r\n] | $ )"#;

/// `${NAME}` or `${NAME:-default}`.
const REFERENCE: &str = r"\$\{(?<name>[^}]*?)(?::-(?<default>[^}]*))?\}";

static STATEMENT_REGEX: LazyLock<Regex> = LazyLock::new(|| regex(STATEMENT));
static REFERENCE_REGEX: LazyLock<Regex> = LazyLock::new(|| regex(REFERENCE));

#[expect(clippy::expect_used, reason = "the patterns are constants, which the tests compile")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("valid pattern")
}

/// The names and values of a file, where later lines override earlier ones, and the lines that cannot be used.
/// `lookup` resolves references to names that no earlier line defines; secrets are never resolved.
pub(super) fn parse(
    text: &str,
    is_secret: impl Fn(&str) -> bool,
    lookup: impl Fn(&str) -> Option<String>,
) -> (BTreeMap<String, String>, Vec<InvalidLine>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut values, mut invalid, mut rest) = (BTreeMap::new(), Vec::new(), text);
    while !rest.is_empty() {
        let Some(statement) = STATEMENT_REGEX.captures(rest) else {
            let line = rest.trim_start();
            invalid.push(InvalidLine { line: line_number(text, line), problem: LineProblem::Syntax });
            rest = line.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        };
        let begun = rest.trim_start();
        rest = rest.split_at(statement.get_match().len()).1;
        let name = statement.name("quoted_name").or_else(|| statement.name("name"));
        // A name without `=` sets nothing.
        if let (Some(name), true) = (name, statement.name("value").is_some()) {
            let mut repeated = None;
            let value = value(&statement, |name| {
                if is_secret(name) {
                    repeated = Some(name.to_owned());
                    return None;
                }
                values.get(name).cloned().or_else(|| lookup(name))
            });
            if let Some(secret) = repeated {
                let problem = LineProblem::RepeatsSecret(secret);
                invalid.push(InvalidLine { line: line_number(text, begun), problem });
            }
            values.insert(name.as_str().to_owned(), value);
        }
    }
    (values, invalid)
}

/// The number of the line at which the rest of the text begins.
fn line_number(text: &str, rest: &str) -> usize {
    1 + text.bytes().take(text.len() - rest.len()).filter(|byte| *byte == b'\n').count()
}

fn value(statement: &Captures<'_>, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
    if let Some(text) = statement.name("single") {
        return unescape(text.as_str(), |escaped| matches!(escaped, '\\' | '\'').then_some(escaped));
    }
    let text = match statement.name("double") {
        Some(text) => unescape(text.as_str(), |escaped| match escaped {
            '\\' | '\'' | '"' => Some(escaped),
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            _ => None,
        }),
        None => uncommented(statement.name("unquoted").map_or("", |text| text.as_str())).to_owned(),
    };
    let replacement = |reference: &Captures<'_>| {
        let default = reference.name("default").map_or("", |default| default.as_str());
        reference.name("name").and_then(|name| lookup(name.as_str())).unwrap_or_else(|| default.to_owned())
    };
    REFERENCE_REGEX.replace_all(&text, replacement).into_owned()
}

/// An unquoted value ends before a `#` that is its first character or follows white space.
fn uncommented(text: &str) -> &str {
    let mut previous = ' ';
    let is_comment =
        |character| std::mem::replace(&mut previous, character).is_whitespace() && character == '#';
    text.find(is_comment).map_or(text, |start| text.split_at(start).0).trim_end()
}

/// Replaces escapes; one that `unescape` does not know stays as it is.
fn unescape(text: &str, unescape: impl Fn(char) -> Option<char>) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some(escaped)) => {
                characters.next();
                match unescape(escaped) {
                    Some(replacement) => out.push(replacement),
                    None => out.extend(['\\', escaped]),
                }
            }
            (other, _) => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BTreeMap<String, String> {
        let (values, bad) =
            parse(text, |name| name == "KEY", |name| (name == "HOME").then(|| "/home/ada".to_owned()));
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
            ("A=${HOME}/x ${UNSET}${UNSET:-else} ${", "/home/ada/x else ${"),
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
        let syntax = |line| InvalidLine { line, problem: LineProblem::Syntax };
        let (values, bad) = parse("A=1\n\n='x'\nB=\"two\n\nlines\"\nC='x' y\nD=2", |_| false, |_| None);
        assert_eq!(bad, [syntax(3), syntax(7)]);
        assert_eq!(values.into_keys().collect::<Vec<_>>(), ["A", "B", "D"]);
        let (values, bad) = parse("A=\"never closed\nB=1", |_| false, |_| None);
        assert_eq!((bad, values.len()), (vec![syntax(1)], 1));
    }

    #[test]
    fn secrets_are_never_interpolated() {
        let text = "KEY=s3cret\n\nNAME=\"x ${KEY}\"\nOTHER='${KEY}'\n";
        let (values, bad) = parse(text, |name| name == "KEY", |_| Some("s3cret".to_owned()));
        assert_eq!(bad, [InvalidLine { line: 3, problem: LineProblem::RepeatsSecret("KEY".to_owned()) }]);
        assert_eq!((values["NAME"].as_str(), values["OTHER"].as_str()), ("x ", "${KEY}"));
    }
}
