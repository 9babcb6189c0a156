//! The functions and classes of the addon for Node.

use super::read::{File, Kind, Method, Returned};
use super::text::{fill, rust_doc, HEAD};
use super::types::Object;

const USES: &str = r#"
use crate::abort::NativeAbortFlag;
use crate::errors::to_napi;
use crate::numbers::{numbers, sizes};
use crate::memory::report;
use crate::work::{in_background, now, now_shared, Work};
use napi::bindgen_prelude::{ClassInstance, Uint8Array};
use napi::Env;
use napi_derive::napi;
use std::sync::Arc;
use xt_bindings::methods as declared;
use xt_bindings::methods::{generation::Generation, optimizer::Optimizer, reader::Reader, Reply};
use xt_bindings::{parse_device, AbortFlag, Context, Error, Model, ScalarType, Tensor};

/// A result that contains tensors: `{"$tensor": i}` in the JSON refers to `tensors[i]`.
#[napi(object, object_from_js = false)]
pub struct NativeResult {
    /// The result as JSON.
    pub json: String,
    /// The tensors to which the JSON refers.
    pub tensors: Vec<NativeTensor>,
}

impl From<Reply> for NativeResult {
    fn from(reply: Reply) -> Self {
        let tensors = reply.tensors.into_iter().map(NativeTensor::new);
        Self { json: reply.json, tensors: tensors.collect() }
    }
}

/// The tensors of handles; an error if one is disposed.
fn tensors_of(handles: &[ClassInstance<NativeTensor>]) -> napi::Result<Vec<Tensor>> {
    handles.iter().map(|handle| handle.get()).collect()
}

/// The models of handles; an error if one is disposed.
fn models_of(handles: &[ClassInstance<NativeModule>]) -> napi::Result<Vec<Arc<Model>>> {
    handles.iter().map(|handle| handle.get()).collect()
}
"#;

/// The whole file, not formatted.
pub fn file(files: &[File]) -> String {
    let parts = files.iter().map(|file| match file.object {
        Some(object) => class(object, &file.methods),
        None => file.methods.iter().map(|method| forms(None, method)).collect(),
    });
    format!(
        "//! The native methods as napi-rs exports them.\n{HEAD}{USES}{}",
        parts.collect::<String>()
    )
}

fn class(object: &Object, methods: &[Method]) -> String {
    let Object { native, stored, what, .. } = object;
    let about = what.replace("this", "a");
    let methods: String = methods.iter().map(|method| forms(Some(object), method)).collect();
    format!(
        "
/// The handle of {about}; empty once it is disposed.
#[napi]
pub struct {native}(Option<{stored}>);

impl {native} {{
    /// A handle of `value`.
    pub fn new(value: {stored}) -> Self {{
        Self(Some(value))
    }}

    /// What it refers to; an error once it is disposed.
    pub fn get(&self) -> napi::Result<{stored}> {{
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed(\"{what}\")))
    }}
}}

#[napi]
impl {native} {{
{methods}
    /// Releases the handle.
    #[napi]
    pub fn dispose(&mut self, env: Env) -> napi::Result<()> {{
        self.0 = None;
        report(env, Ok(()))
    }}
}}
"
    )
}

/// The form that is a promise, where there is one, and the one that computes at once.
fn forms(object: Option<&Object>, method: &Method) -> String {
    let now = at_once(object, method);
    if method.heavy {
        in_background(object, method) + &now
    } else {
        now
    }
}

fn file_of(object: Option<&Object>) -> &'static str {
    object.map_or("library", |object| object.file)
}

/// The parameters of the exported function, without `self`, and the lines that convert them.
fn taken(method: &Method, owned: bool) -> (Vec<String>, String) {
    let mut conversions = String::new();
    let params = method.params.iter().map(|(name, kind)| {
        let (takes, convert) = match kind {
            Kind::Object(object) => (format!("&{}", object.native), format!("{name}.get()?")),
            // borrowed bytes end with the call
            Kind::Plain(param) if owned && param.rust == "&[u8]" => {
                ("Uint8Array".into(), String::new())
            }
            Kind::Plain(param) => (param.node.takes.into(), fill(param.node.convert, name)),
        };
        if !convert.is_empty() {
            conversions += &format!("let {name} = {convert};\n");
        }
        format!("{name}: {takes}")
    });
    let params = params.collect();
    (params, conversions)
}

/// The result type of the exported function, and the function that makes it.
fn output(method: &Method) -> (&'static str, String) {
    match method.output {
        Returned::Plain(output) => (output.node.0, output.node.1.into()),
        Returned::Object(object) => (object.native, format!("{}::new", object.native)),
    }
}

fn in_background(object: Option<&Object>, method: &Method) -> String {
    let (mut params, mut conversions) = taken(method, true);
    if object.is_some() {
        params.insert(0, "&self".into());
        conversions = "let object = self.get()?;\n".to_string() + &conversions;
    }
    let flag = if method.abortable {
        params.push("abort: &NativeAbortFlag".into());
        "abort.flag()"
    } else {
        "AbortFlag::default()"
    };
    let call = method.call(file_of(object), object.map(|_| "object"), "abort", true);
    let (node, make) = output(method);
    let make = match (node, make.as_str()) {
        ("()", _) => "|()| ()".into(),
        (_, "") => "|x| x".into(),
        _ => make,
    };
    let promised = match method.output {
        Returned::Plain(output) => output.typescript,
        Returned::Object(object) => object.native,
    };
    let unused = if method.abortable { "abort: &AbortFlag" } else { "_: &AbortFlag" };
    format!(
        "
{doc}#[napi(ts_return_type = \"Promise<{promised}>\")]
pub fn {name}({params}) -> napi::Result<Work<{rust}, {node}>> {{
    {conversions}    let run = move |{unused}| {call};
    Ok(in_background({flag}, run, {make}))
}}
",
        doc = rust_doc(&method.doc, if object.is_some() { 4 } else { 0 }),
        name = method.name,
        params = params.join(", "),
        rust = method.rust_output(),
    )
}

fn at_once(object: Option<&Object>, method: &Method) -> String {
    let (mut params, mut conversions) = taken(method, false);
    if method.fallible {
        params.insert(0, "env: Env".into());
    }
    if object.is_some() {
        params.insert(0, "&self".into());
        conversions = "let object = self.get()?;\n".to_string() + &conversions;
    }
    let call =
        method.call(file_of(object), object.map(|_| "object"), "&AbortFlag::default()", false);
    let (node, make) = output(method);
    let run = if method.heavy { "now_shared" } else { "now" };
    let run = match method.fallible {
        true => format!("report(env, {run}(|| {call}))"),
        false => format!("now(|| {call})"),
    };
    let made = if make.is_empty() { run } else { format!("{run}.map({make})") };
    let suffix = if method.heavy { "_sync" } else { "" };
    format!(
        "
{doc}#[napi]
pub fn {name}{suffix}({params}) -> napi::Result<{node}> {{
    {conversions}    {made}
}}
",
        doc = rust_doc(&method.doc, if object.is_some() { 4 } else { 0 }),
        name = method.name,
        params = params.join(", "),
    )
}
