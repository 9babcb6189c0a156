//! What TypeScript has of the native methods: the interface of both addons, the functions of the
//! WebAssembly module, and the classes that make the second into the first.

use super::read::{File, Kind, Method, Returned};
use super::text::{camel, fill, HEAD};
use super::types::{Object, Wrap};
use super::wasm::name_of;
use crate::typescript::{comment, WIDTH};

const INTERFACES: &str = "
import type { ContextJson, DType, NativeAbortFlag } from './types.js'

/** A result that contains tensors: `{\"$tensor\": i}` in the JSON refers to `tensors[i]`. */
export interface NativeResult {
  readonly json: string
  readonly tensors: NativeTensor[]
}
";

/// `ts/native/methods.gen.ts`: what both addons implement.
pub fn interfaces(files: &[File]) -> String {
    let mut code = format!("{HEAD}{INTERFACES}");
    for File { object, doc, methods } in files {
        let name = object.map_or("NativeFunctions", |object| object.native);
        code += &format!("\n{}export interface {name} {{\n", about("", doc));
        for method in methods {
            code += &about("  ", &method.doc);
            if method.heavy {
                code += &format!("  {}\n", promised(method));
            }
            code += &format!("  {}\n", immediate(method));
        }
        if object.is_some() {
            code += "  dispose(): void\n";
        }
        code += "}\n";
    }
    code
}

/// A documentation comment of the text and the errors of a Rust one.
fn about(indent: &str, doc: &[String]) -> String {
    let mut parts = doc.split(|line| line == "# Errors");
    let join = |lines: &[String]| lines.join(" ").trim().to_string();
    let text = join(parts.next().unwrap_or_default());
    let errors: Vec<String> = parts.map(|lines| format!("@throws {}", join(lines))).collect();
    comment(indent, &text, &errors)
}

fn output(method: &Method) -> &'static str {
    match method.output {
        Returned::Plain(output) => output.typescript,
        Returned::Object(object) => object.native,
    }
}

/// The parameters, without the abort flag.
fn params(method: &Method) -> Vec<String> {
    let params = method.params.iter().map(|(name, kind)| {
        let ty = match kind {
            Kind::Plain(param) => param.typescript,
            Kind::Object(object) => object.native,
        };
        format!("{}: {ty}", camel(name))
    });
    params.collect()
}

/// The signature of the form that is a promise.
fn promised(method: &Method) -> String {
    let abort = method.abortable.then(|| "abort: NativeAbortFlag".to_string());
    let params: Vec<String> = params(method).into_iter().chain(abort).collect();
    signature(&camel(&method.name), &params, &format!("Promise<{}>", output(method)))
}

/// The name of the form that computes at once.
fn immediate_name(method: &Method) -> String {
    camel(&method.name) + if method.heavy { "Sync" } else { "" }
}

/// The signature of the form that computes at once.
fn immediate(method: &Method) -> String {
    signature(&immediate_name(method), &params(method), output(method))
}

/// The signature of a method of an interface or class, with room for a brace.
fn signature(name: &str, params: &[String], output: &str) -> String {
    let line = format!("{name}({}): {output}", params.join(", "));
    if line.len() + "   {".len() <= WIDTH {
        return line;
    }
    format!("{name}(\n    {},\n  ): {output}", params.join(",\n    "))
}

/// `ts/wasm/glue.gen.ts`: the functions of the WebAssembly module.
pub fn glue(files: &[File]) -> String {
    let mut code = format!(
        "{HEAD}
/** What stands for an object of the module. */
export type Handle = number

/** JSON, and the tensors that it refers to. */
export type Reply = [json: string, tensors: Uint32Array]

/** The native methods as wasm-bindgen exports them. */
export interface MethodsGlue {{
"
    );
    for File { object, methods, .. } in files {
        for method in methods {
            let this = object.map(|object| format!("{}: Handle", object.file));
            let params = method.params.iter().map(|(name, kind)| match kind {
                Kind::Plain(param) => format!("{}: {}", camel(name), param.glue.0),
                Kind::Object(_) => format!("{}: Handle", camel(name)),
            });
            let params: Vec<String> = this.into_iter().chain(params).collect();
            let output = match method.output {
                Returned::Plain(output) => output.glue,
                Returned::Object(_) => "Handle",
            };
            let name = name_of(*object, method);
            code += &format!("  {}\n", signature(&name, &params, output));
        }
        if let Some(Object { file, .. }) = object {
            code += &format!("  {file}_free({file}: Handle): void\n\n");
        }
    }
    code + "}\n"
}

const CLASSES: &str = "
import type {
  NativeFunctions,
  NativeGeneration,
  NativeModule,
  NativeOptimizer,
  NativeReader,
  NativeResult,
  NativeTensor,
} from '../native/methods.gen.js'
import type { ContextJson, DType, NativeAbortFlag } from '../native/types.js'
import { defer, handles, made, numbers, resultOf } from './calls.js'
import type { ExternalMemory } from './external-memory.js'
import type { MethodsGlue as Glue, Handle, Reply } from './glue.gen.js'
import { type Instance, Owned } from './instance.js'

/** A reply; all that the call has left behind counts for its first tensor. */
export const result = (instance: Instance, call: (glue: Glue) => Reply, held = 0): NativeResult =>
  resultOf(WasmTensor, instance, call, held)

const tensorOf = (instance: Instance, call: (glue: Glue) => Handle): NativeTensor =>
  made(WasmTensor, instance, call)
";

/// `ts/wasm/methods.gen.ts`: the interface on the module's functions.
pub fn classes(files: &[File]) -> String {
    let mut code = format!("{HEAD}{CLASSES}");
    for File { object, methods, .. } in files {
        code += &match object {
            Some(Object { wasm, native, file, .. }) => format!(
                "
export class {wasm} extends Owned implements {native} {{
  constructor(instance: Instance, handle: Handle, externalMemory: ExternalMemory | null = null) {{
    super(instance, handle, (glue) => glue.{file}_free(handle), externalMemory)
  }}
"
            ),
            None => "
export class WasmFunctions implements NativeFunctions {
  constructor(protected readonly instance: Instance) {}
"
            .into(),
        };
        for method in methods {
            if method.heavy {
                code += &deferred(*object, method);
            }
            code += &computed(*object, method);
        }
        code += "}\n";
    }
    code
}

/// The form that waits for its turn.
fn deferred(object: Option<&Object>, method: &Method) -> String {
    let this = object.map(|_| "this".to_string());
    let needs = method.params.iter().filter_map(|(name, kind)| match kind {
        Kind::Object(_) => Some(camel(name)),
        Kind::Plain(param) if param.rust == "&[Tensor]" => Some(format!("...{}", camel(name))),
        Kind::Plain(_) => None,
    });
    let needs: Vec<String> = this.into_iter().chain(needs).collect();
    let args: Vec<String> = method.params.iter().map(|(name, _)| camel(name)).collect();
    let abort = if method.abortable { ", abort" } else { "" };
    format!(
        "
  {signature} {{
    return defer([{needs}], () => this.{now}({args}){abort})
  }}
",
        signature = promised(method),
        needs = needs.join(", "),
        now = immediate_name(method),
        args = args.join(", "),
    )
}

/// The form that computes at once.
fn computed(object: Option<&Object>, method: &Method) -> String {
    let this = object.map(|_| "this.handle".to_string());
    let args = method.params.iter().map(|(name, kind)| match kind {
        Kind::Plain(param) => fill(param.glue.1, &camel(name)),
        Kind::Object(object) => format!("({} as {}).handle", camel(name), object.wasm),
    });
    let args: Vec<String> = this.into_iter().chain(args).collect();
    let call = format!("(glue) => glue.{}({})", name_of(object, method), args.join(", "));
    let run = format!("this.instance.run({call})");
    let body = match &method.output {
        Returned::Object(Object { rust: "Tensor", .. }) => {
            format!("return tensorOf(this.instance, {call})")
        }
        Returned::Object(object) => format!("return new {}(this.instance, {run})", object.wasm),
        Returned::Plain(output) => match (output.rust, &output.wrap) {
            ("()", _) => run,
            ("Option<Tensor>", _) => format!(
                "const handle = {run}\n    return handle === undefined ? null : new WasmTensor(this.instance, handle)"
            ),
            (_, Wrap::Call(function)) => format!("return {function}(this.instance, {call})"),
            (_, Wrap::Value(template)) => format!("return {}", fill(template, &run)),
        },
    };
    format!("\n  {} {{\n    {body}\n  }}\n", immediate(method))
}
