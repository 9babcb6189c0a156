//! Tensor operations by name.

mod create;
mod families;

use crate::{parse, Context, Error, Result};
use create::create;
use families::FAMILIES;
use serde::Deserialize;
use xt_core::{with_grad, DType, Tensor};
use xt_kernels::memory::alloc;

/// The union of the arguments of all operations; each operation reads its own.
#[derive(Deserialize)]
struct OpArgs {
    shape: Option<Vec<u64>>,
    dtype: Option<String>,
    device: Option<String>,
    dim: Option<usize>,
    dims: Option<Vec<usize>>,
    keepdim: Option<bool>,
    scalar: Option<Scalar>,
    value: Option<Scalar>,
    start: Option<f64>,
    end: Option<f64>,
    step: Option<f64>,
    low: Option<i64>,
    high: Option<i64>,
    ignore_index: Option<i64>,
    min: Option<Scalar>,
    max: Option<Scalar>,
    p: Option<Scalar>,
    correction: Option<f64>,
    diagonal: Option<i64>,
    k: Option<usize>,
    descending: Option<bool>,
    thres: Option<f64>,
    min_p_pow: Option<f64>,
    min_p_ratio: Option<f64>,
}

/// A number. JSON has no NaN and infinities, so these are strings.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(f64),
    Named(String),
}

impl Scalar {
    fn value(&self) -> Result<f64> {
        match self {
            Self::Number(value) => Ok(*value),
            Self::Named(name) => {
                name.parse().map_err(|_| Error::Internal(format!("`{name}` is no number")))
            }
        }
    }
}

/// Operations whose result has the size of their input, and whose kernels do not check whether
/// memory suffices.
const AS_LARGE: [&str; 22] = [
    "neg",
    "exp",
    "log",
    "sqrt",
    "abs",
    "tanh",
    "logical_not",
    "softmax",
    "log_softmax",
    "cast",
    "sin",
    "cos",
    "sign",
    "square",
    "reciprocal",
    "rsqrt",
    "round",
    "floor",
    "ceil",
    "isnan",
    "isinf",
    "isfinite",
];

/// Operations that copy their input to f64, or have an f64 intermediate result.
const WIDE: [&str; 3] = ["top_k", "top_p", "top_a"];

/// Runs the operation `name` on `inputs`; `args` is a JSON object.
pub fn op(name: &str, inputs: &[Tensor], args: &str, context: &Context) -> Result<Tensor> {
    let args: OpArgs = parse(args)?;
    with_grad(context.grad, || match inputs {
        [] => create(name, &args, context),
        [x, rest @ ..] => {
            if AS_LARGE.contains(&name) {
                alloc::check_on(&x.device(), x.dims(), x.dtype())?;
            }
            if WIDE.contains(&name) {
                alloc::check_on(&x.device(), &[x.elem_count(), 2], DType::F64)?;
            }
            for family in FAMILIES {
                if let Some(result) = family(name, x, rest, &args)? {
                    return Ok(result);
                }
            }
            Err(Error::Internal(format!(
                "there is no operation {name} of {} tensors",
                inputs.len()
            )))
        }
    })
}

/// The argument `value`, or an error that `name` is missing.
fn need<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| Error::Internal(format!("{name} is missing")))
}

/// Converts lengths of axes to `usize`; an error if one does not fit.
fn sizes(wide: &[u64]) -> Result<Vec<usize>> {
    let too_long =
        |d: &u64| Error::Shape(format!("an axis of {d} is longer than what can be addressed here"));
    wide.iter().map(|d| usize::try_from(*d).map_err(|_| too_long(d))).collect()
}
