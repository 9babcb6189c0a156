//! Tensor operations by name.

use crate::{parse, parse_device, Context, Error, Result};
use serde::Deserialize;
use xt_autograd::ops::{self, Activation, Comparison, CrossEntropy};
use xt_core::generation::{top_a, top_k, top_p};
use xt_core::{with_grad, Array, DType, Device, ScalarType, Tensor};
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
    label_smoothing: Option<f64>,
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
const AS_LARGE: [&str; 10] =
    ["neg", "exp", "log", "sqrt", "abs", "tanh", "logical_not", "softmax", "log_softmax", "cast"];

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
            for family in [unary, binary, reduction, shape, other] {
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

/// Operations without inputs, which create a tensor.
fn create(name: &str, args: &OpArgs, context: &Context) -> Result<Tensor> {
    let wide = args.shape.clone().unwrap_or_default();
    let kind = ScalarType::parse(args.dtype.as_deref().unwrap_or("f32"))?;
    let device = parse_device(args.device.as_deref().unwrap_or("cpu"))?;
    // zeros and ones are created in their type, all others as f64; random numbers are drawn on the
    // CPU, so that they are the same for all devices
    let made_as = if matches!(name, "zeros" | "ones") { kind.dtype() } else { DType::F64 };
    let made_there = matches!(name, "zeros" | "ones" | "full" | "scalar");
    let made_on = if made_there { &device } else { &Device::Cpu };
    alloc::check_wide_on(made_on, &wide, made_as)?;
    let shape = sizes(&wide)?;
    check_values(name, kind, args)?;
    let count: usize = shape.iter().product();
    let stream = || context.rng().stream();
    let array = match name {
        "zeros" => Array::zeros(shape.as_slice(), made_as, made_on)?,
        "ones" => Array::ones(shape.as_slice(), made_as, made_on)?,
        "full" | "scalar" => Array::full(filling(args)?, shape.as_slice(), made_on)?,
        "rand" => Array::from_vec(
            below_one(stream().uniform(count), kind),
            shape.as_slice(),
            &Device::Cpu,
        )?,
        "randn" => Array::from_vec(stream().normal(count), shape.as_slice(), &Device::Cpu)?,
        "randint" => {
            let (low, high) = (need(args.low, "low")?, need(args.high, "high")?);
            let range =
                high.checked_sub(low).filter(|r| *r > 0).and_then(|r| u64::try_from(r).ok());
            let range = range.ok_or_else(|| {
                Error::Shape(format!("randint needs low < high, got {low} and {high}"))
            })?;
            let values: Vec<i64> =
                stream().below(range, count).into_iter().map(|v| low + v as i64).collect();
            Array::from_vec(values, shape.as_slice(), &Device::Cpu)?
        }
        "arange" => arange(args)?,
        _ => return Err(Error::Internal(format!("there is no way {name} to make a tensor"))),
    };
    let made = ops::cast(&Tensor::constant(array), kind.dtype(), kind == ScalarType::Bool)?;
    Ok(ops::to_device(&made, &device)?)
}

/// Returns an error if the type cannot represent the values that `name` would create.
fn check_values(name: &str, kind: ScalarType, args: &OpArgs) -> Result<()> {
    if matches!(name, "rand" | "randn") && !kind.is_float() {
        let message =
            format!("{name} gives fractions, which {} does not hold: take randint", kind.name());
        return Err(Error::Shape(message));
    }
    if name == "full" && kind.is_float() {
        return check_range(filling(args)?, kind);
    }
    let all: &[Option<f64>] = match name {
        "full" | "scalar" if !kind.is_float() => &[Some(filling(args)?)],
        "randint" => &[args.low.map(|low| low as f64), args.high.map(|high| high as f64 - 1.0)],
        "arange" if !kind.is_float() => &[args.start, last_of_range(args)],
        _ => &[],
    };
    Ok(all.iter().flatten().try_for_each(|value| kind.check_integer(*value, name))?)
}

/// The fill value of `full`.
fn filling(args: &OpArgs) -> Result<f64> {
    need(args.value.as_ref(), "value")?.value()
}

/// Returns an error if a finite value would become infinite in this type.
fn check_range(value: f64, kind: ScalarType) -> Result<()> {
    let largest = match kind {
        ScalarType::F32 => f64::from(f32::MAX),
        ScalarType::F16 => 65504.0,
        ScalarType::BF16 => 3.389_531_389_251_535_5e38,
        _ => f64::MAX,
    };
    if value.is_finite() && value.abs() > largest {
        let message = format!(
            "full: {value} is beyond the numbers of {}, which end at {largest}",
            kind.name()
        );
        return Err(Error::Shape(message));
    }
    Ok(())
}

/// The last element of `arange`, unless it is empty.
fn last_of_range(args: &OpArgs) -> Option<f64> {
    let (start, end, step) = (args.start?, args.end?, args.step.unwrap_or(1.0));
    let count = ((end - start) / step).ceil();
    (count >= 1.0 && count.is_finite()).then_some(start + step * (count - 1.0))
}

/// Rounds values in [0, 1) down to the precision of a half-precision type, so that none is rounded
/// up to 1.
fn below_one(mut values: Vec<f64>, kind: ScalarType) -> Vec<f64> {
    let steps = match kind {
        ScalarType::F16 => 2048.0,
        ScalarType::BF16 => 256.0,
        _ => return values,
    };
    values.iter_mut().for_each(|x| *x = (*x * steps).floor() / steps);
    values
}

/// Converts lengths of axes to `usize`; an error if one does not fit.
fn sizes(wide: &[u64]) -> Result<Vec<usize>> {
    let too_long =
        |d: &u64| Error::Shape(format!("an axis of {d} is longer than what can be addressed here"));
    wide.iter().map(|d| usize::try_from(*d).map_err(|_| too_long(d))).collect()
}

/// The values from `start` to `end`, exclusive, in steps of `step`, as f64.
fn arange(args: &OpArgs) -> Result<Array> {
    let (start, end) = (need(args.start, "start")?, need(args.end, "end")?);
    let step = args.step.unwrap_or(1.0);
    let count = ((end - start) / step).ceil().max(0.0);
    if step == 0.0 || !count.is_finite() {
        return Err(Error::Shape(format!(
            "arange from {start} to {end} in steps of {step} has no end"
        )));
    }
    alloc::check_wide(&[count as u64], DType::F64)?;
    let values: Vec<f64> = (0..count as usize).map(|i| start + step * i as f64).collect();
    Ok(Array::from_vec(values, count as usize, &Device::Cpu)?)
}

/// The result of a family of operations; `None` if the operation is not one of the family.
type Found = Result<Option<Tensor>>;

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
    if !["sum", "mean", "max", "min", "argmax"].contains(&name) {
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
    check_reduced(name, x, dims, args.dim)?;
    Ok(Some(match name {
        "sum" => ops::sum(x, dims, keep)?,
        "mean" => ops::mean(x, dims, keep)?,
        "max" => ops::max(x, dims, keep)?,
        "min" => ops::min(x, dims, keep)?,
        "argmax" => ops::argmax(x, need(args.dim, "dim")?, keep)?,
        "softmax" => ops::softmax(x, need(args.dim, "dim")?)?,
        "log_softmax" => ops::log_softmax(x, need(args.dim, "dim")?)?,
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
            ops::cross_entropy(x, targets, CrossEntropy { ignore_index, label_smoothing })?
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
