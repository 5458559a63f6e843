//! Rejects the retired names and words of `docs/retired-names.txt`.

use std::collections::BTreeMap;

use crate::{files, read, relative, root};

/// Files that may still mention them: users know the old names.
const EXEMPT: [&str; 1] = ["CHANGELOG.md"];

/// The list. Names of code match exactly. Words of prose match in lower case, capitalised or in capitals, but
/// not in names with capitals inside. A phrase of several words matches within one line.
#[derive(Default)]
struct RetiredNames {
    names: BTreeMap<String, String>,
    words: BTreeMap<String, String>,
    phrases: BTreeMap<Vec<String>, String>,
}

impl RetiredNames {
    fn load() -> Self {
        Self::parse(&read(&root().join("docs/retired-names.txt")))
    }

    fn parse(text: &str) -> Self {
        let (mut list, mut section) = (Self::default(), "");
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let (retired, replacement) = line.split_once('\t').unwrap_or((line, "another word"));
            let (retired, replacement) = (retired.trim(), replacement.trim().to_owned());
            if section != "[words]" {
                list.names.insert(retired.to_owned(), replacement);
            } else if retired.contains(' ') {
                let phrase = retired.split(' ').map(ToOwned::to_owned).collect();
                list.phrases.insert(phrase, replacement);
            } else {
                list.words.insert(retired.to_owned(), replacement);
            }
        }
        list
    }

    /// The retired names, words and phrases in a line, each with its replacement.
    fn find(&self, line: &str) -> Vec<(String, &str)> {
        let words: Vec<_> = words(line).collect();
        let prose: Vec<_> = words.iter().map(|word| prose_form(word)).collect();
        let single = words.iter().zip(&prose).filter_map(|(word, prose)| {
            let new = self.names.get(*word).or_else(|| self.words.get(prose.as_deref()?))?;
            Some(((*word).to_owned(), new.as_str()))
        });
        let phrases = self.phrases.iter().filter(|(phrase, _)| {
            let is_phrase =
                |words: &[Option<String>]| words.iter().zip(*phrase).all(|(a, b)| a.as_ref() == Some(b));
            prose.windows(phrase.len()).any(is_phrase)
        });
        single.chain(phrases.map(|(phrase, new)| (phrase.join(" "), new.as_str()))).collect()
    }
}

/// A word of prose in lower case; `None` for names with capitals inside.
fn prose_form(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    let is_prose = word == word.to_uppercase() || word.chars().skip(1).eq(lower.chars().skip(1));
    is_prose.then_some(lower)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !sign.is_alphanumeric() && sign != '_').filter(|word| !word.is_empty())
}

#[test]
fn retired_names_stay_retired() {
    let retired = RetiredNames::load();
    let mut found = Vec::new();
    for file in project_files() {
        let path = relative(&file);
        for (old, new) in retired.find(&path) {
            found.push(format!("{path}: its name has `{old}`: use {new}"));
        }
        for (line, number) in read(&file).lines().zip(1..) {
            for (old, new) in retired.find(line) {
                found.push(format!("{path}:{number}: `{old}`: use {new}"));
            }
        }
    }
    assert!(found.is_empty(), "{} retired names are used:\n{}", found.len(), found.join("\n"));
}

#[test]
fn names_words_and_phrases_are_found() {
    let list = "# comment\n[names]\nOldName\tNewName\n\n[words]\noldword\tnew\nold phrase\tnew phrase\n";
    let retired = RetiredNames::parse(list);
    let found = |line| retired.find(line).into_iter().map(|(old, _)| old).collect::<Vec<_>>();
    assert_eq!(retired.find("let x = OldName::new();"), [("OldName".to_owned(), "NewName")]);
    assert_eq!(found("Oldword's key, OLDWORD and oldword@example.com"), ["Oldword", "OLDWORD", "oldword"]);
    assert_eq!(found("an Old phrase."), ["old phrase"]);
    for clean in ["oldname", "OldWord", "oldword_else", "old, not a phrase", "comment"] {
        assert_eq!(found(clean), Vec::<String>::new(), "{clean}");
    }
}

/// All source files and documents of the project.
fn project_files() -> Vec<std::path::PathBuf> {
    let extensions = ["rs", "md", "py", "toml"];
    let folders = ["src", "crates", "projections", "tests", "examples", "docs"];
    let mut found: Vec<_> =
        folders.iter().flat_map(|folder| files(&root().join(folder), &extensions)).collect();
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    found.extend(top.filter(|path| {
        path.is_file()
            && path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
    }));
    found.retain(|file| !EXEMPT.contains(&relative(file).as_str()));
    found
}
