//! Every path that a Rust file mentions, read from its syntax: `use` trees flattened, renames resolved, macro
//! arguments included.
//!
//! What it cannot see: names that come in by a glob (the glob itself is a mention that ends in `*`), and names that a
//! macro pastes together.

#![allow(dead_code, reason = "each test that includes this file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, Token, UseTree};

/// How a path is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A leaf of a `use` tree, or an `extern crate`.
    Use,
    /// In an expression, a type, a pattern, an attribute or the argument of a macro.
    Path,
    /// The name of a macro that is called: `println` of `println!(…)`.
    Macro,
    /// The name of a `static mut`.
    StaticMut,
}

/// One path in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// Its segments, with the renames of the file's `use` resolved; `self` and `super` at the front are written
    /// as `crate` and the names of modules; a glob ends in `*`.
    pub(crate) segments: Vec<String>,
    /// Line of the first segment, from 1.
    pub(crate) line: usize,
    /// Whether it stands in code that only tests compile.
    pub(crate) is_test: bool,
    /// How it is mentioned.
    pub(crate) kind: Kind,
}

/// One source file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Names of the modules from the root of the crate to it; none for `lib.rs` and `main.rs`.
    pub(crate) module: Vec<String>,
    /// The paths that it mentions, in the order of the file.
    pub(crate) mentions: Vec<Mention>,
}

impl Mention {
    /// Whether the path is `prefix` or continues it.
    pub(crate) fn starts_with(&self, prefix: &[&str]) -> bool {
        self.segments.len() >= prefix.len() && self.segments.iter().zip(prefix).all(|(a, b)| a == b)
    }

    /// The crate that the path surely begins with; a single name may as well be a variable.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        let is_path = self.segments.len() > 1 || self.kind == Kind::Use;
        is_path.then(|| self.segments.first().map(String::as_str)).flatten()
    }
}

/// All Rust files of a crate's `src` folder; a file behind `#[cfg(test)] mod name;` is test code as a whole.
pub(crate) fn crate_sources(src: &Path) -> Result<Vec<Source>, Box<dyn Error>> {
    let (mut found, mut test_modules) = (Vec::new(), BTreeSet::new());
    for path in rust_files(src)? {
        let text = std::fs::read_to_string(&path)?;
        let module = module_of(path.strip_prefix(src)?);
        let file = syn::parse_file(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        for name in test_files(&file) {
            test_modules.insert([module.clone(), vec![name]].concat());
        }
        found.push(Source { path, mentions: mentions_of(&file, &module), module });
    }
    for source in &mut found {
        if (1..=source.module.len()).any(|n| test_modules.contains(&source.module[..n])) {
            source.mentions.iter_mut().for_each(|mention| mention.is_test = true);
        }
    }
    Ok(found)
}

/// The paths that the text of one file mentions; `module` are the names from the root of its crate to it.
pub(crate) fn mentions(text: &str, module: &[&str]) -> syn::Result<Vec<Mention>> {
    let module: Vec<String> = module.iter().map(ToString::to_string).collect();
    Ok(mentions_of(&syn::parse_file(text)?, &module))
}

/// The Rust files below a folder, sorted.
pub(crate) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `data/csv.rs` and `data/csv/mod.rs` are the module `data::csv`.
fn module_of(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let mut names: Vec<String> =
        names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let is_root = names.len() == 1 && matches!(names[0].as_str(), "lib" | "main");
    if is_root || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// Modules of their own files that only tests compile.
fn test_files(file: &syn::File) -> Vec<String> {
    let modules = file.items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() && is_test(&module.attrs) => {
            Some(module.ident.to_string())
        }
        _ => None,
    });
    modules.collect()
}

fn mentions_of(file: &syn::File, module: &[String]) -> Vec<Mention> {
    let mut walker = Walker {
        module: module.to_vec(),
        aliases: aliases(&file.items),
        is_test: is_test(&file.attrs),
        found: Vec::new(),
    };
    walker.visit_file(file);
    walker.found
}

/// Name → what `use` says it stands for; more than one where blocks of the module differ.
type Aliases = BTreeMap<String, BTreeSet<Vec<String>>>;

/// The names that one module brings in anywhere, also inside its functions, but not in the modules within it.
fn aliases(items: &[Item]) -> Aliases {
    struct Names(Aliases);
    impl<'ast> Visit<'ast> for Names {
        fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

        fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
            flatten(&item.tree, &mut Vec::new(), &mut |path, name| {
                if name != "*" && name != "_" {
                    let path = path.iter().map(ToString::to_string).collect();
                    self.0.entry(name.to_owned()).or_default().insert(path);
                }
            });
        }

        fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
            if let Some((_, name)) = &item.rename {
                let path = vec![item.ident.to_string()];
                self.0.entry(name.to_string()).or_default().insert(path);
            }
        }
    }
    let mut names = Names(Aliases::new());
    items.iter().for_each(|item| names.visit_item(item));
    names.0
}

/// Calls `leaf` with the path of every leaf of a `use` tree and the name that it gets here, `*` for a glob.
fn flatten(tree: &UseTree, path: &mut Vec<Ident>, leaf: &mut impl FnMut(&[Ident], &str)) {
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.clone());
            flatten(&part.tree, path, leaf);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, leaf)),
        UseTree::Name(syn::UseName { ident }) | UseTree::Rename(syn::UseRename { ident, .. }) => {
            let is_self = ident == "self" && !path.is_empty();
            if !is_self {
                path.push(ident.clone());
            }
            let name = match tree {
                UseTree::Rename(part) => part.rename.to_string(),
                _ => path.last().map_or_else(String::new, ToString::to_string),
            };
            leaf(path, &name);
            if !is_self {
                path.pop();
            }
        }
        UseTree::Glob(star) => {
            path.push(Ident::new("glob", star.star_token.spans[0]));
            leaf(path, "*");
            path.pop();
        }
    }
}

struct Walker {
    module: Vec<String>,
    aliases: Aliases,
    is_test: bool,
    found: Vec<Mention>,
}

impl Walker {
    fn record(&mut self, path: &[String], line: usize, is_global: bool, kind: Kind) {
        let mut resolved = BTreeSet::new();
        match is_global {
            true => drop(resolved.insert(path.to_vec())),
            false => self.resolve(path, &mut BTreeSet::new(), &mut resolved),
        }
        let is_test = self.is_test;
        let mention = |segments| Mention { segments, line, is_test, kind };
        self.found.extend(resolved.into_iter().map(mention));
    }

    fn record_path(&mut self, path: &syn::Path, kind: Kind) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
        self.record(&names, line, path.leading_colon.is_some(), kind);
    }

    /// Replaces a first segment that a `use` brought in by what it stands for, as often as there is one.
    fn resolve(
        &self,
        path: &[String],
        done: &mut BTreeSet<String>,
        out: &mut BTreeSet<Vec<String>>,
    ) {
        let Some((first, rest)) = path.split_first() else { return };
        match self.aliases.get(first).filter(|_| !done.contains(first)) {
            Some(targets) => {
                done.insert(first.clone());
                for target in targets {
                    self.resolve(&[target, rest].concat(), done, out);
                }
                done.remove(first);
            }
            None => drop(out.insert(self.absolute(path))),
        }
    }

    /// `self` and `super` at the front as `crate` and names.
    fn absolute(&self, path: &[String]) -> Vec<String> {
        let n_up = path.iter().take_while(|name| *name == "super" || *name == "self").count();
        let n_super = path[..n_up].iter().filter(|name| *name == "super").count();
        if n_up == 0 || self.module.len() < n_super {
            return path.to_vec();
        }
        let kept = &self.module[..self.module.len() - n_super];
        [&["crate".to_owned()], kept, &path[n_up..]].concat()
    }

    /// Walks code with these attributes: test code where they say so.
    fn under(&mut self, attributes: &[Attribute], walk: impl FnOnce(&mut Self)) {
        let before = self.is_test;
        self.is_test |= is_test(attributes);
        walk(self);
        self.is_test = before;
    }

    /// Paths among the tokens of a macro: `a::b::c`, `name!`, `static mut name`.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_punct = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == mark);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let is_global = at >= 2 && is_punct(at - 1, ':') && is_punct(at - 2, ':');
                    let mut path = vec![first.to_string()];
                    while is_punct(at + 1, ':') && is_punct(at + 2, ':') {
                        match tokens.get(at + 3) {
                            Some(TokenTree::Ident(next)) => path.push(next.to_string()),
                            // `use std::{fs, io}` inside a macro: each name of the group continues the path.
                            Some(TokenTree::Group(group))
                                if group.delimiter() == Delimiter::Brace =>
                            {
                                self.group(&path, first, group.stream());
                                at += 1;
                                break;
                            }
                            _ => break,
                        }
                        at += 3;
                    }
                    let is_call = is_punct(at + 1, '!')
                        && matches!(tokens.get(at + 2), Some(TokenTree::Group(_)));
                    let line = first.span().start().line;
                    match tokens.get(at + 1) {
                        Some(TokenTree::Ident(next)) if first == "static" && next == "mut" => {
                            let name = tokens.get(at + 2).map(ToString::to_string);
                            self.record(
                                &name.into_iter().collect::<Vec<_>>(),
                                line,
                                true,
                                Kind::StaticMut,
                            );
                        }
                        _ if is_call => self.record(&path, line, is_global, Kind::Macro),
                        _ => self.record(&path, line, is_global, Kind::Path),
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// `prefix::{…}` among tokens.
    fn group(&mut self, prefix: &[String], first: &Ident, tokens: TokenStream) {
        let names = tokens.into_iter().filter_map(|token| match token {
            TokenTree::Ident(name) => Some(name.to_string()),
            _ => None,
        });
        for name in names {
            let path = [prefix, &[name]].concat();
            self.record(&path, first.span().start().line, false, Kind::Use);
        }
    }
}

impl<'ast> Visit<'ast> for Walker {
    fn visit_item(&mut self, item: &'ast Item) {
        self.under(attributes(item), |walker| visit::visit_item(walker, item));
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes: &[Attribute] = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        self.under(attributes, |walker| visit::visit_impl_item(walker, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let outer = std::mem::replace(&mut self.aliases, aliases(items));
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
        self.aliases = outer;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_global = item.leading_colon.is_some();
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut |path, name| {
            let line = path.first().map_or(0, |first| first.span().start().line);
            let mut path: Vec<String> = path.iter().map(ToString::to_string).collect();
            if let ("*", Some(last)) = (name, path.last_mut()) {
                name.clone_into(last);
            }
            leaves.push((path, line));
        });
        for (path, line) in leaves {
            self.record(&path, line, is_global, Kind::Use);
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let line = item.ident.span().start().line;
        self.record(&[item.ident.to_string()], line, true, Kind::Use);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        if matches!(item.mutability, syn::StaticMutability::Mut(_)) {
            let line = item.ident.span().start().line;
            self.record(&[item.ident.to_string()], line, true, Kind::StaticMut);
        }
        visit::visit_item_static(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.record_path(path, Kind::Path);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.record_path(&call.path, Kind::Macro);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::List(list) => self.tokens(list.tokens.clone()),
            // A doc comment is text.
            Meta::NameValue(pair) => visit::visit_expr(self, &pair.value),
            Meta::Path(_) => {}
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether `#[test]` or a `#[cfg(…)]` that implies `test` is among them.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|condition| implies_test(&condition))
        }
        _ => false,
    })
}

fn implies_test(condition: &Meta) -> bool {
    type Conditions = syn::punctuated::Punctuated<Meta, Token![,]>;
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => {
            let parts = list.parse_args_with(Conditions::parse_terminated).unwrap_or_default();
            let is_all = list.path.is_ident("all") && parts.iter().any(implies_test);
            let is_any = list.path.is_ident("any") && !parts.is_empty();
            is_all || is_any && parts.iter().all(implies_test)
        }
        Meta::NameValue(_) => false,
    }
}
