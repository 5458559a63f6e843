//! Finds import cycles between the files of one crate.
//!
//! The source is read as tokens, not compiled. What counts: `use` declarations and inline paths that begin
//! with `crate`, `self`, `super` or a child module, outside of test code, each followed through re-exports to
//! the file that defines the item. What does not count: `mod` declarations, and re-exports whose name the
//! file does not use itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::tokens::{is_identifier, tokens_without_tests};
use crate::{read, relative, source_folders};

/// Segments below the crate root: `["commit_planner", "plan"]`, empty for the root itself.
type ModulePath = Vec<String>;

/// One `use` declaration, flattened.
#[derive(Debug)]
struct Import {
    segments: Vec<String>,
    /// The name that it brings into scope; `None` for a glob.
    name: Option<String>,
    public: bool,
}

#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths of more than one segment in code other than imports.
    paths: Vec<Vec<String>>,
    /// Every identifier in code other than imports.
    identifiers: BTreeSet<String>,
    definitions: BTreeSet<String>,
}

/// The files of one crate and what they import.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads a crate from its `src` folder, beginning with `lib.rs`, or with `main.rs` if there is no
    /// library.
    pub(crate) fn read(src: &Path) -> Self {
        let mut read = Self::default();
        let root = ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().find(|file| file.exists());
        read.add(Vec::new(), &root.expect("a crate has a root"), src);
        read
    }

    fn add(&mut self, path: ModulePath, file: &Path, folder: &Path) {
        let module = Module::parse(file, &tokens_without_tests(&read(file)));
        for child in &module.children {
            let flat = folder.join(format!("{child}.rs"));
            let nested = folder.join(child).join("mod.rs");
            let file = if flat.exists() { flat } else { nested };
            self.add([&path[..], std::slice::from_ref(child)].concat(), &file, &folder.join(child));
        }
        self.modules.insert(path, module);
    }

    /// Groups of files that import each other in a circle, each in the order of one shortest cycle.
    pub(crate) fn cycles(&self) -> Vec<Vec<PathBuf>> {
        let edges = self.edges();
        let mut left: BTreeSet<_> = edges.keys().cloned().collect();
        let mut cycles = Vec::new();
        while let Some(file) = left.pop_first() {
            let reachable = reachable(&edges, &file);
            if !reachable.contains(&file) {
                continue;
            }
            for member in &reachable {
                if self::reachable(&edges, member).contains(&file) {
                    left.remove(member);
                }
            }
            cycles.push(shortest_cycle(&edges, &file));
        }
        cycles
    }

    /// Which file imports which.
    pub(crate) fn edges(&self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        let mut edges = BTreeMap::new();
        for (path, module) in &self.modules {
            let imported = module.imports.iter().filter(|import| {
                let reexport = import.public && !module.children.is_empty();
                !reexport || import.name.as_ref().is_some_and(|name| module.identifiers.contains(name))
            });
            let targets = imported
                .map(|import| &import.segments)
                .chain(&module.paths)
                .filter_map(|segments| self.absolute(path, segments))
                .map(|target| self.defining_file(&target, 0))
                .filter(|target| *target != module.file)
                .collect();
            edges.insert(module.file.clone(), targets);
        }
        edges
    }

    /// The first segment of every path that leads out of each file: names of libraries, among others.
    pub(crate) fn libraries(&self) -> BTreeMap<PathBuf, BTreeSet<String>> {
        let first = |segments: &Vec<String>| segments.first().cloned();
        self.modules
            .values()
            .map(|module| {
                let imported = module.imports.iter().map(|import| &import.segments);
                (module.file.clone(), imported.chain(&module.paths).filter_map(first).collect())
            })
            .collect()
    }

    /// A path as written in a module, from the root of the crate; `None` if it leads to another crate.
    fn absolute(&self, module: &[String], segments: &[String]) -> Option<Vec<String>> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let (mut base, mut rest) = (module, segments);
                while rest.first().is_some_and(|segment| segment == "super") {
                    base = base.split_last().map_or(&[][..], |(_, base)| base);
                    rest = &rest[1..];
                }
                Some([base, rest].concat())
            }
            child if self.modules[module].children.contains(child) => Some([module, segments].concat()),
            _ => None,
        }
    }

    /// The file that defines the item at a path, found through re-exports.
    fn defining_file(&self, target: &[String], depth: usize) -> PathBuf {
        let known = (0..=target.len()).rev().find(|length| self.modules.contains_key(&target[..*length]));
        let (path, rest) = target.split_at(known.expect("the root is always known"));
        let module = &self.modules[path];
        let Some(name) = rest.first().filter(|name| !module.definitions.contains(*name) && depth < 8) else {
            return module.file.clone();
        };
        for import in &module.imports {
            let Some(absolute) = self.absolute(path, &import.segments) else { continue };
            match &import.name {
                Some(imported) if imported == name => {
                    return self.defining_file(&[&absolute[..], &rest[1..]].concat(), depth + 1);
                }
                None => {
                    let source = self.modules.get(&absolute);
                    if source.is_some_and(|source| source.definitions.contains(name)) {
                        return self.defining_file(&[&absolute[..], rest].concat(), depth + 1);
                    }
                }
                Some(_) => {}
            }
        }
        module.file.clone()
    }
}

impl Module {
    fn parse(file: &Path, tokens: &[String]) -> Self {
        let mut module = Self { file: file.to_owned(), ..Self::default() };
        let mut at = 0;
        while at < tokens.len() {
            let token = tokens[at].as_str();
            let next = tokens.get(at + 1).map_or("", String::as_str);
            let after = tokens.get(at + 2).map_or("", String::as_str);
            if token == "mod" && after == ";" {
                module.children.insert(next.to_owned());
                at += 3;
            } else if token == "use" && next != "<" {
                let end = at + tokens[at..].iter().position(|token| token == ";").expect("a use ends");
                let public = is_public(&tokens[..at]);
                flatten(&tokens[at + 1..end], &[], public, &mut module.imports);
                at = end + 1;
            } else if is_identifier(token) {
                let mut segments = vec![token.to_owned()];
                while tokens.get(at + 1).is_some_and(|token| token == "::")
                    && tokens.get(at + 2).is_some_and(|token| is_identifier(token))
                {
                    segments.push(tokens[at + 2].clone());
                    at += 2;
                }
                if ITEMS.contains(&token) && is_identifier(next) {
                    module.definitions.insert(next.to_owned());
                }
                if segments.len() > 1 {
                    module.paths.push(segments.clone());
                }
                module.identifiers.extend(segments);
                at += 1;
            } else {
                at += 1;
            }
        }
        module
    }
}

/// Keywords that a definition's name follows.
const ITEMS: [&str; 9] = ["struct", "enum", "union", "trait", "fn", "type", "const", "static", "macro_rules"];

/// Whether the tokens before a `use` end with a visibility.
fn is_public(before: &[String]) -> bool {
    let mut before = before.iter().rev().map(String::as_str);
    match before.next() {
        Some("pub") => true,
        Some(")") => before.find(|token| *token == "(").and_then(|_| before.next()) == Some("pub"),
        _ => false,
    }
}

/// Takes a use tree apart: `a::{b, c::d as e, f::*}`.
fn flatten(tree: &[String], prefix: &[String], public: bool, imports: &mut Vec<Import>) {
    let mut segments = prefix.to_vec();
    let mut name = None;
    let mut at = 0;
    while at < tree.len() {
        match tree[at].as_str() {
            "{" => {
                let inner = &tree[at + 1..tree.len() - 1];
                for branch in split_at_commas(inner) {
                    flatten(branch, &segments, public, imports);
                }
                return;
            }
            "*" => {
                imports.push(Import { segments, name: None, public });
                return;
            }
            "as" => {
                name = tree.get(at + 1).cloned();
                at += 1;
            }
            "::" => {}
            "self" if !segments.is_empty() => {}
            segment => segments.push(segment.to_owned()),
        }
        at += 1;
    }
    if let Some(last) = segments.last().cloned() {
        imports.push(Import { name: Some(name.unwrap_or(last)), segments, public });
    }
}

fn split_at_commas(tokens: &[String]) -> Vec<&[String]> {
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&tokens[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[begin..]);
    parts
}

fn reachable(edges: &BTreeMap<PathBuf, BTreeSet<PathBuf>>, from: &PathBuf) -> BTreeSet<PathBuf> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for target in edges.get(file).into_iter().flatten() {
            if found.insert(target.clone()) {
                open.push(target);
            }
        }
    }
    found
}

fn shortest_cycle(edges: &BTreeMap<PathBuf, BTreeSet<PathBuf>>, from: &PathBuf) -> Vec<PathBuf> {
    let mut open = VecDeque::from([vec![from.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = open.pop_front() {
        for target in edges.get(&path[path.len() - 1]).into_iter().flatten() {
            if target == from {
                return path;
            }
            if seen.insert(target.clone()) {
                open.push_back([&path[..], std::slice::from_ref(target)].concat());
            }
        }
    }
    Vec::new()
}

#[test]
fn no_two_files_import_each_other() {
    let mut found = Vec::new();
    for folder in source_folders() {
        for cycle in Crate::read(&folder).cycles() {
            let files: Vec<_> = cycle.iter().chain(cycle.first()).map(|file| relative(file)).collect();
            found.push(files.join("\n    imports "));
        }
    }
    assert!(found.is_empty(), "{} import cycles:\n\n{}", found.len(), found.join("\n\n"));
}
