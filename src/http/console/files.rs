//! The embedded files of the console, compressed by `build.rs`.

use std::io::Read;
use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Bytes;
use flate2::read::GzDecoder;

/// Name and content, compressed with gzip, by name.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// Names this build of all files together. Browsers may keep a file for ever under an address that contains it.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let mut context = Context::new(&SHA256);
    for (name, content) in FILES {
        context.update(name.as_bytes());
        context.update(content);
    }
    hex::encode(context.finish().as_ref().get(..8).unwrap_or_default())
});

/// A file as it is embedded.
#[derive(Clone, Copy)]
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) gzip: &'static [u8],
}

impl File {
    pub(super) fn find(name: &str) -> Option<Self> {
        let index = FILES.binary_search_by_key(&name, |(name, _)| name).ok()?;
        FILES.get(index).map(|(name, gzip)| Self { name, gzip })
    }

    /// The content without compression.
    pub(super) fn content(self) -> Result<Bytes, std::io::Error> {
        let mut content = Vec::new();
        GzDecoder::new(self.gzip).read_to_end(&mut content)?;
        Ok(content.into())
    }

    pub(super) fn content_type(self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, kind)| kind) {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        }
    }
}

pub(super) fn build() -> &'static str {
    &BUILD
}

/// The modules of the page, which it would otherwise discover one after the other.
pub(super) fn modules() -> impl Iterator<Item = &'static str> {
    FILES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| name.rsplit_once('.').is_some_and(|(_, kind)| kind == "js"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_and_decompress() {
        assert!(FILES.is_sorted_by_key(|(name, _)| *name));
        for (name, _) in FILES {
            assert!(!File::find(name).unwrap().content().unwrap().is_empty(), "{name}");
        }
        assert!(File::find("main.js").is_some() && File::find("package.json").is_none());
        assert!(modules().count() > 30);
    }

    #[test]
    fn every_module_that_is_imported_is_embedded() {
        for name in modules() {
            let content = File::find(name).unwrap().content().unwrap();
            let text = str::from_utf8(&content).unwrap();
            for import in text.split("from \"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if !import.starts_with('.') {
                    continue;
                }
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                let base = url::Url::parse(&format!("file:///{folder}/")).unwrap();
                let target = base.join(import).unwrap();
                let target = target.path().trim_start_matches('/');
                assert!(File::find(target).is_some(), "{name} imports {import}");
            }
        }
    }
}
