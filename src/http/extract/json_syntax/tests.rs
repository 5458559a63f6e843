//! Faults that Python finds, and where.

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
