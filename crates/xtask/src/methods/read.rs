//! The declarations of the native methods, from the files of `crates/bindings/src/methods`.

use super::text::fill;
use super::types::{Object, Output, Param, OBJECTS, OUTPUTS, PARAMS};
use quote::ToTokens;
use std::fs;
use std::path::Path;
use syn::{FnArg, GenericArgument, Item, ItemFn, Pat, PathArguments, ReturnType, Type, Visibility};

/// The file of the functions that are methods of no object.
const LIBRARY: &str = "library";

/// The methods of one file.
pub struct File {
    /// What the file is about; none for the library.
    pub object: Option<&'static Object>,
    /// The lines of its documentation.
    pub doc: Vec<String>,
    /// Its public functions, in their order.
    pub methods: Vec<Method>,
}

/// A native method.
pub struct Method {
    /// The function's name in Rust.
    pub name: String,
    /// The lines of its documentation.
    pub doc: Vec<String>,
    /// Its parameters, without the object and the abort flag.
    pub params: Vec<(String, Kind)>,
    /// What it returns, without `Result`.
    pub output: Returned,
    /// Whether it can fail.
    pub fallible: bool,
    /// Whether it takes long.
    pub heavy: bool,
    /// Whether it takes an abort flag.
    pub abortable: bool,
}

/// A type of parameters.
pub enum Kind {
    /// A row of [`PARAMS`].
    Plain(&'static Param),
    /// A reference to an object.
    Object(&'static Object),
}

/// A type of results.
pub enum Returned {
    /// A row of [`OUTPUTS`].
    Plain(&'static Output),
    /// An object.
    Object(&'static Object),
}

impl Method {
    /// The call of the declared function, with `object` in front of the converted arguments.
    /// `owned`: arrays of bytes are values, which the function borrows.
    pub fn call(&self, file: &str, object: Option<&str>, abort: &str, owned: bool) -> String {
        let object = object.map(|name| format!("&{name}"));
        let params = self.params.iter().map(|(name, kind)| match kind {
            Kind::Plain(param) if owned && param.rust == "&[u8]" => format!("&{name}"),
            Kind::Plain(param) => fill(param.pass, name),
            Kind::Object(_) => format!("&{name}"),
        });
        let abort = self.abortable.then(|| abort.to_string());
        let args: Vec<String> = object.into_iter().chain(params).chain(abort).collect();
        let call = format!("declared::{file}::{}({})", self.name, args.join(", "));
        match (self.fallible, self.rust_output()) {
            (true, _) => call,
            (false, "()") => format!("{{ {call}; Ok(()) }}"),
            (false, _) => format!("Ok({call})"),
        }
    }

    /// The type of the result in the declaration.
    pub fn rust_output(&self) -> &'static str {
        match self.output {
            Returned::Plain(output) => output.rust,
            Returned::Object(object) => object.stored,
        }
    }
}

/// Reads all files, in the order of [`OBJECTS`], the library last.
pub fn files(root: &Path) -> Result<Vec<File>, String> {
    let objects = OBJECTS.iter().map(Some).chain([None]);
    objects.map(|object| file(root, object)).collect()
}

fn file(root: &Path, object: Option<&'static Object>) -> Result<File, String> {
    let name = object.map_or(LIBRARY, |object| object.file);
    let path = format!("crates/bindings/src/methods/{name}.rs");
    let text = fs::read_to_string(root.join(&path)).map_err(|error| format!("{path}: {error}"))?;
    parse(&text, object).map_err(|error| format!("{path}: {error}"))
}

fn parse(text: &str, object: Option<&'static Object>) -> Result<File, String> {
    let file = syn::parse_file(text).map_err(|error| error.to_string())?;
    let functions = file.items.iter().filter_map(|item| match item {
        Item::Fn(function) if matches!(function.vis, Visibility::Public(_)) => Some(function),
        _ => None,
    });
    let methods = functions.map(|function| {
        method(function, object).map_err(|error| format!("{}: {error}", function.sig.ident))
    });
    Ok(File { object, doc: doc(&file.attrs), methods: methods.collect::<Result<_, _>>()? })
}

fn method(function: &ItemFn, object: Option<&'static Object>) -> Result<Method, String> {
    let mut given = vec![];
    for input in &function.sig.inputs {
        let FnArg::Typed(typed) = input else { return Err("has a self".into()) };
        let Pat::Ident(name) = &*typed.pat else { return Err("a parameter has no name".into()) };
        given.push((name.ident.to_string(), text_of(&typed.ty)));
    }
    if let Some(object) = object {
        let (_, first) = given.first().ok_or("has no parameter for its object")?;
        if *first != format!("&{}", object.rust) {
            return Err(format!("its first parameter must be a &{}", object.rust));
        }
        given.remove(0);
    }
    let all = given.len();
    given.retain(|(_, ty)| ty != "&AbortFlag");
    let abortable = given.len() < all;
    let params = given.into_iter().map(|(name, ty)| Ok((name, kind(&ty)?)));
    let params = params.collect::<Result<Vec<_>, String>>()?;
    let (wrapper, output) = returned(&function.sig.output)?;
    Ok(Method {
        name: function.sig.ident.to_string(),
        doc: doc(&function.attrs),
        params,
        output,
        fallible: wrapper.is_some(),
        heavy: wrapper == Some("Heavy"),
        abortable,
    })
}

/// A type without its spaces.
fn text_of(ty: &Type) -> String {
    ty.to_token_stream().to_string().split_whitespace().collect()
}

fn kind(ty: &str) -> Result<Kind, String> {
    if let Some(param) = PARAMS.iter().find(|param| param.rust == ty) {
        return Ok(Kind::Plain(param));
    }
    let object = OBJECTS.iter().find(|object| ty.strip_prefix('&') == Some(object.rust));
    object.map(Kind::Object).ok_or_else(|| format!("no row of PARAMS is for {ty}"))
}

/// The name of the wrapper, `Result` or `Heavy`, and what is in it.
fn returned(output: &ReturnType) -> Result<(Option<&'static str>, Returned), String> {
    let ReturnType::Type(_, ty) = output else { return Ok((None, plain("()")?)) };
    if let Type::Path(path) = &**ty {
        let last = path.path.segments.last().ok_or("has no result")?;
        let wrapper = ["Result", "Heavy"].into_iter().find(|name| last.ident == name);
        if let (Some(wrapper), PathArguments::AngleBracketed(arguments)) =
            (wrapper, &last.arguments)
        {
            let Some(GenericArgument::Type(inner)) = arguments.args.first() else {
                return Err(format!("{wrapper} needs a type"));
            };
            return Ok((Some(wrapper), plain(&text_of(inner))?));
        }
    }
    Ok((None, plain(&text_of(ty))?))
}

fn plain(ty: &str) -> Result<Returned, String> {
    if let Some(output) = OUTPUTS.iter().find(|output| output.rust == ty) {
        return Ok(Returned::Plain(output));
    }
    let object = OBJECTS.iter().find(|object| object.stored == ty);
    object.map(Returned::Object).ok_or_else(|| format!("no row of OUTPUTS is for {ty}"))
}

/// The lines of a documentation comment.
fn doc(attributes: &[syn::Attribute]) -> Vec<String> {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(line), .. }) => Some(line.value()),
            _ => None,
        },
        _ => None,
    });
    lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Result<Method, String> {
        Ok(parse(text, OBJECTS.iter().find(|o| o.file == "model"))?.methods.remove(0))
    }

    #[test]
    fn a_signature_says_how_a_method_crosses() {
        let method = only(
            "/// Doc.\npub fn grow(model: &Model, by: f64, abort: &AbortFlag) -> Heavy<Vec<u8>> {}",
        )
        .unwrap();
        assert_eq!((method.name.as_str(), method.doc.as_slice()), ("grow", &["Doc.".into()][..]));
        assert!(method.heavy && method.abortable && method.fallible);
        assert!(matches!(&method.params[..], [(name, Kind::Plain(_))] if name == "by"));
        assert!(matches!(method.output, Returned::Plain(output) if output.rust == "Vec<u8>"));
        let bare = only("pub fn grow(model: &Model) {}").unwrap();
        assert!(!bare.heavy && !bare.abortable && !bare.fallible);
    }

    #[test]
    fn what_no_row_describes_is_an_error() {
        let error = only("pub fn grow(model: &Model, by: &Path) {}").err().unwrap();
        assert_eq!(error, "grow: no row of PARAMS is for &Path");
        assert!(only("pub fn grow(by: f64) {}").err().unwrap().contains("must be a &Model"));
        assert!(only("pub fn grow(model: &Model) -> Path {}").err().unwrap().contains("OUTPUTS"));
    }

    #[test]
    fn private_functions_are_not_methods() {
        assert!(parse("fn helper() {}", None).unwrap().methods.is_empty());
    }
}
