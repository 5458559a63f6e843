//! Normalises request paths before they are routed: a percent-encoded unreserved character is equivalent to the
//! character (RFC 3986 §6.2.2.2), so both reach the same route, with the same idempotency keys.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

pub(super) async fn normalize_path(mut request: Request) -> Request {
    if let Some(uri) = normalized(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// `None` if nothing changes.
fn normalized(uri: &Uri) -> Option<Uri> {
    let path = decode_unreserved(uri.path())?;
    let path_and_query = uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

fn decode_unreserved(path: &str) -> Option<String> {
    let mut pieces = path.split('%');
    let mut decoded = pieces.next()?.to_owned();
    let mut is_changed = false;
    for piece in pieces {
        match unreserved(piece) {
            Some((character, rest)) => {
                decoded.push(character);
                decoded.push_str(rest);
                is_changed = true;
            }
            None => decoded.extend(["%", piece]),
        }
    }
    is_changed.then_some(decoded)
}

/// The unreserved character (RFC 3986 §2.3) whose two hexadecimal digits `text` starts with, and the rest.
fn unreserved(text: &str) -> Option<(char, &str)> {
    let (digits, rest) = text.split_at_checked(2)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()?;
    let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    is_unreserved.then_some((char::from(byte), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_are_decoded() {
        for (given, expected) in [
            ("/users/%6De", Some("/users/me")),
            ("/users/%6de?x=%6D", Some("/users/me?x=%6D")),
            ("/%7Eada%2d%5F%2E", Some("/~ada-_.")),
            ("/users%2Fme", None),
            ("/users/%256D", None),
            ("/%", None),
            ("/%6", None),
            ("/%6g%+1", None),
            ("/%C3%A4", None),
            ("/users/me", None),
            ("http://host/users/%6De", Some("http://host/users/me")),
        ] {
            let uri = given.parse().unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!(normalized(&uri).map(|uri| uri.to_string()).as_deref(), expected, "{given}");
        }
    }
}
