//! Matrix products on the CPU (gemm).

pub(crate) mod blas;
pub(crate) mod f32;
pub(crate) mod jobs;
pub(crate) mod product;
pub(crate) mod view;
