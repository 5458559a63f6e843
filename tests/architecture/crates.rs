//! The dependencies between crates.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::root;

/// The packages of the workspace, each with the names of its direct dependencies other than those for tests.
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
        ("store", &[]),
        ("store-mongo", &["store"]),
        ("store-sqlite", &["store"]),
        ("event-codec", &["domain", "store"]),
        ("projections", &["domain", "event-codec", "store"]),
        ("aegis", &["domain", "event-codec", "projections", "store", "store-mongo", "store-sqlite"]),
        ("aegis-bench", &["aegis", "domain", "projections", "store", "testkit"]),
        ("hot-paths", &["domain", "event-codec", "projections", "store"]),
        ("testkit", &[]),
    ]);
    let packages = direct_dependencies();
    assert_eq!(
        packages.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        allowed.keys().copied().collect::<BTreeSet<_>>()
    );
    for (package, direct) in &packages {
        let workspace_crates: BTreeSet<_> =
            direct.iter().map(String::as_str).filter(|name| allowed.contains_key(name)).collect();
        assert_eq!(
            workspace_crates,
            allowed[package.as_str()].iter().copied().collect(),
            "the dependencies of `{package}` on other crates of the workspace"
        );
    }
}

/// The benchmark compares with the bare drivers, and tests inspect the databases.
#[test]
fn each_database_driver_is_used_by_one_library_crate() {
    for (driver, owner) in [("mongodb", "store-mongo"), ("bson", "store-mongo"), ("rusqlite", "store-sqlite")]
    {
        for (package, direct) in direct_dependencies() {
            let allowed = [owner, "testkit", "aegis-bench"].contains(&package.as_str());
            assert!(
                allowed || !direct.contains(driver),
                "`{package}` depends on {driver}, as only {owner} may"
            );
        }
    }
}

#[test]
fn domain_depends_on_no_io_crate() {
    let packages = direct_dependencies();
    for crate_with_io in ["tokio", "axum", "async-trait", "jiff", "tracing", "aws-lc-rs"] {
        assert!(!packages["domain"].contains(crate_with_io), "the domain depends on {crate_with_io}");
    }
}
