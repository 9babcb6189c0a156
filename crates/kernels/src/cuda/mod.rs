//! NVIDIA GPUs, through the driver's library alone: it is loaded at run time, if there is one.
//!
//! Each GPU has one context and one stream, whichever thread calls. Work on it is done in the order
//! of the calls; a download waits for all earlier work.

mod array;
mod axes;
mod buffer;
mod cublas;
mod driver;
mod failure;
mod flag;
mod gpu;
mod launch;
mod modules;

pub use array::Array;
pub(crate) use axes::Axes;
pub use cublas::cublas_lt;
pub use driver::{status, GpuInfo, Status};
pub use gpu::{gpu, open_gpus, Gpu};
pub(crate) use launch::{kernel_args, Args};
pub use modules::kernels;
pub(crate) use modules::Name;
