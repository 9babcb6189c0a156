//! Normalisation of each row by its length: `y = x / max(|x| · scale, eps) · gain`, or
//! `y = x / sqrt((|x| · scale)² + eps) · gain`.
//!
//! Shapes: `x` and `y` are (.., dim), the optional `gain` is (dim).
//!
//! RMSNorm has the scale dim^-0.5, ScaleNorm has the scale 1, and l2 normalisation has the scale 1
//! and no gain. PyTorch's RMSNorm adds eps.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_uninit, build_uninit_map, nth_chunk, rows_per_piece};
use crate::host::simd::{sum_by, sum_by2, write_sum};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
use crate::ops::reduce::sum_vectors;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// The settings of the divisor `max(|x| · scale, eps)`.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Factor of the length of a row.
    pub scale: f64,
    /// Smallest divisor.
    pub eps: f64,
    /// The divisor is `sqrt((|x| · scale)² + eps)` instead.
    pub added: bool,
}

/// The divisor of each row, (.., 1).
fn divisor(x: &HostArray, s: Scale) -> HostResult<HostArray> {
    let squares = x.sqr()?.sum_keepdim(x.rank() - 1)?;
    match s.added {
        true => squares.affine(s.scale * s.scale, s.eps)?.sqrt(),
        false => (squares.sqrt()? * s.scale)?.maximum(s.eps),
    }
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    x: Array,
    gain: Option<Array>,
    scale: Scale,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    x: Array,
    gain: Option<Array>,
    grad: Array,
    /// Gradient of the residual connection around the norm, of the shape of `x`.
    residual_grad: Option<Array>,
    scale: Scale,
}

/// The gradients of the input, (.., dim), and of the gain, (dim).
type Gradients = (Array, Option<Array>);

arrays! {
    Forward { x, gain }
    Backward { x, gain, grad, residual_grad }
}

/// Checks that the gain has one element per feature.
fn check(x: &Array, gain: Option<&Array>) -> Result<()> {
    match gain {
        Some(gain) if Some(&gain.elem_count()) != x.dims().last() => {
            bail!("{} gains for rows of {:?}", gain.elem_count(), x.dims())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
const SCALES: [Scale; 4] = [
    Scale { scale: 0.3, eps: 1e-8, added: false },
    Scale { scale: 1.0, eps: 1e-5, added: false },
    Scale { scale: 1.0, eps: 4.0, added: false },
    Scale { scale: 0.3, eps: 0.2, added: true },
];
#[cfg(test)]
const SIZES: [&[usize]; 5] = [&[2, 3, 24], &[1, 1], &[300, 33], &[0, 3], &[7]];

impl Kernel for Forward {
    const NAME: &'static str = "scale_norm";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.x, self.gain.as_ref())
    }

    fn reference(&self) -> Result<Array> {
        let x = self.x.host()?;
        let y = x.broadcast_div(&divisor(x, self.scale)?)?;
        match &self.gain {
            Some(gain) => Ok(y.broadcast_mul(gain.host()?)?.into()),
            None => Ok(y.into()),
        }
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        forward_cpu::<T>(&self.x, self.gain.as_ref(), self.scale)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let Scale { scale, eps, added } = self.scale;
        cuda::forward(&self.x, self.gain.as_ref(), (scale, eps, added), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dims: &[usize]| {
            let gain = normal64(&dims[dims.len() - 1..], 2);
            let with = |gain: Option<Array>| {
                SCALES.map(|scale| Self { x: normal64(dims, 1), gain: gain.clone(), scale })
            };
            [with(None), with(Some(gain))].concat()
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "scale_norm backward";
    type Out = Gradients;

    fn check(&self) -> Result<()> {
        host::check_like(&self.x, [Some(&self.grad), self.residual_grad.as_ref()])?;
        check(&self.x, self.gain.as_ref())
    }

    fn reference(&self) -> Result<Gradients> {
        let (x, grad, s) = (self.x.host()?, self.grad.host()?, self.scale);
        let last = x.rank() - 1;
        let by = divisor(x, s)?;
        let y = x.broadcast_div(&by)?;
        let weighted = match &self.gain {
            Some(gain) => grad.broadcast_mul(gain.host()?)?,
            None => grad.clone(),
        };
        // Rows that reach the smallest divisor are divided by a constant.
        let free = if s.added { by.ones_like()? } else { by.gt(s.eps)?.to_dtype(x.dtype())? };
        let dot = ((&weighted * &y)?.sum_keepdim(last)? * (s.scale * s.scale))?.mul(&free)?;
        let dx = (weighted - y.broadcast_mul(&dot)?)?.broadcast_div(&by)?;
        let dx = match &self.residual_grad {
            Some(residual_grad) => (dx + residual_grad.host()?)?,
            None => dx,
        };
        let dgain = match self.gain {
            Some(_) => Some((grad * &y)?.reshape(host::rows_and_width(&self.x))?.sum(0)?.into()),
            None => None,
        };
        Ok((dx.into(), dgain))
    }

    fn cpu<T: Blas>(&self) -> Result<Gradients> {
        backward_cpu::<T>(
            &self.x,
            self.gain.as_ref(),
            &self.grad,
            self.residual_grad.as_ref(),
            self.scale,
        )
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Gradients> {
        let grads = (&self.grad, self.residual_grad.as_ref());
        let Scale { scale, eps, added } = self.scale;
        cuda::backward(&self.x, self.gain.as_ref(), grads, (scale, eps, added), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dims: &[usize]| {
            let gain = Some(normal64(&dims[dims.len() - 1..], 2));
            let residual_grad = Some(normal64(dims, 4));
            let both = [
                (None, None),
                (gain.clone(), None),
                (None, residual_grad.clone()),
                (gain, residual_grad),
            ];
            let with = |(gain, residual_grad): (Option<Array>, Option<Array>)| {
                SCALES.map(|scale| {
                    let (gain, residual_grad) = (gain.clone(), residual_grad.clone());
                    Self {
                        x: normal64(dims, 1),
                        gain,
                        grad: normal64(dims, 3),
                        residual_grad,
                        scale,
                    }
                })
            };
            both.into_iter().flat_map(with).collect::<Vec<_>>()
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

/// Normalises each row of `x`, (.., dim); `gain` is (dim).
///
/// # Errors
/// If the gain does not have dim elements.
pub fn forward(x: &Array, gain: Option<&Array>, scale: Scale) -> Result<Array> {
    run(&Forward { x: x.clone(), gain: gain.cloned(), scale })
}

/// Computes the gradients of the input, (.., dim), and of the gain, (dim), from the input `x` and
/// `grad`, the gradient of the output. If the input is also used around the norm, as by a residual
/// connection, `residual_grad` is the gradient from that path, and is added to the gradient of the
/// input.
///
/// # Errors
/// If the shapes do not fit together.
pub fn backward(
    x: &Array,
    gain: Option<&Array>,
    grad: &Array,
    residual_grad: Option<&Array>,
    scale: Scale,
) -> Result<Gradients> {
    run(&Backward {
        x: x.clone(),
        gain: gain.cloned(),
        grad: grad.clone(),
        residual_grad: residual_grad.cloned(),
        scale,
    })
}

/// The gain of each feature; 1 if there is none.
fn gains<T: Real>(gain: Option<&Array>, width: usize) -> Result<Vec<T>> {
    gain.map_or_else(|| Ok(vec![T::ONE; width]), host::to_vec::<T>)
}

/// CPU kernel of [`forward`].
fn forward_cpu<T: Real>(x: &Array, gain: Option<&Array>, s: Scale) -> Result<Array> {
    let x = contiguous(x)?;
    let (_, width) = host::rows_and_width(&x);
    let gain = gains::<T>(gain, width)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let block = rows_per_piece(width) * width;
    // SAFETY: each piece consists of whole rows, and `forward_rows` writes every element of each
    // row.
    let y = unsafe {
        build_uninit(xs.len(), block, |piece, y| {
            forward_rows(nth_chunk(xs, piece, block), &gain, s, y)
        })
    }?;
    host::array(y, x.dims())
}

#[simd]
fn forward_rows<T: Real>(x: &[T], gain: &[T], s: Scale, y: &mut [MaybeUninit<T>]) {
    let width = gain.len().max(1);
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let factor = T::ONE / row_divisor(x, s).0;
        for i in 0..width {
            y[i] = MaybeUninit::new(x[i] * factor * gain[i]);
        }
    }
}

/// The divisor of a row, and whether it is the smallest divisor.
#[inline(always)]
fn row_divisor<T: Real>(x: &[T], s: Scale) -> (T, bool) {
    let squares = sum_by(x, |v| v * v);
    if s.added {
        return ((squares * T::of(s.scale * s.scale) + T::of(s.eps)).sqrt(), false);
    }
    let length = squares.sqrt() * T::of(s.scale);
    let least = T::of(s.eps);
    // With this order of the branches, NaN propagates.
    if length <= least {
        (least, true)
    } else {
        (length, false)
    }
}

/// CPU kernel of [`backward`].
fn backward_cpu<T: Real>(
    x: &Array,
    gain: Option<&Array>,
    grad: &Array,
    residual_grad: Option<&Array>,
    s: Scale,
) -> Result<Gradients> {
    let (x, grad) = (contiguous(x)?, contiguous(grad)?);
    let residual_grad = residual_grad.map(contiguous).transpose()?;
    let (_, width) = host::rows_and_width(&x);
    let gain_values = gains::<T>(gain, width)?;
    let (xs, gs) = (host::slice::<T>(&x)?, host::slice::<T>(&grad)?);
    let (xs, gs): (&[T], &[T]) = (&xs, &gs);
    let residual_grad = residual_grad.as_ref().map(host::slice::<T>).transpose()?;
    let residual_grad: Option<&[T]> = residual_grad.as_deref();
    let block = rows_per_piece(width) * width;
    let write = |piece: usize, dx: &mut [MaybeUninit<T>]| {
        let mut dgain = vec![T::ZERO; width];
        let residual_grad =
            residual_grad.map(|residual_grad| nth_chunk(residual_grad, piece, block));
        backward_rows(
            nth_chunk(xs, piece, block),
            &gain_values,
            (nth_chunk(gs, piece, block), residual_grad),
            s,
            dx,
            &mut dgain,
        );
        dgain
    };
    // SAFETY: each piece consists of whole rows, and `backward_rows` writes every element of each
    // row.
    let (dx, partial_sums) = unsafe { build_uninit_map(xs.len(), block, write) }?;
    let dgain = gain.map(|_| host::array(sum_vectors(partial_sums, width), width)).transpose()?;
    Ok((host::array(dx, x.dims())?, dgain))
}

/// Writes the gradient of some rows to `dx`, and adds their contribution to the gradient of the
/// gain, `dgain`.
#[simd]
fn backward_rows<T: Real>(
    x: &[T],
    gain: &[T],
    (grad, residual_grad): (&[T], Option<&[T]>),
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
        let dot = if least {
            T::ZERO
        } else {
            sum_by2(&weighted, x, |a, b| a * b) * factor * T::of(s.scale * s.scale)
        };
        let values =
            weighted.iter().zip(x).map(|(weighted, x)| (*weighted - *x * factor * dot) * factor);
        write_sum(
            dx,
            values,
            residual_grad.map(|residual_grad| nth_chunk(residual_grad, row, width)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, device, f64s, gradcheck, normal, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-5);
        assert_matches_reference::<Backward>(1e-4);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let of = |dims: &[usize], seed| on_device(&f64s(&normal(dims, seed)));
        let (x, gain, g) = (of(&[3, 7], 1), of(&[7], 2), of(&[3, 7], 3));
        for s in SCALES {
            let (dx, dgain) = backward(&x, Some(&gain), &g, None, s).unwrap();
            gradcheck(&x, &g, &dx, |x| forward(&on_device(x), Some(&gain), s).unwrap());
            gradcheck(&gain, &g, &dgain.unwrap(), |gain| {
                forward(&x, Some(&on_device(gain)), s).unwrap()
            });
        }
    }

    #[test]
    fn gains_of_another_width_are_errors() {
        let (x, short) = (on_device(&normal(&[2, 7], 1)), on_device(&normal(&[6], 2)));
        assert!(forward(&x, Some(&short), SCALES[0]).is_err());
        assert!(backward(&x, Some(&short), &x, None, SCALES[0]).is_err());
        assert!(backward(&x, None, &short, None, SCALES[0]).is_err());
        assert!(backward(&x, None, &x, Some(&short), SCALES[0]).is_err());
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        let x = Array::zeros((1, 4), crate::DType::F32, &device()).unwrap();
        assert_eq!(forward(&x, None, SCALES[1]).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 4]]);
    }
}
