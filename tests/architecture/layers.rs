//! What each folder of the service may use, as ARCHITECTURE.md promises.

use std::collections::BTreeMap;
use std::path::Path;

use crate::imports::Crate;
use crate::{relative, root};

/// Each folder (or file) of `src`, and the others that it may import.
const FOLDERS: [(&str, &[&str]); 16] = [
    ("config", &[]),
    ("crypto", &["config"]),
    ("authority", &[]),
    ("cloud_event", &[]),
    ("limits", &[]),
    ("command", &["authority"]),
    ("query", &[]),
    ("logins", &["command", "config", "limits"]),
    ("export", &["cloud_event"]),
    ("import", &["app", "command", "crypto"]),
    ("leader_job", &[]),
    ("webhooks", &["cloud_event", "command", "config", "leader_job", "limits", "query"]),
    ("mail", &["config", "crypto", "leader_job", "limits", "webhooks"]),
    ("app", &["command", "config", "crypto", "leader_job", "limits", "logins", "mail", "query", "webhooks"]),
    (
        "http",
        &[
            "app",
            "cloud_event",
            "command",
            "config",
            "crypto",
            "limits",
            "logins",
            "mail",
            "query",
            "webhooks",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "authority",
            "cloud_event",
            "command",
            "config",
            "crypto",
            "export",
            "http",
            "import",
            "query",
            "webhooks",
        ],
    ),
];

/// Libraries that belong to one concern, and the folders that may name them.
const LIBRARIES: [(&str, &[&str]); 29] = [
    ("mongodb", &[]),
    ("bson", &[]),
    ("rusqlite", &[]),
    ("store_mongo", &["app"]),
    ("store_sqlite", &["app"]),
    ("axum", &["http"]),
    ("h2", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("tower_http", &["http"]),
    ("utoipa", &["http"]),
    ("utoipa_axum", &["http"]),
    ("utoipa_swagger_ui", &["http"]),
    ("httpdate", &["http", "webhooks"]),
    ("reqwest", &["webhooks"]),
    ("lettre", &["config", "mail"]),
    ("minijinja", &["mail"]),
    ("argon2", &["crypto"]),
    ("bcrypt", &["crypto"]),
    ("scrypt", &["crypto"]),
    ("sha2", &["crypto"]),
    ("zxcvbn", &["crypto"]),
    ("rpassword", &["cli"]),
    ("governor", &["limits"]),
    ("jsonwebtoken", &["config", "crypto"]),
    ("csv", &["export", "import"]),
    ("clap", &["cli", "export"]),
    ("comfy_table", &["cli"]),
    ("indicatif", &["cli"]),
];

/// The folder of `src` that a file is in, or its own name if it is in none.
fn folder(file: &Path) -> String {
    let below = file.strip_prefix(root().join("src")).expect("a file of the service");
    let first = below.iter().next().expect("a path").to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn service() -> Crate {
    Crate::read(&root().join("src"))
}

#[test]
fn each_folder_imports_only_what_its_layer_allows() {
    let allowed = BTreeMap::from(FOLDERS);
    for (file, targets) in service().edges() {
        let from = folder(&file);
        if from == "lib" {
            continue;
        }
        let layer = allowed.get(from.as_str()).unwrap_or_else(|| panic!("src/{from} is in no layer"));
        for target in targets {
            let to = folder(&target);
            let permitted = from == to || layer.contains(&to.as_str());
            assert!(
                permitted,
                "{} imports {}: src/{from} may not use src/{to}",
                relative(&file),
                relative(&target)
            );
        }
    }
}

#[test]
fn each_library_is_named_only_where_it_belongs() {
    for (file, used) in service().libraries() {
        let folder = folder(&file);
        for (library, folders) in LIBRARIES {
            let permitted = !used.contains(library) || folders.contains(&folder.as_str());
            assert!(permitted, "{} names {library}, which src/{folder} may not", relative(&file));
        }
    }
}
