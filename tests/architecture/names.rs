//! Retired names, listed in `docs/retired-names.txt`, do not come back.

use std::collections::BTreeMap;

use crate::{files, read, relative, root};

/// What may still mention them: users know the old names.
const EXEMPT: [&str; 1] = ["CHANGELOG.md"];

/// The list: names of code match exactly, words of prose in any case.
struct RetiredNames {
    names: BTreeMap<String, String>,
    words: BTreeMap<String, String>,
}

impl RetiredNames {
    fn load() -> Self {
        let text = read(&root().join("docs/retired-names.txt"));
        let mut list = Self { names: BTreeMap::new(), words: BTreeMap::new() };
        let mut section = "";
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let (retired, replacement) = line.split_once('\t').unwrap_or((line, "another word"));
            let entries = if section == "[words]" { &mut list.words } else { &mut list.names };
            entries.insert(retired.trim().to_owned(), replacement.trim().to_owned());
        }
        list
    }

    fn replacement(&self, word: &str) -> Option<&str> {
        let found = self.names.get(word).or_else(|| self.words.get(&word.to_lowercase()));
        found.map(String::as_str)
    }
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
        for word in words(&path) {
            found.extend(
                retired.replacement(word).map(|new| format!("{path}: its name has `{word}`: use {new}")),
            );
        }
        for (line, number) in read(&file).lines().zip(1..) {
            for word in words(line) {
                found.extend(
                    retired.replacement(word).map(|new| format!("{path}:{number}: `{word}`: use {new}")),
                );
            }
        }
    }
    assert!(found.is_empty(), "{} retired names are used:\n{}", found.len(), found.join("\n"));
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
