//! A step of Muon, made of other operations, on every device. PyTorch runs the Newton–Schulz
//! iteration in bf16; here it runs in the type of the weight, and in f32 for half precision.
//!
//! Source: <https://kellerjordan.github.io/posts/muon/>; rates by shape also from Muon is Scalable
//! for LLM Training, <https://arxiv.org/abs/2502.16982>.

use super::arrays::wide;
use crate::error::bail;
use crate::ops::elementwise::{add, affine, binary, div, mul, scalar, sub, unary, Binary, Unary};
use crate::ops::matmul::matmul;
use crate::{Array, DType, Result};

/// Settings of one step of Muon.
#[derive(Clone, Copy, Debug)]
pub struct Muon {
    /// Learning rate, before it is adjusted to the shape of the matrix.
    pub lr: f64,
    /// Weight decay coefficient; weight decay shrinks the weights directly.
    pub weight_decay: f64,
    /// Share of the old mean of the gradient in the new one.
    pub momentum: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// Coefficients of the Newton–Schulz iteration.
    pub coefficients: [f64; 3],
    /// The least norm that the iteration divides by.
    pub eps: f64,
    /// Number of steps of the iteration.
    pub steps: usize,
    /// How the rate follows the shape of the matrix.
    pub adjust: AdjustLr,
}

/// How the learning rate follows the shape of a matrix (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdjustLr {
    /// `sqrt(max(1, rows / columns))` times.
    Original,
    /// `0.2 · sqrt(max(rows, columns))` times: an update is as large as one of AdamW.
    MatchRmsAdamW,
    /// `sqrt(rows / columns)` times.
    SpectralUnclamped,
}

impl Muon {
    /// The learning rate for a matrix (rows, columns).
    fn rate(&self, rows: usize, columns: usize) -> f64 {
        let (rows, columns) = (rows as f64, columns.max(1) as f64);
        match self.adjust {
            AdjustLr::Original => self.lr * (rows / columns).max(1.0).sqrt(),
            AdjustLr::MatchRmsAdamW => self.lr * 0.2 * rows.max(columns).sqrt(),
            AdjustLr::SpectralUnclamped => self.lr * (rows / columns).sqrt(),
        }
    }
}

/// The new weight and the new momentum buffer of a matrix. `grad` is multiplied by `factor` first.
///
/// # Errors
/// If the weight is no matrix, or gradient and buffer have another shape.
pub fn muon([weight, grad, buffer]: [&Array; 3], factor: f64, s: &Muon) -> Result<(Array, Array)> {
    let (rows, columns) = weight.dims2()?;
    if [grad, buffer].iter().any(|array| array.dims() != weight.dims()) {
        let [grad, buffer] = [grad, buffer].map(Array::dims);
        bail!("a gradient {grad:?} and a buffer {buffer:?} for a matrix {:?}", weight.dims());
    }
    let dtype = weight.dtype();
    if matches!(dtype, DType::F16 | DType::BF16) {
        let [weight, grad, buffer] = wide([weight, grad, buffer])?;
        let (weight, buffer) = muon([&weight, &grad, &buffer], factor, s)?;
        return Ok((weight.to_dtype(dtype)?, buffer.to_dtype(dtype)?));
    }
    let (direction, buffer) = moved(grad, buffer, factor, s)?;
    // the iteration multiplies by x xᵀ, which is smaller for a wide matrix
    let update = match rows > columns {
        true => orthogonalize(direction.t()?, s)?.t()?,
        false => orthogonalize(direction, s)?,
    };
    let weight = affine(weight, 1.0 - s.lr * s.weight_decay, 0.0)?;
    Ok((sub(&weight, &affine(&update, s.rate(rows, columns), 0.0)?)?, buffer))
}

/// The direction of the update, before it is made orthogonal, and the moved buffer.
fn moved(grad: &Array, buffer: &Array, factor: f64, s: &Muon) -> Result<(Array, Array)> {
    let grad = affine(grad, factor * (1.0 - s.momentum), 0.0)?;
    let buffer = add(&affine(buffer, s.momentum, 0.0)?, &grad)?;
    let direction = match s.nesterov {
        true => add(&grad, &affine(&buffer, s.momentum, 0.0)?)?,
        false => buffer.clone(),
    };
    Ok((direction, buffer))
}

/// The nearest matrix with orthonormal rows, approximately: the Newton–Schulz iteration
/// `x ← a x + (b x xᵀ + c (x xᵀ)²) x` moves all singular values into about 0.7 to 1.2. It takes
/// `x`, whose memory is free during the iteration then.
fn orthogonalize(mut x: Array, s: &Muon) -> Result<Array> {
    let [a, b, c] = s.coefficients;
    let norm = unary(&mul(&x, &x)?.sum_all()?, Unary::Sqrt)?;
    // of norm 1 at most: the iteration converges for singular values up to 1
    x = div(&x, &binary(&norm, &scalar(s.eps, &x)?, Binary::Max)?)?;
    for _ in 0..s.steps {
        let polynomial = {
            let gram = matmul(&x, &x.t()?, 1.0)?;
            add(&affine(&gram, b, 0.0)?, &matmul(&gram, &gram, c)?)?
        };
        x = add(&affine(&x, a, 0.0)?, &matmul(&polynomial, &x, 1.0)?)?;
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, f64s, normal64, on_device, values};

    const SETTINGS: Muon = Muon {
        lr: 0.1,
        weight_decay: 0.5,
        momentum: 0.9,
        nesterov: true,
        coefficients: [3.4445, -4.775, 2.0315],
        eps: 1e-7,
        steps: 5,
        adjust: AdjustLr::Original,
    };

    /// A product of row-major matrices (n, k) and (k, m).
    fn product(a: &[f64], b: &[f64], [n, k, m]: [usize; 3]) -> Vec<f64> {
        let of = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * m + j]).sum();
        (0..n * m).map(|at| of(at / m, at % m)).collect()
    }

    fn transposed(x: &[f64], [n, m]: [usize; 2]) -> Vec<f64> {
        (0..n * m).map(|at| x[at % n * m + at / n]).collect()
    }

    /// The published loop, number by number, without the transposition of tall matrices: the
    /// iteration has the same result on either side.
    fn by_hand(x: &[f64], [n, m]: [usize; 2], s: &Muon) -> Vec<f64> {
        let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt().max(s.eps);
        let mut x: Vec<f64> = x.iter().map(|v| v / norm).collect();
        let [a, b, c] = s.coefficients;
        for _ in 0..s.steps {
            let gram = product(&x, &transposed(&x, [n, m]), [n, m, n]);
            let square = product(&gram, &gram, [n, n, n]);
            let inner: Vec<f64> = gram.iter().zip(&square).map(|(g, q)| b * g + c * q).collect();
            let more = product(&inner, &x, [n, n, m]);
            x = x.iter().zip(&more).map(|(v, w)| a * v + w).collect();
        }
        x
    }

    fn expected(arrays: [&Array; 3], dims: [usize; 2], factor: f64, s: &Muon) -> [Vec<f64>; 2] {
        let [weight, grad, buffer] = arrays.map(|array| values(&f64s(array)));
        let grad: Vec<f64> = grad.iter().map(|g| g * factor).collect();
        let lerp = |a: f64, b: f64, t: f64| a + t * (b - a);
        let both = buffer.iter().zip(&grad);
        let buffer: Vec<f64> = both.map(|(b, g)| lerp(*b, *g, 1.0 - s.momentum)).collect();
        let both = grad.iter().zip(&buffer);
        let ahead: Vec<f64> = both.map(|(g, b)| lerp(*g, *b, s.momentum)).collect();
        let update = by_hand(if s.nesterov { &ahead } else { &buffer }, dims, s);
        let [n, m] = dims.map(|n| n as f64);
        let ratio = match s.adjust {
            AdjustLr::Original => (n / m).max(1.0).sqrt(),
            AdjustLr::MatchRmsAdamW => 0.2 * n.max(m).sqrt(),
            AdjustLr::SpectralUnclamped => (n / m).sqrt(),
        };
        let step = |(w, u): (&f64, f64)| w * (1.0 - s.lr * s.weight_decay) - s.lr * ratio * u;
        [weight.iter().zip(update).map(step).collect(), buffer]
    }

    #[test]
    fn a_step_equals_the_published_loop() {
        let other = Muon { steps: 2, coefficients: [2.0, -1.5, 0.5], ..SETTINGS };
        let cases = [
            SETTINGS,
            Muon { nesterov: false, ..SETTINGS },
            Muon { adjust: AdjustLr::MatchRmsAdamW, ..other },
            Muon { eps: 1e3, adjust: AdjustLr::SpectralUnclamped, ..SETTINGS },
        ];
        for dims in [[3, 7], [7, 3], [40, 40], [1, 1], [5, 1], [200, 33]] {
            let of = |seed| on_device(&normal64(&dims, seed));
            let arrays = [of(1), of(2), of(3)];
            for (s, factor) in cases.iter().zip([1.0, 0.3, 1.0, 2.0]) {
                let [weight, buffer] = expected(arrays.each_ref(), dims, factor, s);
                for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 2e-5)] {
                    let own = arrays.each_ref().map(|array| array.to_dtype(dtype).unwrap());
                    let got = muon(own.each_ref(), factor, s).unwrap();
                    for (got, want) in [(&got.0, &weight), (&got.1, &buffer)] {
                        let want = Array::from_slice(want, got.shape(), &got.device()).unwrap();
                        assert_close(got, &want, tolerance);
                    }
                }
            }
        }
    }

    #[test]
    fn the_update_is_nearly_orthogonal() {
        let x = on_device(&normal64(&[16, 30], 1));
        let update = orthogonalize(x, &SETTINGS).unwrap();
        let gram = values(&matmul(&update, &update.t().unwrap(), 1.0).unwrap());
        let trace: f64 = (0..16).map(|i| gram[17 * i]).sum();
        // squares of singular values between 0.7 and 1.2
        assert!((0.7..1.3).contains(&(trace / 16.0)), "{trace}");
    }

    #[test]
    fn a_gradient_of_zeros_only_shrinks_the_weights() {
        let weight = on_device(&normal64(&[3, 5], 1));
        let zeros = weight.zeros_like().unwrap();
        let (new, buffer) = muon([&weight, &zeros, &zeros], 1.0, &SETTINGS).unwrap();
        assert_close(&new, &affine(&weight, 0.95, 0.0).unwrap(), 1e-12);
        assert_close(&buffer, &zeros, 0.0);
    }

    #[test]
    fn half_precision_is_computed_in_f32() {
        let half = |seed| on_device(&normal64(&[9, 4], seed)).to_dtype(DType::BF16).unwrap();
        let arrays = [half(1), half(2), half(3)];
        let single = arrays.each_ref().map(|array| array.to_dtype(DType::F32).unwrap());
        let (got, want) = (
            muon(arrays.each_ref(), 0.5, &SETTINGS).unwrap(),
            muon(single.each_ref(), 0.5, &SETTINGS).unwrap(),
        );
        for (got, want) in [(got.0, want.0), (got.1, want.1)] {
            assert_eq!(got.dtype(), DType::BF16);
            assert_close(&got, &want.to_dtype(DType::BF16).unwrap(), 0.0);
        }
    }

    #[test]
    fn what_is_no_matrix_is_an_error() {
        let of = |dims: &[usize]| on_device(&normal64(dims, 1));
        for (weight, other) in [(of(&[4]), of(&[4])), (of(&[2, 3]), of(&[3, 2]))] {
            assert!(muon([&weight, &other, &other], 1.0, &SETTINGS).is_err());
        }
    }
}
