//! `aegis config`: every setting with its value and its source.

use super::error::CliResult;
use super::output::Output;
use super::table::printable;
use crate::config::ConfigSources;
use crate::config::show::{ShownSetting, show_all};

/// Longer assignments do not widen the column of sources.
const MAX_WIDTH: usize = 60;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, sources: &ConfigSources, out: &mut Output) -> CliResult {
    let (settings, invalid) = show_all(sources);
    let lines: Vec<_> = settings.iter().map(assignment).collect();
    let widths = lines.iter().map(|line| line.chars().count()).filter(|width| *width <= MAX_WIDTH);
    let width = widths.max().unwrap_or(0);
    for (setting, line) in settings.iter().zip(lines) {
        if arguments.json {
            out.json(setting)?;
        } else {
            out.line(&format!("{line:width$}  # {}", setting.source))?;
        }
    }
    out.flush()?;
    invalid.map_or(Ok(()), |invalid| Err(invalid.into()))
}

/// The setting in the syntax of `.env`.
fn assignment(setting: &ShownSetting) -> String {
    let value = printable(setting.value.as_deref().unwrap_or_default());
    let plain =
        |character: char| !character.is_whitespace() && !matches!(character, '#' | '\'' | '"' | '\\' | '$');
    if value.chars().all(plain) {
        format!("{}={value}", setting.name)
    } else {
        format!("{}='{}'", setting.name, value.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::CliError;
    use crate::cli::tests::CapturedOutput;
    use crate::config::ConfigError;

    fn shown(json: bool, pairs: &[(&str, &str)]) -> (String, CliResult) {
        let captured = CapturedOutput::default();
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let sources = ConfigSources { environment, ..ConfigSources::default() };
        let done = run(&Arguments { json }, &sources, &mut captured.output());
        (captured.text(), done)
    }

    #[test]
    fn each_line_shows_the_source() {
        let (text, done) =
            shown(false, &[("PROJECT_NAME", "Ada's"), ("SECRET_KEY", "0123456789abcdef0123456789abcdef")]);
        done.unwrap();
        for line in
            ["ALGORITHM=HS256 ", "PROJECT_NAME='Ada\\'s' ", "SECRET_KEY=******** ", "AEGIS_CORS_ORIGINS= "]
        {
            assert!(text.contains(&format!("\n{line}")), "{line} is missing from {text}");
        }
        assert!(text.lines().all(|line| line.contains("  # ")), "{text}");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let (text, _) = shown(true, &[]);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first, serde_json::json!({"name": "MONGODB_URL", "value": null, "source": "not set"}));
    }

    #[test]
    fn errors_follow_the_settings() {
        let (text, done) = shown(false, &[("AEGIS_LISTEN", "nowhere")]);
        assert!(text.contains("AEGIS_LISTEN=nowhere"));
        let Err(CliError::Config(ConfigError::InvalidSettings(invalid))) = done else { panic!("{done:?}") };
        assert!(invalid.0.iter().any(|invalid| invalid.subject == "AEGIS_LISTEN"));
    }
}
