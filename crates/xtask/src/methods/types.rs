//! How values of native methods cross into JavaScript: one row for each type that a method may
//! take or return. In the templates, `$` is the name of the parameter or the value.

/// A type of parameters.
pub struct Param {
    /// The type in the declaration.
    pub rust: &'static str,
    /// The type in TypeScript.
    pub typescript: &'static str,
    /// What the argument of the declared function is made of, once it is converted.
    pub pass: &'static str,
    /// In the addon for Node.
    pub node: Side,
    /// In the module for browsers.
    pub wasm: Side,
    /// The type of the module's function in TypeScript, and how it is made of the argument.
    pub glue: (&'static str, &'static str),
}

/// How an addon takes a parameter.
pub struct Side {
    /// Its type there.
    pub takes: &'static str,
    /// The expression that converts it; empty if it is passed on as it is.
    pub convert: &'static str,
}

const fn side(takes: &'static str, convert: &'static str) -> Side {
    Side { takes, convert }
}

const fn plain(rust: &'static str, typescript: &'static str) -> Param {
    Param {
        rust,
        typescript,
        pass: "$",
        node: side(rust, ""),
        wasm: side(rust, ""),
        glue: (typescript, "$"),
    }
}

/// The types of parameters, besides [`OBJECTS`] and `&AbortFlag`.
pub const PARAMS: [Param; 11] = [
    plain("bool", "boolean"),
    plain("f64", "number"),
    // in the background an array of bytes is held by a reference: see `node.rs`
    plain("&[u8]", "Uint8Array"),
    Param {
        pass: "&$",
        node: side("String", ""),
        wasm: side("String", ""),
        ..plain("&str", "string")
    },
    Param {
        pass: "&$",
        node: side("Vec<f64>", "sizes(&$)"),
        wasm: side("&[f64]", "handles::sizes($)"),
        glue: ("Float64Array", "Float64Array.from($)"),
        ..plain("&[usize]", "number[]")
    },
    Param {
        node: side("String", "now(|| Ok(ScalarType::parse(&$)?))?"),
        wasm: side("&str", "now(|| Ok(ScalarType::parse($)?))?"),
        glue: ("string", "$"),
        ..plain("ScalarType", "DType")
    },
    Param {
        pass: "&$",
        node: side("String", "now(|| parse_device(&$))?"),
        wasm: side("&str", "now(|| parse_device($))?"),
        ..plain("&Device", "string")
    },
    Param {
        pass: "&$",
        node: side("String", "now(|| Context::parse(&$))?"),
        wasm: side("&str", "now(|| Context::parse($))?"),
        glue: ("string", "$"),
        ..plain("&Context", "ContextJson")
    },
    Param {
        pass: "$.as_ref()",
        node: side("Option<ClassInstance<NativeTensor>>", "$.map(|x| x.get()).transpose()?"),
        wasm: side("Option<Handle>", "$.map(|x| TENSORS.get(x)).transpose()?"),
        glue: ("Handle | undefined", "($ as WasmTensor | null)?.handle"),
        ..plain("Option<&Tensor>", "NativeTensor | null")
    },
    Param {
        pass: "&$",
        node: side("Vec<ClassInstance<NativeTensor>>", "tensors_of(&$)?"),
        wasm: side("&[Handle]", "handles::tensors($)?"),
        glue: ("Uint32Array", "handles($)"),
        ..plain("&[Tensor]", "NativeTensor[]")
    },
    Param {
        pass: "&$",
        node: side("Vec<ClassInstance<NativeModule>>", "models_of(&$)?"),
        wasm: side("&[Handle]", "handles::models($)?"),
        glue: ("Uint32Array", "handles($)"),
        ..plain("&[Arc<Model>]", "NativeModule[]")
    },
];

/// A type of results.
pub struct Output {
    /// The type in the declaration, without `Result` or `Heavy`.
    pub rust: &'static str,
    /// The type in TypeScript.
    pub typescript: &'static str,
    /// The type that the addon for Node returns, and the function that makes it.
    pub node: (&'static str, &'static str),
    /// The same for the module for browsers.
    pub wasm: (&'static str, &'static str),
    /// The type of the module's function in TypeScript.
    pub glue: &'static str,
    /// What the class around the module makes of it.
    pub wrap: Wrap,
}

/// What the class around the WebAssembly module makes of a result.
pub enum Wrap {
    /// An expression of the result.
    Value(&'static str),
    /// The call is made by this function, which tells the garbage collector how much memory it has
    /// taken.
    Call(&'static str),
}

const fn same(rust: &'static str, typescript: &'static str) -> Output {
    Output {
        rust,
        typescript,
        node: (rust, ""),
        wasm: (rust, ""),
        glue: typescript,
        wrap: Wrap::Value("$"),
    }
}

/// The types of results, besides [`OBJECTS`].
pub const OUTPUTS: [Output; 12] = [
    same("()", "void"),
    same("bool", "boolean"),
    same("f64", "number"),
    same("String", "string"),
    Output {
        glue: "string | undefined",
        wrap: Wrap::Value("$ ?? null"),
        ..same("Option<String>", "string | null")
    },
    Output { node: ("Uint8Array", "Uint8Array::from"), ..same("Vec<u8>", "Uint8Array") },
    Output {
        node: ("Vec<f64>", "numbers"),
        wasm: ("Vec<f64>", "handles::numbers"),
        glue: "Float64Array",
        wrap: Wrap::Value("Array.from($)"),
        ..same("Vec<usize>", "number[]")
    },
    Output {
        glue: "Float64Array | undefined",
        wrap: Wrap::Value("numbers($)"),
        ..same("Option<Vec<f64>>", "number[] | null")
    },
    Output {
        wasm: (
            "Option<Vec<f64>>",
            "|row| row.map(|row| row.into_iter().map(|n| n as f64).collect())",
        ),
        glue: "Float64Array | undefined",
        wrap: Wrap::Value("numbers($)"),
        ..same("Option<Vec<i64>>", "number[] | null")
    },
    Output {
        node: ("&'static str", "|scalar| scalar.name()"),
        wasm: ("String", "|scalar| scalar.name().into()"),
        glue: "string",
        wrap: Wrap::Value("$ as DType"),
        ..same("ScalarType", "DType")
    },
    Output {
        node: ("NativeResult", "NativeResult::from"),
        wasm: ("Array", "reply"),
        glue: "Reply",
        wrap: Wrap::Call("result"),
        ..same("Reply", "NativeResult")
    },
    Output {
        node: ("Option<NativeTensor>", "|x| x.map(NativeTensor::new)"),
        wasm: ("Option<Handle>", "|x| x.map(|x| TENSORS.insert(x))"),
        glue: "Handle | undefined",
        ..same("Option<Tensor>", "NativeTensor | null")
    },
];

/// A kind of objects, whose methods stand in a file of its name.
pub struct Object {
    /// The file in `crates/bindings/src/methods`, and the first part of the module's functions.
    pub file: &'static str,
    /// The type of its references in Rust.
    pub stored: &'static str,
    /// The type in declarations.
    pub rust: &'static str,
    /// The class of the addon for Node, and the interface in TypeScript.
    pub native: &'static str,
    /// The class around the WebAssembly module.
    pub wasm: &'static str,
    /// The table of its handles there.
    pub table: &'static str,
    /// What it is called in errors.
    pub what: &'static str,
}

/// The kinds of objects.
pub const OBJECTS: [Object; 5] = [
    Object {
        file: "tensor",
        stored: "Tensor",
        rust: "Tensor",
        native: "NativeTensor",
        wasm: "WasmTensor",
        table: "TENSORS",
        what: "this tensor",
    },
    Object {
        file: "model",
        stored: "Arc<Model>",
        rust: "Model",
        native: "NativeModule",
        wasm: "WasmModule",
        table: "MODELS",
        what: "this model",
    },
    Object {
        file: "generation",
        stored: "Arc<Generation>",
        rust: "Generation",
        native: "NativeGeneration",
        wasm: "WasmGeneration",
        table: "GENERATIONS",
        what: "this generation",
    },
    Object {
        file: "optimizer",
        stored: "Arc<Optimizer>",
        rust: "Optimizer",
        native: "NativeOptimizer",
        wasm: "WasmOptimizer",
        table: "OPTIMIZERS",
        what: "this optimizer",
    },
    Object {
        file: "reader",
        stored: "Arc<Reader>",
        rust: "Reader",
        native: "NativeReader",
        wasm: "WasmReader",
        table: "READERS",
        what: "this file",
    },
];
