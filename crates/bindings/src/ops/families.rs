//! Operations on tensors, one function for each family.

use super::args::{need, sizes, OpArgs, Scalar};
use crate::{parse_device, Result};
use xt_autograd::ops::{self, Activation, Comparison, Unary};
use xt_core::generation::{top_a, top_k, top_p};
use xt_core::{DType, ScalarType, Tensor};
use xt_kernels::memory::alloc;

/// The result of a family of operations; `None` if the operation is not one of the family.
type Found = Result<Option<Tensor>>;

/// A family: it takes the name, the first input, the others, and the arguments.
type Family = fn(&str, &Tensor, &[Tensor], &OpArgs) -> Found;

/// All families.
pub(super) const FAMILIES: [Family; 6] = [unary, binary, reduction, order, shape, other];

fn unary(name: &str, x: &Tensor, _rest: &[Tensor], _args: &OpArgs) -> Found {
    Ok(Some(match name {
        "neg" => ops::neg(x)?,
        "exp" => ops::exp(x)?,
        "log" => ops::log(x)?,
        "sqrt" => ops::sqrt(x)?,
        "abs" => ops::abs(x)?,
        "tanh" => ops::tanh(x)?,
        "sigmoid" => ops::activation(x, Activation::Sigmoid)?,
        "relu" => ops::activation(x, Activation::Relu)?,
        "gelu" => ops::activation(x, Activation::Gelu)?,
        "silu" => ops::activation(x, Activation::Silu)?,
        "logical_not" => ops::logical_not(x)?,
        "sin" => ops::sin(x)?,
        "cos" => ops::cos(x)?,
        "sign" => ops::sign(x)?,
        "square" => ops::square(x)?,
        "reciprocal" => ops::reciprocal(x)?,
        "rsqrt" => ops::rsqrt(x)?,
        "round" => ops::rounded(x, Unary::Round)?,
        "floor" => ops::rounded(x, Unary::Floor)?,
        "ceil" => ops::rounded(x, Unary::Ceil)?,
        "isnan" => ops::is_nan(x)?,
        "isinf" => ops::is_infinite(x)?,
        "isfinite" => ops::is_finite(x)?,
        "clone" => ops::copy(x)?,
        _ => return Ok(None),
    }))
}

fn binary(name: &str, x: &Tensor, rest: &[Tensor], args: &OpArgs) -> Found {
    if let Some(how) = comparison(name) {
        return Ok(Some(match (rest.first(), &args.scalar) {
            (Some(y), _) => ops::compare(x, y, how)?,
            (None, value) => ops::compare_with(x, need(value.as_ref(), "scalar")?.value()?, how)?,
        }));
    }
    let run: fn(&Tensor, &Tensor) -> xt_autograd::Result<Tensor> = match name {
        "add" => ops::add,
        "sub" => ops::sub,
        "mul" => ops::mul,
        "div" => ops::div,
        "pow" => ops::pow,
        "maximum" => ops::maximum,
        "minimum" => ops::minimum,
        _ => return Ok(None),
    };
    if let Some(y) = rest.first() {
        return Ok(Some(run(x, y)?));
    }
    let value = need(args.scalar.as_ref(), "scalar")?.value()?;
    Ok(Some(ops::with_scalar(x, value, name == "div", run)?))
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" => Comparison::Eq,
        "ne" => Comparison::Ne,
        "lt" => Comparison::Lt,
        "le" => Comparison::Le,
        "gt" => Comparison::Gt,
        "ge" => Comparison::Ge,
        _ => return None,
    })
}

/// Returns an error if memory does not suffice for a reduction: for its result, and for a
/// conversion of its type.
fn check_reduced(name: &str, x: &Tensor, dims: Option<&[usize]>, dim: Option<usize>) -> Result<()> {
    const REDUCTIONS: [&str; 12] = [
        "sum", "mean", "max", "min", "argmax", "argmin", "prod", "std", "var", "norm", "any", "all",
    ];
    if !REDUCTIONS.contains(&name) {
        return Ok(());
    }
    let gone = |axis: &usize| {
        dim == Some(*axis) || dim.is_none() && dims.is_none_or(|dims| dims.contains(axis))
    };
    let left: usize = (0..x.rank()).filter(|axis| !gone(axis)).map(|axis| x.dim(axis)).product();
    Ok(alloc::check_on(&x.device(), &[left, 2], DType::F64)?)
}

fn reduction(name: &str, x: &Tensor, _rest: &[Tensor], args: &OpArgs) -> Found {
    let (dims, keep) = (args.dims.as_deref(), args.keepdim.unwrap_or(false));
    let correction = args.correction.unwrap_or(1.0);
    check_reduced(name, x, dims, args.dim)?;
    Ok(Some(match name {
        "sum" => ops::sum(x, dims, keep)?,
        "mean" => ops::mean(x, dims, keep)?,
        "max" => ops::max(x, dims, keep)?,
        "min" => ops::min(x, dims, keep)?,
        "argmax" => ops::argmax(x, need(args.dim, "dim")?, keep)?,
        "argmin" => ops::argmin(x, need(args.dim, "dim")?, keep)?,
        "prod" => ops::product(x, dims, keep)?,
        "std" => ops::std(x, dims, correction, keep)?,
        "var" => ops::var(x, dims, correction, keep)?,
        "norm" => ops::norm(x, dims, need(args.p.as_ref(), "p")?.value()?, keep)?,
        "any" => ops::any(x, dims, keep)?,
        "all" => ops::all(x, dims, keep)?,
        "softmax" => ops::softmax(x, need(args.dim, "dim")?)?,
        "log_softmax" => ops::log_softmax(x, need(args.dim, "dim")?)?,
        _ => return Ok(None),
    }))
}

/// What depends on the order or the position of elements.
fn order(name: &str, x: &Tensor, rest: &[Tensor], args: &OpArgs) -> Found {
    let value = |of: &Option<Scalar>| of.as_ref().map(Scalar::value).transpose();
    let diagonal = args.diagonal.unwrap_or(0);
    Ok(Some(match (name, rest) {
        ("argsort", []) => {
            let (dim, k) = (need(args.dim, "dim")?, need(args.k, "k")?);
            ops::argsort(x, dim, k, args.descending.unwrap_or(false))?
        }
        ("cumsum", []) => ops::cumsum(x, need(args.dim, "dim")?)?,
        ("clamp", []) => ops::clamp(x, value(&args.min)?, value(&args.max)?)?,
        ("masked_fill", [mask]) => {
            ops::masked_fill(x, mask, need(args.value.as_ref(), "value")?.value()?)?
        }
        ("tril", []) => ops::triangle(x, diagonal, true)?,
        ("triu", []) => ops::triangle(x, diagonal, false)?,
        ("outer", [y]) => ops::outer(x, y)?,
        ("flip", []) => ops::flip(x, &need(args.dims.clone(), "dims")?)?,
        ("repeat", []) => ops::repeat(x, &sizes(&need(args.shape.clone(), "shape")?)?)?,
        ("expand", []) => ops::broadcast_to(x, &sizes(&need(args.shape.clone(), "shape")?)?)?,
        ("select", []) => {
            let (dim, index) = (need(args.dim, "dim")?, need(args.start, "start")? as usize);
            let one = ops::narrow(x, dim, index, 1)?;
            let left = one.dims().iter().enumerate().filter(|(axis, _)| *axis != dim);
            ops::reshape(&one, &left.map(|(_, size)| *size).collect::<Vec<_>>())?
        }
        _ => return Ok(None),
    }))
}

fn shape(name: &str, x: &Tensor, rest: &[Tensor], args: &OpArgs) -> Found {
    let all = || [x].into_iter().chain(rest).collect::<Vec<_>>();
    Ok(Some(match name {
        "reshape" => ops::reshape(x, &sizes(&need(args.shape.clone(), "shape")?)?)?,
        "permute" => ops::permute(x, &need(args.dims.clone(), "dims")?)?,
        "slice" => {
            let (start, end) =
                (need(args.start, "start")? as usize, need(args.end, "end")? as usize);
            ops::narrow(x, need(args.dim, "dim")?, start, end.saturating_sub(start))?
        }
        "cat" => ops::cat(&all(), need(args.dim, "dim")?)?,
        "stack" => ops::stack(&all(), need(args.dim, "dim")?)?,
        "cast" => {
            let kind = ScalarType::parse(&need(args.dtype.clone(), "dtype")?)?;
            ops::cast(x, kind.dtype(), kind == ScalarType::Bool)?
        }
        "to_device" => ops::to_device(x, &parse_device(&need(args.device.clone(), "device")?)?)?,
        _ => return Ok(None),
    }))
}

fn other(name: &str, x: &Tensor, rest: &[Tensor], args: &OpArgs) -> Found {
    Ok(Some(match (name, rest) {
        ("matmul", [y]) => ops::matmul(x, y, 1.0)?,
        ("cross_entropy", [targets]) => {
            let ignore_index = args.ignore_index.unwrap_or(-100);
            let label_smoothing = args.label_smoothing.unwrap_or(0.0);
            ops::cross_entropy(x, targets, ops::CrossEntropy { ignore_index, label_smoothing })?
        }
        ("mse", [y]) => ops::mse(x, y)?,
        ("gather", [index]) => ops::gather(x, index, need(args.dim, "dim")?)?,
        ("where", [a, b]) => ops::where_cond(x, a, b)?,
        ("top_k", []) => top_k(x, need(args.thres, "thres")?)?,
        ("top_p", []) => top_p(x, need(args.thres, "thres")?)?,
        ("top_a", []) => {
            top_a(x, need(args.min_p_pow, "min_p_pow")?, need(args.min_p_ratio, "min_p_ratio")?)?
        }
        _ => return Ok(None),
    }))
}
