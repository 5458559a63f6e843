//! The documents: paths in them exist, and the file name of a decision is its title.

use std::path::PathBuf;

use crate::{files, read, relative, root};

fn documents() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
    top.map(|file| root().join(file)).into_iter().chain(files(&root().join("docs"), &["md"])).collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    for document in documents() {
        for path in referenced_paths(&read(&document)) {
            let sibling = document.parent().expect("a folder").join(&path);
            let exists = root().join(&path).exists() || sibling.exists();
            assert!(exists, "{} refers to `{path}`, which does not exist", relative(&document));
        }
    }
}

/// Words in backticks that look like a path of this project, and the targets of relative links.
fn referenced_paths(text: &str) -> Vec<String> {
    let tops = ["src/", "crates/", "projections/", "tests/", "docs/", "examples/", ".ci/"];
    let code = text.split('`').skip(1).step_by(2).filter(|word| tops.iter().any(|top| word.starts_with(top)));
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let clean = |path: &str| path.split('#').next().unwrap_or(path).trim_end_matches('/').to_owned();
    code.filter(|word| !word.contains(['*', '{', ' ', '<', '…'])).chain(relative).map(clean).collect()
}

#[test]
fn the_file_name_of_a_decision_is_its_title() {
    for file in files(&root().join("docs/decisions"), &["md"]) {
        let text = read(&file);
        let title = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a title");
        let (number, words) = title.split_once(". ").expect("a number");
        let words =
            words.to_lowercase().replace("i/o", "io").replace([',', '\''], "").replace([' ', '-'], "-");
        let expected = format!("docs/decisions/{number:0>4}-{words}.md");
        assert_eq!(relative(&file), expected);
    }
}
