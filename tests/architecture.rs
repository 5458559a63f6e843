//! What the layout promises, checked: the arrows between crates, what each layer may name, and that every path in the
//! documents exists.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The packages of the workspace, each with the names of its direct dependencies other than for tests.
fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let direct = |package: &Value| {
        let all = package["dependencies"].as_array().expect("a list").clone();
        let ordinary = all.into_iter().filter(|dependency| dependency["kind"].is_null());
        ordinary.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect()
    };
    packages
        .iter()
        .map(|package| (package["name"].as_str().expect("a name").to_owned(), direct(package)))
        .collect()
}

#[test]
fn crate_dependencies_point_down_only() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("domain", &[][..]),
        ("event-codec", &["domain", "store"]),
        ("store", &[]),
        ("store-mongo", &["store"]),
        ("store-sqlite", &["store"]),
        ("projections", &["domain", "event-codec", "store"]),
        ("aegis", &["domain", "event-codec", "projections", "store", "store-mongo", "store-sqlite"]),
        ("testkit", &[]),
    ]);
    let packages = direct_dependencies();
    assert_eq!(
        packages.keys().map(String::as_str).collect::<Vec<_>>(),
        allowed.keys().copied().collect::<Vec<_>>()
    );
    for (package, direct) in &packages {
        let workspace_crates: BTreeSet<_> =
            direct.iter().map(String::as_str).filter(|name| allowed.contains_key(name)).collect();
        assert_eq!(
            workspace_crates,
            allowed[package.as_str()].iter().copied().collect(),
            "the arrows of `{package}`"
        );
    }
}

#[test]
fn each_database_driver_is_used_by_one_crate() {
    for (driver, owner) in [("mongodb", "store-mongo"), ("bson", "store-mongo"), ("rusqlite", "store-sqlite")]
    {
        for (package, direct) in direct_dependencies() {
            // The service itself may, for its benchmark alone: see below.
            let may = [owner, "testkit", "aegis"].contains(&package.as_str());
            assert!(may || !direct.contains(driver), "`{package}` names {driver}, which is {owner}'s");
        }
    }
}

/// A figure of `aegis bench` is judged by what the bare driver does, so the benchmark has to name it. Nothing else of
/// the service may.
#[test]
fn only_the_benchmark_uses_a_driver_directly() {
    let benchmark = root().join("src/bench");
    for file in rust_files(&root().join("src")).iter().filter(|file| !file.starts_with(&benchmark)) {
        let text = fs::read_to_string(file).expect("a source file");
        for driver in ["mongodb::", "bson::", "rusqlite::"] {
            assert!(!text.contains(driver), "{} names a driver: `{driver}`", file.display());
        }
    }
}

#[test]
fn domain_depends_on_no_io_crate() {
    for (package, direct) in direct_dependencies() {
        if package == "domain" {
            for impure in ["tokio", "axum", "async-trait", "jiff", "tracing", "aws-lc-rs"] {
                assert!(!direct.contains(impure), "the domain depends on {impure}");
            }
        }
    }
}

/// What a folder of the service must not mention, so that each layer keeps to its own business.
#[test]
fn service_layers_respect_their_boundaries() {
    let rules: [(&str, &[&str]); 5] = [
        (
            "src/command",
            &["axum", "crate::http", "crate::cli", "crate::query", "store_mongo", "store_sqlite"],
        ),
        (
            "src/query",
            &["axum", "crate::http", "crate::cli", "crate::command", "store_mongo", "store_sqlite"],
        ),
        ("src/http", &["store_mongo", "store_sqlite", "crate::cli", "crate::config::load"]),
        ("src/cli", &["axum", "store_mongo", "store_sqlite"]),
        ("src/bench", &["store_mongo", "store_sqlite", "crate::cli"]),
    ];
    for (folder, banned) in rules {
        for file in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&file).expect("a source file");
            for word in banned {
                assert!(!text.contains(word), "{} mentions `{word}`", file.display());
            }
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut documents = vec!["README.md".into(), "ARCHITECTURE.md".into(), "CHANGELOG.md".into()];
    documents.extend(markdown_files(&root().join("docs")));
    for document in documents {
        let document: PathBuf = root().join(document);
        let text =
            fs::read_to_string(&document).unwrap_or_else(|error| panic!("{}: {error}", document.display()));
        for path in referenced_paths(&text) {
            let beside = document.parent().expect("a folder").join(&path);
            assert!(root().join(&path).exists() || beside.exists(), "{} names `{path}`", document.display());
        }
    }
}

fn markdown_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("the folder exists").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut found: Vec<_> =
        files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    found.extend(folders.iter().flat_map(|folder| markdown_files(folder)));
    found
}

/// Words in backticks that look like a path of this project, and the targets of relative links.
fn referenced_paths(text: &str) -> Vec<String> {
    let tops = ["src/", "crates/", "projections/", "tests/", "docs/", ".ci/"];
    let code = text.split('`').skip(1).step_by(2).filter(|word| tops.iter().any(|top| word.starts_with(top)));
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let clean = |path: &str| path.split('#').next().unwrap_or(path).trim_end_matches('/').to_owned();
    code.filter(|word| !word.contains(['*', '{', ' ', '<', '…'])).chain(relative).map(clean).collect()
}
