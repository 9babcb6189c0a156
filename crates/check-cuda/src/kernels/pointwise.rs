//! Cases of kernels that compute each element by itself.

use super::inputs::{Inputs, ALL};
use crate::error::Result;
use half::{bf16, f16};
use xt_core::{Array, DType};
use xt_kernels::ops::activation::Activation;
use xt_kernels::ops::compare::Comparison;
use xt_kernels::ops::elementwise::{Binary, Unary};
use xt_kernels::ops::gru::GruArgs;
use xt_kernels::ops::{
    activation as act, compare as cmp, convert, elementwise, glu as gated, gru as gates, in_place,
};
use xt_kernels::philox::Stream;

const KINDS: [Activation; 7] = [
    Activation::Gelu,
    Activation::Silu,
    Activation::Relu,
    Activation::ReluSquared,
    Activation::Sigmoid,
    Activation::GeluTanh,
    Activation::QuickGelu,
];

fn dims(of: &Inputs) -> [usize; 2] {
    [of.size(1031, 13), of.size(4099, 37)]
}

pub fn unary(of: &Inputs) -> Result<Vec<Array>> {
    let (x, positive) = (of.normal(&dims(of), 1)?, of.floats(&dims(of), 2, |x| x.abs() + 0.01)?);
    let mut all = Vec::new();
    let whole = [Unary::Round, Unary::Floor, Unary::Ceil];
    let smooth = [Unary::Neg, Unary::Square, Unary::Exp, Unary::Tanh, Unary::Sin, Unary::Cos];
    for op in smooth.into_iter().chain(whole) {
        all.push(elementwise::unary(&x, op)?);
    }
    for op in [Unary::Sqrt, Unary::Log] {
        all.push(elementwise::unary(&positive, op)?);
    }
    Ok(all)
}

pub fn lerp(of: &Inputs) -> Result<Vec<Array>> {
    let (a, b) = (of.normal(&dims(of), 1)?, of.normal(&dims(of), 2)?);
    Ok(vec![elementwise::lerp(&a, &b, 0.25)?, elementwise::clamp(&a, -0.5, 0.5)?])
}

pub fn absolute(of: &Inputs) -> Result<Vec<Array>> {
    let x = of.any(&dims(of), 100, 1)?;
    Ok(vec![elementwise::unary(&x, Unary::Abs)?, elementwise::unary(&x, Unary::Sign)?])
}

pub fn binary(of: &Inputs) -> Result<Vec<Array>> {
    let [n, m] = dims(of);
    let (a, b) = (of.any(&[n, m], 10, 1)?, of.any(&[n, m], 10, 2)?);
    let (row, column) = (of.any(&[m], 10, 3)?, of.any(&[n, 1], 10, 4)?);
    let mut all = Vec::new();
    for op in [Binary::Add, Binary::Mul, Binary::Max, Binary::Min] {
        all.push(elementwise::binary(&a, &b, op)?);
        all.push(elementwise::binary(&a, &row, op)?);
        all.push(elementwise::binary(&column, &b.t()?.t()?, op)?);
    }
    if of.dtype.is_float() {
        all.push(elementwise::sub(&a, &b)?);
        let far = of.floats(&[n, m], 5, |x| x.signum() * (x.abs() + 0.5))?;
        all.push(elementwise::div(&a, &far)?);
    }
    Ok(all)
}

pub fn affine(of: &Inputs) -> Result<Vec<Array>> {
    Ok(vec![elementwise::affine(&of.any(&dims(of), 10, 1)?.t()?, 3.0, 2.0)?])
}

pub fn activation(of: &Inputs) -> Result<Vec<Array>> {
    let (x, grad) = (of.normal(&dims(of), 1)?, of.normal(&dims(of), 2)?);
    let mut all = Vec::new();
    for kind in KINDS {
        all.extend([act::forward(&x, kind)?, act::backward(&x, &grad, kind)?]);
    }
    Ok(all)
}

pub fn glu(of: &Inputs) -> Result<Vec<Array>> {
    let [n, m] = dims(of);
    let (x, grad) = (of.normal(&[n, 2 * m], 1)?, of.normal(&[n, m], 2)?);
    let mut all = Vec::new();
    for kind in KINDS {
        all.extend([gated::forward(&x, kind)?, gated::backward(&x, &grad, kind)?]);
    }
    Ok(all)
}

pub fn gru(of: &Inputs) -> Result<Vec<Array>> {
    let [n, m] = dims(of);
    let (input, hidden) = (of.normal(&[n, 3 * m], 1)?, of.normal(&[n, 3 * m], 2)?);
    let (state, grad) = (of.normal(&[n, m], 3)?, of.normal(&[n, m], 4)?);
    let args = GruArgs { input, hidden, state };
    let mut all = vec![gates::forward(&args)?];
    all.extend(gates::backward(&args, &grad)?);
    Ok(all)
}

pub fn dropout(of: &Inputs) -> Result<Vec<Array>> {
    let x = of.normal(&dims(of), 1)?;
    let stream = Stream { seed: 7, call: 1 << 40, draw: 3 };
    let all = [0.0, 0.1, 1.0].map(|p| xt_kernels::ops::dropout::dropout(&x, p, stream));
    Ok(all.into_iter().collect::<xt_kernels::Result<_>>()?)
}

pub fn compare(of: &Inputs) -> Result<Vec<Array>> {
    let [n, m] = dims(of);
    let (a, b) = (of.any(&[n, m], 4, 1)?, of.any(&[m], 4, 2)?);
    let ops = [
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Le,
        Comparison::Gt,
        Comparison::Ge,
    ];
    Ok(ops.into_iter().map(|op| cmp::compare(&a, &b, op)).collect::<xt_kernels::Result<_>>()?)
}

pub fn select(of: &Inputs) -> Result<Vec<Array>> {
    let condition = of.mask(&dims(of), 3)?;
    let (yes, no) = (of.any(&dims(of), 100, 1)?, of.any(&dims(of), 100, 2)?);
    Ok(vec![condition.where_cond(&yes, &no)?])
}

/// Numbers that a u8 holds, converted to each dtype that `to` selects.
fn casts(of: &Inputs, to: fn(&DType) -> bool) -> Result<Vec<Array>> {
    let x = match of.dtype.is_float() {
        true => of.floats(&dims(of), 1, |x| x.abs() * 20.0)?,
        false => of.any(&dims(of), 100, 1)?,
    };
    let all = ALL.iter().copied().filter(to).map(|dtype| x.to_dtype(dtype));
    Ok(all.collect::<xt_kernels::Result<_>>()?)
}

fn is_half(dtype: &DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

pub fn cast(of: &Inputs) -> Result<Vec<Array>> {
    casts(of, |dtype| !is_half(dtype))
}

/// The CPU rounds some numbers close to the middle of two others differently from f64 and f32.
pub fn cast_to_half(of: &Inputs) -> Result<Vec<Array>> {
    casts(of, is_half)
}

pub fn to_integer(of: &Inputs) -> Result<Vec<Array>> {
    let x = of.floats(&dims(of), 1, |x| 1000.0 * x)?;
    Ok(vec![convert::to_integer(&x, DType::I64)?, convert::to_integer(&x, DType::U8)?])
}

pub fn fill(of: &Inputs) -> Result<Vec<Array>> {
    let (dtype, device) = (of.dtype, &of.device);
    let count = of.size(100, 50);
    let range = match dtype {
        DType::F32 => Array::arange(0.0f32, count as f32, device)?,
        DType::F64 => Array::arange(0.0f64, count as f64, device)?,
        DType::I64 => Array::arange(0i64, count as i64, device)?,
        DType::U32 => Array::arange(0u32, count as u32, device)?,
        DType::U8 => Array::arange(0u8, count as u8, device)?,
        DType::F16 => Array::arange(f16::ZERO, f16::from_f64(count as f64), device)?,
        DType::BF16 => Array::arange(bf16::ZERO, bf16::from_f64(count as f64), device)?,
        other => return Err(format!("there is no range of {other:?}").into()),
    };
    let ones = Array::ones(&dims(of), dtype, device)?;
    Ok(vec![range, ones, Array::zeros(&dims(of), dtype, device)?])
}

pub fn add_in_place(of: &Inputs) -> Result<Vec<Array>> {
    let (sum, more) = (of.normal(&dims(of), 1)?, of.normal(&dims(of), 2)?);
    in_place::add(&sum, &more)?;
    Ok(vec![sum])
}
