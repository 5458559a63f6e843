//! Rust source as tokens: identifiers, `::` and single signs, without comments, literals and lifetimes.

/// The tokens of a file, without items under `#[cfg(test)]`.
pub(crate) fn tokens_without_tests(text: &str) -> Vec<String> {
    without_tests(&tokens(text))
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let is_test = |at: usize| {
        let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
        tokens[at..].iter().take(attribute.len()).map(String::as_str).eq(attribute)
    };
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if is_test(at) {
            at = end_of_item(tokens, at + 7);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The position after an item, a field or a variant: after its block, or its semicolon or comma outside of
/// any bracket.
fn end_of_item(tokens: &[String], begin: usize) -> usize {
    let (mut depth, mut at, mut import) = (0, begin, false);
    let mut in_item = false;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "use" => import = true,
            "fn" | "mod" | "impl" | "struct" | "enum" | "trait" | "const" | "static" | "type" => {
                in_item = true;
            }
            "(" | "[" | "{" => depth += 1,
            "}" if depth == 0 => return at,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 && !import {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            "," if depth == 0 && !in_item => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

pub(crate) fn is_identifier(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Identifiers, `::` and single signs. Comments, literals and lifetimes are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of the string, character or lifetime that the text begins with.
fn literal(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - body.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 1;
            let closed = raw[begin..].find(&end).map_or(raw.len(), |at| begin + at + end.len());
            return Some(prefix + 1 + closed);
        }
    }
    if body.starts_with('"') {
        return Some(prefix + closing(body, '"'));
    }
    if let Some(quoted) = body.strip_prefix('\'') {
        let mut signs = quoted.chars();
        let (sign, next) = (signs.next()?, signs.next());
        let character = sign == '\\' || next == Some('\'');
        return Some(prefix + if character { closing(body, '\'') } else { 1 });
    }
    None
}

/// Where a literal with escapes ends.
fn closing(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if sign == '\\' {
            escaped = true;
        } else if sign == quote {
            return at + 1;
        }
    }
    text.len()
}
