//! The attribute [`macro@simd`] of the CPU kernels.

use proc_macro::TokenStream;

/// Compiles a function for each of the instruction sets below and for the baseline. The best
/// version that the processor supports is selected at run time.
///
/// The attribute stands for [`multiversion`](https://docs.rs/multiversion) with these targets. It
/// is a macro because `multiversion` accepts only literals, and no constant, as targets. The crate
/// that uses it must depend on `multiversion`.
#[proc_macro_attribute]
pub fn simd(arguments: TokenStream, function: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return error("`simd` takes no arguments");
    }
    let attribute = r#"#[::multiversion::multiversion(targets(
        "x86_64+avx512f+avx512bw+avx512dq+avx512vl",
        "x86_64+avx2+fma"
    ))]"#;
    match attribute.parse::<TokenStream>() {
        Ok(mut tokens) => {
            tokens.extend(function);
            tokens
        }
        Err(problem) => error(&problem.to_string()),
    }
}

/// A compile error with this message.
fn error(message: &str) -> TokenStream {
    format!("compile_error!({message:?});").parse().unwrap_or_default()
}
