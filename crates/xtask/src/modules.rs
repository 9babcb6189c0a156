//! Which modules of a crate name which others, read from its sources.
//!
//! A path in code counts as a use of the module that it leads to, the longest part of it that is
//! one; a name that a module re-exports counts as a use of where it is from. What stands in
//! `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};
use syn::visit::Visit;

/// The path of a module within its crate: empty for the root.
type Module = Vec<String>;

/// The modules of a crate, each with those that it uses.
pub type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The graph of the crate whose sources are in `folder`.
pub fn graph(folder: &Path) -> Result<Graph, String> {
    let mut files = BTreeMap::new();
    collect(folder, &[], &mut files)?;
    Ok(graph_of(&files))
}

fn graph_of(files: &BTreeMap<Module, syn::File>) -> Graph {
    let exports: BTreeMap<_, _> =
        files.iter().map(|(name, file)| (name.clone(), exports(file))).collect();
    let known = Known { modules: files.keys().cloned().collect(), exports };
    let uses = |(name, file): (&Module, &syn::File)| {
        let mut paths = Paths::default();
        paths.visit_file(file);
        let used =
            paths.0.iter().filter_map(|path| known.resolve(name, path)).filter(|used| used != name);
        (name.clone(), used.collect())
    };
    files.iter().map(uses).collect()
}

/// Groups of modules that use each other, directly or by way of others.
pub fn cycles(graph: &Graph) -> Vec<Vec<Module>> {
    let reached: BTreeMap<_, _> =
        graph.keys().map(|module| (module, reachable(graph, module))).collect();
    let mut cycles: Vec<Vec<Module>> = Vec::new();
    for module in graph.keys().filter(|module| reached[module].contains(*module)) {
        if cycles.iter().flatten().all(|other| other != module) {
            let both = |other: &&Module| {
                reached[module].contains(*other) && reached[*other].contains(module)
            };
            cycles.push(graph.keys().filter(both).cloned().collect());
        }
    }
    cycles
}

fn reachable(graph: &Graph, from: &Module) -> BTreeSet<Module> {
    let (mut reached, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(module) = todo.pop() {
        for used in graph.get(module).into_iter().flatten() {
            if reached.insert(used.clone()) {
                todo.push(used);
            }
        }
    }
    reached
}

fn collect(
    folder: &Path,
    module: &[String],
    files: &mut BTreeMap<Module, syn::File>,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if path.is_dir() {
            collect(&path, &[module, &[stem.to_string()]].concat(), files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            let text = fs::read_to_string(&path).map_err(failed)?;
            let file =
                syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            let own = if matches!(stem, "mod" | "lib" | "main") {
                vec![]
            } else {
                vec![stem.to_string()]
            };
            files.insert([module, &own].concat(), file);
        }
    }
    Ok(())
}

/// The names that a module re-exports, with their paths.
fn exports(file: &syn::File) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::new();
    for item in &file.items {
        if let syn::Item::Use(item) = item {
            if !matches!(item.vis, syn::Visibility::Inherited) {
                flatten(&item.tree, vec![], &mut |path, name| {
                    names.insert(name, path);
                });
            }
        }
    }
    names
}

/// Calls `f` with each path of a tree of `use`, and the name that it gets.
fn flatten(tree: &syn::UseTree, mut path: Vec<String>, f: &mut dyn FnMut(Vec<String>, String)) {
    let named = |mut path: Vec<String>, ident: &syn::Ident| {
        if ident != "self" {
            path.push(ident.to_string());
        }
        path
    };
    match tree {
        syn::UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            flatten(&inner.tree, path, f);
        }
        syn::UseTree::Name(name) => {
            let path = named(path, &name.ident);
            let last = path.last().cloned().unwrap_or_default();
            f(path, last);
        }
        syn::UseTree::Rename(name) => f(named(path, &name.ident), name.rename.to_string()),
        syn::UseTree::Glob(_) => f(path, "*".into()),
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, path.clone(), f))
        }
    }
}

/// The paths that a module names, but for those that it only re-exports.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let test = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    };
    attributes.iter().any(test)
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if is_test(&item.attrs) || !matches!(item.vis, syn::Visibility::Inherited) {
            return;
        }
        flatten(&item.tree, vec![], &mut |path, _| self.0.push(path));
    }

    /// `pub(super)` is no use of it.
    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        // paths in the arguments of a macro
        let text = call.tokens.to_string().replace(" :: ", "::");
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let paths =
            words.filter(|word| word.contains("::")).map(|word| word.trim_matches(':').split("::"));
        self.0.extend(paths.map(|parts| parts.map(String::from).collect::<Vec<_>>()));
        syn::visit::visit_macro(self, call);
    }
}

struct Known {
    modules: BTreeSet<Module>,
    exports: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Known {
    /// The module that a path in `from` leads to, if it is one of the crate.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let (mut module, mut rest) = match first.as_str() {
            "crate" => (vec![], rest),
            "self" => (from.clone(), rest),
            "super" => (from[..from.len().checked_sub(1)?].to_vec(), rest),
            name if self.modules.contains(&[from.as_slice(), &[name.to_string()]].concat()) => {
                (from.clone(), path)
            }
            _ => return None,
        };
        while let Some((name, later)) = rest.split_first() {
            if name == "super" {
                module.pop()?;
                rest = later;
                continue;
            }
            let child = [module.as_slice(), std::slice::from_ref(name)].concat();
            if self.modules.contains(&child) {
                (module, rest) = (child, later);
                continue;
            }
            // a name that is from elsewhere
            let target = self.exports.get(&module).and_then(|names| names.get(name));
            return match target {
                Some(target) if target.first() != Some(name) || target.len() > 1 => {
                    self.resolve(&module, &[target.as_slice(), later].concat())
                }
                _ => Some(module),
            };
        }
        Some(module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str) -> Module {
        path.split("::").map(String::from).collect()
    }

    #[test]
    fn no_crate_has_modules_that_use_each_other() {
        let mut found = Vec::new();
        for entry in fs::read_dir(crate::root().join("crates")).unwrap() {
            let folder = entry.unwrap().path().join("src");
            let graph = graph(&folder).unwrap();
            for cycle in cycles(&graph) {
                for module in &cycle {
                    let used = graph[module]
                        .iter()
                        .filter(|used| cycle.contains(used))
                        .map(|used| used.join("::"));
                    let used: Vec<_> = used.collect();
                    found.push(format!(
                        "{}: {} uses {}",
                        folder.display(),
                        module.join("::"),
                        used.join(", ")
                    ));
                }
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn candle_is_named_in_the_kernels_alone() {
        let mut found = Vec::new();
        let mut todo = vec![crate::root().join("crates"), crate::root().join("bench")];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                // this file has the names in its texts
                if path.is_dir() && !["kernels", "node_modules", "results"].contains(&name.as_str())
                {
                    todo.push(path);
                } else if (name.ends_with(".rs") && name != "modules.rs") || name == "Cargo.toml" {
                    let text = fs::read_to_string(&path).unwrap();
                    let names = ["candle_core", "candle_nn", "candle-core", "candle-nn"];
                    found.extend(
                        names.iter().filter(|name| text.contains(**name)).map(|_| path.clone()),
                    );
                }
            }
        }
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn comments_end_at_column_100() {
        let mut found = Vec::new();
        let mut todo = vec![crate::root().join("crates"), crate::root().join("bench")];
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let wide =
                    |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > 100;
                found.extend(
                    text.lines().filter(wide).map(|line| format!("{}: {line}", path.display())),
                );
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn a_cycle_is_found_by_way_of_names_that_are_re_exported() {
        let file = |text: &str| syn::parse_file(text).unwrap();
        let files: BTreeMap<Module, syn::File> = [
            (vec![], file("mod a; mod b; pub use a::A; pub use b::B;")),
            (module("a"), file("use crate::B; pub struct A(B);")),
            (module("b"), file("pub struct B; fn f() { let _ = crate::A::new(); }")),
            (module("c"), file("use crate::A; #[cfg(test)] mod tests { use crate::d::D; }")),
            (module("d"), file("use crate::c::C;")),
        ]
        .into();
        let graph = graph_of(&files);
        assert_eq!(cycles(&graph), [[module("a"), module("b")]]);
        assert!(
            graph[&module("d")].contains(&module("c"))
                && !graph[&module("c")].contains(&module("d"))
        );
    }
}
