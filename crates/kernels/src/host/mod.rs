//! Building blocks of the CPU kernels: element types, access to values, threads, SIMD loops and
//! matrix products.

pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod math;
pub mod parallel;
mod real;
pub(crate) mod scratch;
pub(crate) mod simd;
mod values;

pub use real::Real;
#[cfg(feature = "cuda")]
pub(crate) use values::with_bytes;
pub(crate) use values::with_width;
pub use values::{
    accumulation_dtype, array, check_like, epsilon, rows_and_width, slice, strided, to_vec,
    via_f32_if_half, Slice,
};
