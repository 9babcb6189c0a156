//! Operations without inputs.

use super::args::{need, sizes, OpArgs};
use crate::{parse_device, Context, Error, Result};
use xt_autograd::ops;
use xt_core::{Array, DType, Device, ScalarType, Tensor};
use xt_kernels::memory::alloc;

/// Operations without inputs, which create a tensor.
pub(super) fn create(name: &str, args: &OpArgs, context: &Context) -> Result<Tensor> {
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
