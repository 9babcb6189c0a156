//! Tensor operations by name.

mod args;
mod create;
mod families;

use crate::{parse, Context, Error, Result};
use args::OpArgs;
use create::create;
use families::FAMILIES;
use xt_core::{with_grad, DType, Tensor};
use xt_kernels::memory::alloc;

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
