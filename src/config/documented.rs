//! That docs/settings.md says what the definitions says.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::definitions::{self, DefaultValue};

/// Makes the table in docs/settings.md anew; a difference fails, here and in CI.
#[test]
fn settings_documentation_is_current() {
    const MARKS: [&str; 2] = ["<!-- settings: generated -->\n", "<!-- end -->"];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let mut table = "| name | default | meaning |\n|---|---|---|\n".to_owned();
    for setting in definitions::ALL {
        let default = match setting.fallback {
            DefaultValue::Unset => "not set".to_owned(),
            DefaultValue::Text(text) => format!("`{text}`"),
            DefaultValue::Computed(how) => how.to_owned(),
        };
        let file = setting.file_name().map(|name| format!(", `{name}`")).unwrap_or_default();
        writeln!(table, "| `{}`{file} | {default} | {} |", setting.name, setting.meaning).unwrap();
    }
    let fresh = format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1]);
    if fresh != text {
        fs::write(&path, &fresh).unwrap();
        panic!("docs/settings.md was stale and has been made anew: commit it");
    }
}
