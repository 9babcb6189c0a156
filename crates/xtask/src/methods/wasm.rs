//! The functions of the module for browsers.

use super::read::{File, Kind, Method, Returned};
use super::text::{fill, rust_doc, HEAD};
use super::types::Object;

const USES: &str = "
use crate::errors::{now, Thrown};
use crate::handles::{
    self, reply, Handle, GENERATIONS, MODELS, OPTIMIZERS, READERS, TENSORS,
};
use js_sys::Array;
use wasm_bindgen::prelude::*;
use xt_bindings::methods as declared;
use xt_bindings::{parse_device, AbortFlag, Context, ScalarType};
";

/// The whole file, not formatted.
pub fn file(files: &[File]) -> String {
    let mut code = format!("//! The native methods as wasm-bindgen exports them.\n{HEAD}{USES}");
    for File { object, methods, .. } in files {
        for method in methods {
            code += &function(*object, method);
        }
        if let Some(Object { file, table, what, .. }) = object {
            let what = what.replace("this", "a");
            code += &format!(
                "
/// Releases the handle of {what}.
#[wasm_bindgen]
pub fn {file}_free({file}: Handle) {{
    {table}.remove({file});
}}
"
            );
        }
    }
    code
}

/// The name of the exported function.
pub fn name_of(object: Option<&Object>, method: &Method) -> String {
    match object {
        Some(object) => format!("{}_{}", object.file, method.name),
        None => method.name.clone(),
    }
}

fn function(object: Option<&Object>, method: &Method) -> String {
    let mut conversions = String::new();
    let mut params = vec![];
    if let Some(Object { table, .. }) = object {
        params.push("object: Handle".to_string());
        conversions += &format!("let object = {table}.get(object)?;\n");
    }
    for (name, kind) in &method.params {
        let (takes, convert) = match kind {
            Kind::Object(object) => ("Handle", format!("{}.get({name})?", object.table)),
            Kind::Plain(param) => (param.wasm.takes, fill(param.wasm.convert, name)),
        };
        params.push(format!("{name}: {takes}"));
        if !convert.is_empty() {
            conversions += &format!("let {name} = {convert};\n");
        }
    }
    let file = object.map_or("library", |object| object.file);
    let call = method.call(file, object.map(|_| "object"), "&AbortFlag::default()", false);
    let (output, make) = match method.output {
        Returned::Plain(output) => (output.wasm.0, output.wasm.1.to_string()),
        Returned::Object(object) => ("Handle", format!("|x| {}.insert(x)", object.table)),
    };
    let made = if make.is_empty() {
        format!("now(|| {call})")
    } else {
        format!("now(|| {call}).map({make})")
    };
    format!(
        "
{doc}#[wasm_bindgen]
pub fn {name}({params}) -> Thrown<{output}> {{
    {conversions}    {made}
}}
",
        doc = rust_doc(&method.doc, 0),
        name = name_of(object, method),
        params = params.join(", "),
    )
}
