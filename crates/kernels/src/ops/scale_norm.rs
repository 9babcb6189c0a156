//! Division of each row by its length: `y = x / max(|x| · scale, eps) · gain`.
//!
//! Shapes: `x`, `y` are (.., dim), `gain` (dim) where there is one. RMSNorm has the scale dim^-0.5, ScaleNorm 1, and l2
//! normalisation 1 without a gain.

use crate::host::parallel::{part, rows_per_piece, written, written_with};
use crate::host::simd::{sum_by, sum_by2, write_sum};
use crate::host::{self, dispatch, Real};
use crate::ops::layout::contiguous;
use crate::ops::reduce::sum_vectors;
use crate::{Array, Result};
use multiversion::multiversion;
use std::mem::MaybeUninit;

/// The factor of the length, and the least divisor.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub scale: f64,
    pub eps: f64,
}

/// The divisor of each row, (.., 1), on candle's own operations.
fn divisor(x: &Array, s: Scale) -> Result<Array> {
    (x.sqr()?.sum_keepdim(x.rank() - 1)?.sqrt()? * s.scale)?.maximum(s.eps)
}

/// The norm on candle's own operations.
pub fn reference(x: &Array, gain: Option<&Array>, s: Scale) -> Result<Array> {
    let y = x.broadcast_div(&divisor(x, s)?)?;
    gain.map_or_else(|| Ok(y.clone()), |gain| y.broadcast_mul(gain))
}

/// The norm of each row.
pub fn forward(x: &Array, gain: Option<&Array>, s: Scale) -> Result<Array> {
    dispatch!(x, T => forward_cpu::<T>(x, gain, s), else reference(x, gain, s))
}

/// A number for each of a row.
fn gains<T: Real>(gain: Option<&Array>, width: usize) -> Result<Vec<T>> {
    let gains = gain.map_or_else(|| Ok(vec![T::ONE; width]), |gain| gain.contiguous()?.to_vec1::<T>())?;
    if gains.len() != width {
        candle_core::bail!("{} gains for rows of {width}", gains.len());
    }
    Ok(gains)
}

fn forward_cpu<T: Real>(x: &Array, gain: Option<&Array>, s: Scale) -> Result<Array> {
    let x = contiguous(x)?;
    let (_, width) = host::rows_and_width(&x);
    let gain = gains::<T>(gain, width)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let block = rows_per_piece(width) * width;
    // SAFETY: rows are whole, and all of each is written.
    let y = unsafe { written(xs.len(), block, |piece, y| forward_rows(part(xs, piece, block), &gain, s, y)) }?;
    host::array(y, x.dims())
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_rows<T: Real>(x: &[T], gain: &[T], s: Scale, y: &mut [MaybeUninit<T>]) {
    let width = gain.len().max(1);
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let factor = T::ONE / row_divisor(x, s).0;
        for i in 0..width {
            y[i] = MaybeUninit::new(x[i] * factor * gain[i]);
        }
    }
}

/// What a row is divided by, and whether that is the least divisor.
#[inline(always)]
fn row_divisor<T: Real>(x: &[T], s: Scale) -> (T, bool) {
    let length = sum_by(x, |v| v * v).sqrt() * T::of(s.scale);
    let least = T::of(s.eps);
    // not `length < least`: NaN goes on
    if length <= least {
        (least, true)
    } else {
        (length, false)
    }
}

/// Gradients of the input and of the gain.
type Gradients = (Array, Option<Array>);

/// The gradients, from the input and the output's gradient. Where the input goes another way too, past the norm, `past` is the gradient from there, which
/// is added to the input's.
pub fn backward(x: &Array, gain: Option<&Array>, grad: &Array, past: Option<&Array>, s: Scale) -> Result<Gradients> {
    dispatch!(x, T => backward_cpu::<T>(x, gain, grad, past, s), else backward_reference(x, gain, grad, past, s))
}

fn backward_reference(
    x: &Array,
    gain: Option<&Array>,
    grad: &Array,
    past: Option<&Array>,
    s: Scale,
) -> Result<Gradients> {
    let last = x.rank() - 1;
    let by = divisor(x, s)?;
    let y = x.broadcast_div(&by)?;
    let weighted = gain.map_or_else(|| Ok(grad.clone()), |gain| grad.broadcast_mul(gain))?;
    // rows at the least divisor are divided by a constant
    let free = by.gt(s.eps)?.to_dtype(x.dtype())?;
    let along = ((&weighted * &y)?.sum_keepdim(last)? * (s.scale * s.scale))?.mul(&free)?;
    let dx = (weighted - y.broadcast_mul(&along)?)?.broadcast_div(&by)?;
    let dx = past.map_or_else(|| Ok(dx.clone()), |past| &dx + past)?;
    let dgain = gain.map(|_| {
        let (rows, width) = host::rows_and_width(x);
        (grad * &y)?.reshape((rows, width))?.sum(0)
    });
    Ok((dx, dgain.transpose()?))
}

fn backward_cpu<T: Real>(
    x: &Array,
    gain: Option<&Array>,
    grad: &Array,
    past: Option<&Array>,
    s: Scale,
) -> Result<Gradients> {
    let (x, grad) = (contiguous(x)?, contiguous(grad)?);
    let past = past.map(contiguous).transpose()?;
    host::check_like(&x, [Some(&grad), past.as_ref()])?;
    let (_, width) = host::rows_and_width(&x);
    let gain_values = gains::<T>(gain, width)?;
    let (xs, gs) = (host::slice::<T>(&x)?, host::slice::<T>(&grad)?);
    let (xs, gs): (&[T], &[T]) = (&xs, &gs);
    let past = past.as_ref().map(host::slice::<T>).transpose()?;
    let past: Option<&[T]> = past.as_deref();
    let block = rows_per_piece(width) * width;
    let write = |piece: usize, dx: &mut [MaybeUninit<T>]| {
        let mut dgain = vec![T::ZERO; width];
        let past = past.map(|past| part(past, piece, block));
        backward_rows(part(xs, piece, block), &gain_values, (part(gs, piece, block), past), s, dx, &mut dgain);
        dgain
    };
    // SAFETY: rows are whole, and all of each is written.
    let (dx, partial) = unsafe { written_with(xs.len(), block, write) }?;
    let dgain = gain.map(|_| host::array(sum_vectors(partial, width), width)).transpose()?;
    Ok((host::array(dx, x.dims())?, dgain))
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_rows<T: Real>(
    x: &[T],
    gain: &[T],
    (grad, past): (&[T], Option<&[T]>),
    s: Scale,
    dx: &mut [MaybeUninit<T>],
    dgain: &mut [T],
) {
    let width = gain.len().max(1);
    let mut weighted = vec![T::ZERO; width];
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for (row, ((x, g), dx)) in rows.enumerate() {
        let (by, least) = row_divisor(x, s);
        let factor = T::ONE / by;
        for i in 0..width {
            weighted[i] = g[i] * gain[i];
            dgain[i] += g[i] * x[i] * factor;
        }
        let along =
            if least { T::ZERO } else { sum_by2(&weighted, x, |a, b| a * b) * factor * T::of(s.scale * s.scale) };
        let values = weighted.iter().zip(x).map(|(weighted, x)| (*weighted - *x * factor * along) * factor);
        write_sum(dx, values, past.map(|past| part(past, row, width)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    const SCALES: [Scale; 3] =
        [Scale { scale: 0.3, eps: 1e-8 }, Scale { scale: 1.0, eps: 1e-5 }, Scale { scale: 1.0, eps: 4.0 }];

    #[test]
    fn equals_the_reference_values_and_gradients() {
        for (dims, s) in
            [vec![2, 3, 24], vec![1, 1], vec![300, 33]].into_iter().flat_map(|d| SCALES.map(|s| (d.clone(), s)))
        {
            let width = dims[dims.len() - 1];
            let (x, gain, g, past) = (normal(&dims, 1), normal(&[width], 2), normal(&dims, 3), normal(&dims, 4));
            for gain in [None, Some(&gain)] {
                close(&forward(&x, gain, s).unwrap(), &reference(&x, gain, s).unwrap(), 1e-5);
                for past in [None, Some(&past)] {
                    let got = backward(&x, gain, &g, past, s).unwrap();
                    let want = backward_reference(&x, gain, &g, past, s).unwrap();
                    close(&got.0, &want.0, 1e-4);
                    assert_eq!(got.1.is_some(), gain.is_some());
                    if let (Some(got), Some(want)) = (got.1, want.1) {
                        close(&got, &want, 1e-5);
                    }
                }
            }
        }
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (x, gain, g) = (f64s(&normal(&[3, 7], 1)), f64s(&normal(&[7], 2)), f64s(&normal(&[3, 7], 3)));
        for s in SCALES {
            let (dx, dgain) = backward(&x, Some(&gain), &g, None, s).unwrap();
            differences(&x, &g, &dx, |x| forward(x, Some(&gain), s).unwrap());
            differences(&gain, &g, &dgain.unwrap(), |gain| forward(&x, Some(gain), s).unwrap());
        }
    }

    #[test]
    fn gains_of_another_width_are_errors() {
        let (x, short) = (normal(&[2, 7], 1), normal(&[6], 2));
        assert!(forward(&x, Some(&short), SCALES[0]).is_err());
        assert!(backward(&x, Some(&short), &x, None, SCALES[0]).is_err());
        assert!(backward(&x, None, &short, None, SCALES[0]).is_err());
        assert!(backward(&x, None, &x, Some(&short), SCALES[0]).is_err());
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        let x = Array::zeros((1, 4), crate::DType::F32, &crate::Device::Cpu).unwrap();
        assert_eq!(forward(&x, None, SCALES[1]).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 4]]);
    }
}
