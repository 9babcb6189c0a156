//! Cases of all kernels, on large and odd sizes. A case computes the same on the GPU in its dtype,
//! and on the CPU in f64 from the same rounded inputs.

mod attention;
pub mod compare;
pub mod huge;
mod inputs;
mod losses;
mod optimizers;
mod pointwise;
mod products;
mod rows;
mod views;

pub use inputs::Inputs;
use inputs::ALL;

use crate::error::Result;
use xt_core::{Array, DType};

/// A case of one or several kernels.
pub struct Case {
    /// The name.
    pub name: &'static str,
    /// The dtypes of its inputs.
    pub dtypes: &'static [DType],
    /// How far results in f32 may be off, relative to the largest number of an array.
    pub f32: f64,
    /// Makes the inputs and computes the results.
    pub run: fn(&Inputs) -> Result<Vec<Array>>,
}

impl Case {
    /// How far results may be off. In half precision, results are rounded, some of them twice.
    pub fn tolerance(&self, dtype: DType) -> f64 {
        match dtype {
            _ if self.f32 == 0.0 || self.f32 == TO_HALF => self.f32,
            DType::F16 => 1e-2,
            DType::BF16 => 8e-2,
            DType::F64 => 1e-6 * self.f32,
            _ => self.f32,
        }
    }
}

const FLOATS: &[DType] = &[DType::F32, DType::F64, DType::F16, DType::BF16];
const WIDE: &[DType] = &[DType::F32, DType::F64];

/// The tolerance of sums, whose order differs.
const SUMS: f64 = 3e-5;
/// The tolerance of results in 16 bits, whatever the inputs are.
const TO_HALF: f64 = 5e-3;
/// The tolerance of single operations.
const ROUNDED: f64 = 1e-6;

const fn case(
    name: &'static str,
    dtypes: &'static [DType],
    f32: f64,
    run: fn(&Inputs) -> Result<Vec<Array>>,
) -> Case {
    Case { name, dtypes, f32, run }
}

/// All cases.
pub const CASES: &[Case] = &[
    case("unary", FLOATS, ROUNDED, pointwise::unary),
    case("absolute value and sign", ALL, 0.0, pointwise::absolute),
    case("binary", ALL, ROUNDED, pointwise::binary),
    case("affine", ALL, ROUNDED, pointwise::affine),
    case("lerp and clamp", FLOATS, ROUNDED, pointwise::lerp),
    case("activation", FLOATS, 3e-6, pointwise::activation),
    case("glu", FLOATS, 3e-6, pointwise::glu),
    case("gru", FLOATS, 3e-6, pointwise::gru),
    case("dropout", FLOATS, ROUNDED, pointwise::dropout),
    case("compare", ALL, 0.0, pointwise::compare),
    case("select", ALL, 0.0, pointwise::select),
    case("cast", ALL, 1e-7, pointwise::cast),
    case("cast to 16 bits", ALL, TO_HALF, pointwise::cast_to_half),
    case("to_integer", FLOATS, 0.0, pointwise::to_integer),
    case("fill", ALL, 0.0, pointwise::fill),
    case("add in place", WIDE, ROUNDED, pointwise::add_in_place),
    case("copy", ALL, 0.0, views::copy),
    case("cat, pad and slice_set", ALL, 0.0, views::join),
    case("index_select and gather", ALL, 0.0, views::take),
    case("scatter_add", ALL, SUMS, views::scatter_add),
    case("token_shift", FLOATS, 0.0, views::token_shift),
    case("sum", ALL, SUMS, rows::sum),
    case("extremes", ALL, 0.0, rows::extremes),
    case("argsort", ALL, 0.0, rows::sort),
    case("cumsum", ALL, SUMS, rows::running_sums),
    case("softmax", FLOATS, SUMS, rows::softmax),
    case("layer_norm", FLOATS, SUMS, rows::layer_norm),
    case("scale_norm", FLOATS, SUMS, rows::scale_norm),
    case("rotary", FLOATS, ROUNDED, rows::rotary),
    case("sparse top k", FLOATS, 0.0, rows::sparse_topk),
    case("matmul", FLOATS, SUMS, products::matmul),
    case("linear", FLOATS, SUMS, products::linear),
    case("feedforward", FLOATS, SUMS, products::feedforward),
    case("attention", FLOATS, SUMS, attention::attention),
    case("distances", FLOATS, SUMS, attention::distances),
    case("embedding", FLOATS, SUMS, losses::embedding),
    case("cross_entropy", FLOATS, SUMS, losses::cross_entropy),
    case("linear_cross_entropy", FLOATS, SUMS, losses::linear_cross_entropy),
    case("optimizers in place", WIDE, SUMS, optimizers::in_place),
    case("optimizers", FLOATS, SUMS, optimizers::out_of_place),
    case("muon", FLOATS, SUMS, optimizers::muon),
    case("adafactor", FLOATS, SUMS, optimizers::adafactor),
    case("sum of squares", FLOATS, SUMS, optimizers::sum_of_squares),
];
