//! The native methods, each declared once: what JavaScript can ask of the addons. From the
//! signatures and documentation of the public functions in these files, `cargo run -p xtask --
//! generate` writes the functions of both addons (`methods.rs` of `crates/node` and `crates/wasm`),
//! the interface `ts/native/methods.gen.ts`, and the classes around the WebAssembly module
//! (`ts/wasm/glue.gen.ts` and `methods.gen.ts`).
//!
//! - A function is a method of the object that its file is about if its first parameter is that
//!   object; otherwise it is a function of the library.
//! - `Result` is thrown. [`Heavy`] is a result that takes long: the method has two forms, a promise
//!   (in Node it is computed on another thread) and one whose name ends in `Sync`.
//! - A parameter `abort: &AbortFlag` is what the form with a promise is aborted by.
//! - Types of parameters and results are those of the table in `crates/xtask/src/methods/types.rs`.

pub mod generation;
pub mod library;
pub mod model;
pub mod optimizer;
pub mod reader;
pub mod tensor;

/// A result that takes long, see the documentation of this module.
pub type Heavy<T> = crate::Result<T>;

/// A result that contains tensors: `{"$tensor": i}` in the JSON refers to `tensors[i]`.
pub struct Reply {
    /// The result as JSON.
    pub json: String,
    /// The tensors to which the JSON refers.
    pub tensors: Vec<xt_core::Tensor>,
}
