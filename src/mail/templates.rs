//! The texts of mails: one text and one HTML template for each mail, in each language. Those that are built in are
//! replaced by files of the same name in `AEGIS_MAIL_TEMPLATES`. The first line of a text template is the subject.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use domain::{EmailAddress, Username};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::content::{Link, Mail, MailKind};
use crate::config::MailLanguage;

const SUBJECT: &str = "Subject: ";

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// The names and texts of the templates that are built in.
        const BUILT_IN: &[(&str, &str)] = &[$(
            (concat!($name, ".en.txt"), include_str!(concat!("templates/", $name, ".en.txt"))),
            (concat!($name, ".en.html"), include_str!(concat!("templates/", $name, ".en.html"))),
            (concat!($name, ".de.txt"), include_str!(concat!("templates/", $name, ".de.txt"))),
            (concat!($name, ".de.html"), include_str!(concat!("templates/", $name, ".de.html"))),
        )*];
    };
}

built_in!("verify_email", "reset_password", "invitation", "email_changed", "password_changed");

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{origin}: no first line `Subject: …`, followed by an empty line")]
    NoSubject { origin: Origin },
    #[error("{origin}, line {line}: {problem}")]
    Invalid { origin: Origin, line: usize, problem: String },
    #[error(
        "{}: not the name of a template; did you mean {closest}? The names are those of the built-in templates, such \
         as verify_email.en.txt",
        path.display()
    )]
    UnknownName { path: PathBuf, closest: &'static str },
}

/// Where a template comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    BuiltIn(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(out),
            Self::BuiltIn(name) => write!(out, "built-in template {name}"),
        }
    }
}

/// A mail in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// The templates of one language.
pub(super) struct Templates {
    environment: Environment<'static>,
    origins: BTreeMap<&'static str, Origin>,
    language: MailLanguage,
    /// The name of the service.
    service: String,
}

impl Templates {
    /// Reads the templates, and renders each once: one that is broken is found before it is needed.
    pub(super) fn load(
        folder: Option<&Path>,
        language: MailLanguage,
        service: &str,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            let is_html = Path::new(name).extension().is_some_and(|extension| extension == "html");
            if is_html { AutoEscape::Html } else { AutoEscape::None }
        });
        let mut templates =
            Self { environment, origins: BTreeMap::new(), language, service: service.to_owned() };
        if let Some(folder) = folder {
            check_names(folder)?;
        }
        for (name, built_in) in BUILT_IN {
            let replacement = folder.map(|folder| read(&folder.join(name))).transpose()?.flatten();
            let (origin, text) = match replacement {
                Some((path, text)) => (Origin::File(path), text),
                None => (Origin::BuiltIn(name), (*built_in).to_owned()),
            };
            templates.origins.insert(name, origin);
            let added = templates.environment.add_template_owned(*name, text);
            added.map_err(|error| templates.invalid(name, &error))?;
        }
        for kind in MailKind::ALL {
            templates.render(&sample(kind, Some("user")))?;
            templates.render(&sample(kind, None))?;
        }
        Ok(templates)
    }

    pub(super) fn render(&self, mail: &Mail) -> Result<Rendered, TemplateError> {
        let name = |format: &str| format!("{}.{}.{format}", mail.kind.template(), self.language.as_str());
        let (text_name, html_name) = (name("txt"), name("html"));
        let values = self.values(mail);
        let text = self.render_one(&text_name, values.clone())?;
        let (subject, text) = split_subject(&text)
            .ok_or_else(|| TemplateError::NoSubject { origin: self.origin(&text_name) })?;
        let html = self.render_one(&html_name, values)?;
        Ok(Rendered { subject, text, html })
    }

    fn values(&self, mail: &Mail) -> Value {
        let values = context! {
            service => visible(&self.service),
            // Empty, not undefined, so that templates of operators that have no condition render too.
            username => visible(mail.username.as_ref().map_or("", Username::as_str)),
            email => mail.to.as_str(),
            time => self.language.time(mail.at),
        };
        match &mail.link {
            None => values,
            Some(Link { url, expires_at }) => {
                context! { link => url.as_str(), expires_at => self.language.time(*expires_at), ..values }
            }
        }
    }

    fn render_one(&self, name: &str, values: Value) -> Result<String, TemplateError> {
        let rendered = self.environment.get_template(name).and_then(|template| template.render(values));
        rendered.map_err(|error| self.invalid(name, &error))
    }

    fn origin(&self, name: &str) -> Origin {
        self.origins.get(name).cloned().unwrap_or_else(|| Origin::File(PathBuf::from(name)))
    }

    fn invalid(&self, name: &str, error: &minijinja::Error) -> TemplateError {
        let problem = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        TemplateError::Invalid { origin: self.origin(name), line: error.line().unwrap_or(1), problem }
    }
}

impl MailLanguage {
    fn time(self, time: Timestamp) -> String {
        let format = match self {
            Self::English => "%Y-%m-%d %H:%M UTC",
            Self::German => "%d.%m.%Y %H:%M UTC",
        };
        time.to_zoned(TimeZone::UTC).strftime(format).to_string()
    }
}

/// A line without control characters.
fn visible(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// The subject and the rest of a rendered text.
fn split_subject(text: &str) -> Option<(String, String)> {
    let (first, rest) = text.split_once('\n')?;
    let subject = first.strip_prefix(SUBJECT)?.trim();
    let body = rest.trim_start_matches('\r').strip_prefix('\n')?;
    (!subject.is_empty()).then(|| (visible(subject), body.to_owned()))
}

/// A file that replaces a template, if there is one.
fn read(path: &Path) -> Result<Option<(PathBuf, String)>, TemplateError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Checks that every file that looks like a template has the name of one: a misspelt name would replace nothing.
fn check_names(folder: &Path) -> Result<(), TemplateError> {
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let looks_like_one =
            [".txt", ".html"].iter().any(|end| name.ends_with(end)) && !name.starts_with('.');
        if looks_like_one && !BUILT_IN.iter().any(|(known, _)| *known == name) {
            let names = BUILT_IN.iter().map(|(known, _)| *known);
            let closest = names.min_by_key(|known| strsim::damerau_levenshtein(known, &name));
            return Err(TemplateError::UnknownName { path, closest: closest.unwrap_or_default() });
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> TemplateError {
    TemplateError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

/// A mail with which a template is checked, with or without the username.
fn sample(kind: MailKind, username: Option<&str>) -> Mail {
    let url = "https://example.org/#token=sample".to_owned();
    Mail {
        kind,
        to: EmailAddress::from_stored("user@example.org"),
        username: username.map(Username::from_stored),
        at: Timestamp::UNIX_EPOCH,
        link: kind.purpose().map(|_| Link { url, expires_at: Timestamp::UNIX_EPOCH }),
    }
}
