//! A step of Adafactor, made of other operations, on every device.
//!
//! Source: Adafactor: Adaptive Learning Rates with Sublinear Memory Cost,
//! <https://arxiv.org/abs/1804.04235>; as in PyTorch.

use super::arrays::wide;
use super::second::Second;
use crate::error::bail;
use crate::host::epsilon;
use crate::ops::elementwise::{affine, binary, div, lerp, mul, scalar, sub, unary, Binary, Unary};
use crate::ops::reduce::sum;
use crate::{Array, DType, Result};

/// Settings of one step of Adafactor.
#[derive(Clone, Copy, Debug)]
pub struct Adafactor {
    /// The largest relative step size.
    pub lr: f64,
    /// Exponent by which the decay rate of the second moment grows with the steps.
    pub beta2_decay: f64,
    /// The least root of the second moment; that of the dtype if `None`.
    pub eps1: Option<f64>,
    /// The least root mean square of the weights that the step size is relative to.
    pub eps2: f64,
    /// The largest root mean square of an update.
    pub d: f64,
    /// Weight decay coefficient; weight decay shrinks the weights directly.
    pub weight_decay: f64,
    /// Number of this step, starting at 1.
    pub step: u64,
}

/// The new weight and the new second moment. `grad` is multiplied by `factor` first.
///
/// # Errors
/// If gradient or moment do not fit the weight.
pub fn adafactor(
    [weight, grad]: [&Array; 2],
    factor: f64,
    second: &Second,
    s: &Adafactor,
) -> Result<(Array, Second)> {
    let given: Vec<_> = second.arrays().iter().map(|array| array.dims().to_vec()).collect();
    if grad.dims() != weight.dims() || given != Second::shapes(weight.dims()) {
        bail!("a gradient {:?} and moments {given:?} for {:?}", grad.dims(), weight.dims());
    }
    let dtype = weight.dtype();
    let eps1 = s.eps1.unwrap_or_else(|| epsilon(dtype));
    if matches!(dtype, DType::F16 | DType::BF16) {
        let [weight, grad] = wide([weight, grad])?;
        let s = Adafactor { eps1: Some(eps1), ..*s };
        let (weight, second) = adafactor([&weight, &grad], factor, &second.in_f32()?, &s)?;
        return Ok((weight.to_dtype(dtype)?, second.to_dtype(dtype)?));
    }
    let grad = affine(grad, factor, 0.0)?;
    let second = moved(second, &mul(&grad, &grad)?, (s.step as f64).powf(s.beta2_decay))?;
    let root = unary(&at_least(&estimate(&second, eps1)?, eps1 * eps1)?, Unary::Sqrt)?;
    let update = div(&grad, &root)?;
    // relative to the size of the weights, and of an update that is too large less
    let rate = affine(&at_least(&rms(weight)?, s.eps2)?, s.relative_rate(), 0.0)?;
    let limit = at_least(&affine(&rms(&update)?, 1.0 / s.d, 0.0)?, 1.0)?;
    let shrunk = affine(weight, 1.0 - s.lr * s.weight_decay, 0.0)?;
    Ok((sub(&shrunk, &mul(&update, &div(&rate, &limit)?)?)?, second))
}

impl Adafactor {
    /// The step size relative to the weights.
    fn relative_rate(&self) -> f64 {
        self.lr.min(1.0 / (self.step as f64).sqrt())
    }
}

fn at_least(x: &Array, least: f64) -> Result<Array> {
    binary(x, &scalar(least, x)?, Binary::Max)
}

/// The mean over an axis, which is kept with size 1.
fn mean(x: &Array, axis: usize) -> Result<Array> {
    affine(&sum(x, &[axis])?, 1.0 / x.dim(axis)?.max(1) as f64, 0.0)
}

/// The root mean square of all elements, a scalar.
fn rms(x: &Array) -> Result<Array> {
    let squares = mul(x, x)?.sum_all()?;
    unary(&affine(&squares, 1.0 / x.elem_count().max(1) as f64, 0.0)?, Unary::Sqrt)
}

/// The running means, moved by the share `t` towards `squares`.
fn moved(second: &Second, squares: &Array, t: f64) -> Result<Second> {
    let rank = squares.rank();
    Ok(match second {
        Second::Full(variance) => Second::Full(lerp(variance, squares, t)?),
        Second::Factored { row, column } => Second::Factored {
            row: lerp(row, &mean(squares, rank - 1)?, t)?,
            column: lerp(column, &mean(squares, rank - 2)?, t)?,
        },
    })
}

/// The second moment of each element: the product of the means of its row and its column over the
/// mean of all rows.
fn estimate(second: &Second, eps1: f64) -> Result<Array> {
    match second {
        Second::Full(variance) => Ok(variance.clone()),
        Second::Factored { row, column } => {
            let all = at_least(&mean(row, row.rank() - 2)?, eps1)?;
            mul(&div(row, &all)?, column)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, normal64, on_device, values};

    const SETTINGS: Adafactor = Adafactor {
        lr: 0.01,
        beta2_decay: -0.8,
        eps1: None,
        eps2: 1e-3,
        d: 1.0,
        weight_decay: 0.0,
        step: 1,
    };

    fn zeros(dims: &[usize]) -> Second {
        Second::zeros(&on_device(&normal64(dims, 1))).unwrap()
    }

    /// The loop of PyTorch's documentation for a matrix (n, m), number by number.
    struct ByHand {
        row: Vec<f64>,
        column: Vec<f64>,
    }

    impl ByHand {
        fn step(&mut self, w: &[f64], g: &[f64], s: &Adafactor, eps1: f64) -> Vec<f64> {
            let (n, m) = (self.row.len(), self.column.len());
            let t = s.step as f64;
            let share = t.powf(s.beta2_decay);
            let root_mean =
                |x: &[f64]| (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64).sqrt();
            let alpha = root_mean(w).max(s.eps2) * s.lr.min(1.0 / t.sqrt());
            for (i, row) in self.row.iter_mut().enumerate() {
                let square: f64 = (0..m).map(|j| g[i * m + j].powi(2)).sum::<f64>() / m as f64;
                *row += share * (square - *row);
            }
            for (j, column) in self.column.iter_mut().enumerate() {
                let square: f64 = (0..n).map(|i| g[i * m + j].powi(2)).sum::<f64>() / n as f64;
                *column += share * (square - *column);
            }
            let all = (self.row.iter().sum::<f64>() / n as f64).max(eps1);
            let variance = |at: usize| self.row[at / m] * self.column[at % m] / all;
            let update: Vec<f64> =
                (0..n * m).map(|at| g[at] / variance(at).max(eps1 * eps1).sqrt()).collect();
            let denominator = (root_mean(&update) / s.d).max(1.0);
            let shrink = 1.0 - s.lr * s.weight_decay;
            w.iter().zip(&update).map(|(w, u)| w * shrink - alpha / denominator * u).collect()
        }
    }

    #[test]
    fn steps_equal_the_published_loop() {
        let cases = [
            SETTINGS,
            Adafactor { lr: 0.9, weight_decay: 0.2, ..SETTINGS },
            Adafactor { beta2_decay: -0.5, eps1: Some(0.5), eps2: 3.0, d: 0.3, ..SETTINGS },
        ];
        for dims in [[3, 7], [40, 5], [1, 1]] {
            for s in cases {
                let start = on_device(&normal64(&dims, 1));
                let mut hand = ByHand { row: vec![0.0; dims[0]], column: vec![0.0; dims[1]] };
                let (mut want, mut weight) = (values(&start), start.clone());
                let mut second = zeros(&dims);
                for step in 1..4 {
                    let s = Adafactor { step, ..s };
                    let grad = on_device(&normal64(&dims, 10 + step));
                    let scaled: Vec<f64> = values(&grad).iter().map(|g| 0.5 * g).collect();
                    want = hand.step(&want, &scaled, &s, s.eps1.unwrap_or(f64::EPSILON));
                    (weight, second) = adafactor([&weight, &grad], 0.5, &second, &s).unwrap();
                    let want = Array::from_slice(&want, weight.shape(), &weight.device()).unwrap();
                    assert_close(&weight, &want, 1e-9);
                }
            }
        }
    }

    #[test]
    fn vectors_and_scalars_have_a_moment_of_each_element() {
        for dims in [&[4][..], &[]] {
            let (w, g) = (on_device(&normal64(dims, 1)), on_device(&normal64(dims, 2)));
            let s = Adafactor { d: 1e9, ..SETTINGS };
            let (new, second) = adafactor([&w, &g], 1.0, &zeros(dims), &s).unwrap();
            assert!(matches!(&second, Second::Full(v) if v.dims() == dims));
            // the first update is the sign of the gradient
            let size = values(&rms(&w).unwrap())[0].max(1e-3);
            for ((new, w), g) in values(&new).iter().zip(values(&w)).zip(values(&g)) {
                assert!((new - (w - 0.01 * size * g.signum())).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn batches_of_matrices_are_factored_one_by_one() {
        let dims = [2, 3, 4];
        let (w, g) = (on_device(&normal64(&dims, 1)), on_device(&normal64(&dims, 2)));
        let (_, second) = adafactor([&w, &g], 1.0, &zeros(&dims), &SETTINGS).unwrap();
        let Second::Factored { row, column } = &second else { panic!("not factored") };
        assert_eq!((row.dims(), column.dims()), (&[2, 3, 1][..], &[2, 1, 4][..]));
        let got = estimate(&second, 1e-30).unwrap();
        for b in 0..2 {
            let part = |x: &Array| crate::ops::layout::narrow(x, 0, b, 1).unwrap();
            let one = Second::Factored { row: part(row), column: part(column) };
            assert_close(&part(&got), &estimate(&one, 1e-30).unwrap(), 1e-12);
        }
    }

    #[test]
    fn no_gradient_and_no_elements_give_no_nan_and_wrong_shapes_are_errors() {
        for dims in [[2, 3], [0, 3], [2, 0]] {
            let w = on_device(&normal64(&dims, 1));
            let zero = w.zeros_like().unwrap();
            let (new, _) = adafactor([&w, &zero], 1.0, &zeros(&dims), &SETTINGS).unwrap();
            assert_close(&new, &w, 0.0);
        }
        let w = on_device(&normal64(&[2, 3], 1));
        assert!(adafactor([&w, &w], 1.0, &zeros(&[3, 2]), &SETTINGS).is_err());
        assert!(adafactor([&w, &w.t().unwrap()], 1.0, &zeros(&[2, 3]), &SETTINGS).is_err());
    }

    #[test]
    fn half_precision_is_computed_in_f32() {
        let dims = [9, 4];
        let half = |seed| on_device(&normal64(&dims, seed)).to_dtype(DType::F16).unwrap();
        let (w, g) = (half(1), half(2));
        let second = zeros(&dims).to_dtype(DType::F16).unwrap();
        let s = Adafactor { eps1: Some(1e-3), ..SETTINGS };
        let (got, _) = adafactor([&w, &g], 1.0, &second, &s).unwrap();
        let single = [&w, &g].map(|array| array.to_dtype(DType::F32).unwrap());
        let (want, _) = adafactor(single.each_ref(), 1.0, &second.in_f32().unwrap(), &s).unwrap();
        assert_eq!(got.dtype(), DType::F16);
        assert_close(&got, &want.to_dtype(DType::F16).unwrap(), 0.0);
    }
}
