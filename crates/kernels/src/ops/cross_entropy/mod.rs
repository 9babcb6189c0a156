//! Cross-entropy of logits with target classes, averaged over the targets.
//!
//! Shapes: `logits` is (rows, classes), `targets` is (rows), i64; the loss is a scalar. Targets
//! equal to `ignore_index` are left out of the average. If all targets are ignored, the loss is
//! NaN, as in PyTorch.
//!
//! With label smoothing ε, the probability of the target class is 1 - ε, and ε is spread over all
//! classes: `loss = ln(sum(exp(x))) - (1 - ε) x[target] - ε mean(x)`.
//!
//! Source: Rethinking the Inception Architecture, <https://arxiv.org/abs/1512.00567>.

#[cfg(feature = "cuda")]
mod cuda;
mod settings;

#[cfg(feature = "cuda")]
pub(crate) use cuda::{Rows, Targets};
pub use settings::CrossEntropy;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_zeroed, map, nth_chunk, rows_per_piece};
use crate::host::simd::{has_fma, max, sum_by};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, DType, Device, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// The class of each row, `None` for targets equal to `ignore_index`. The logits have the shape
/// (rows, count).
///
/// # Errors
/// If there is not one target per row, or a target is not a class.
pub(crate) fn classes(
    (rows, count): (usize, usize),
    targets: &Array,
    ignore_index: i64,
) -> Result<Vec<Option<usize>>> {
    // For the targets on the host, and the classes, which are as large.
    crate::memory::alloc::check_like(targets, DType::I64, 2)?;
    let targets: Vec<i64> = host::to_vec(&targets.to_dtype(DType::I64)?.to_device(&Device::Cpu)?)?;
    if targets.len() != rows {
        bail!("{} targets for {rows} rows of logits", targets.len());
    }
    let class = |target: i64| {
        match usize::try_from(target) {
        _ if target == ignore_index => Ok(None),
        Ok(class) if class < count => Ok(Some(class)),
        _ => bail!(
            "target {target} is out of range: the logits have {count} classes, from 0; those that do not count are \
             `ignore_index` ({ignore_index})"
        ),
    }
    };
    targets.into_iter().map(class).collect()
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    logits: Array,
    targets: Array,
    of: CrossEntropy,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    logits: Array,
    targets: Array,
    of: CrossEntropy,
    /// The gradient of the loss, a scalar.
    grad: Array,
}

impl Backward {
    /// The gradient of the loss, which is on the host.
    fn grad(&self) -> Result<f64> {
        self.grad.to_dtype(DType::F64)?.to_scalar()
    }
}

arrays! {
    Forward { logits, targets }
    Backward { logits, targets, grad }
}

/// Checks the targets on the host if the least or the greatest of what was uploaded is known to be
/// out of range; others are checked by the kernel.
#[cfg(feature = "cuda")]
pub(crate) fn check_known(
    (rows, count): (usize, usize),
    targets: &Array,
    ignore_index: i64,
) -> Result<()> {
    let fits = |value| value == ignore_index || (0..count as i64).contains(&value);
    match targets.possible_values() {
        Some((least, most)) if !fits(least) || !fits(most) => {
            classes((rows, count), targets, ignore_index).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Checks that there is one target per row.
fn check(logits: &Array, targets: &Array) -> Result<()> {
    let (rows, _) = logits.dims2()?;
    if targets.elem_count() != rows {
        bail!("{} targets for {rows} rows of logits", targets.elem_count());
    }
    Ok(())
}

/// [`forward`] for host arrays.
pub(crate) fn on_host(
    logits: &HostArray,
    classes: &[Option<usize>],
    smoothing: f64,
) -> HostResult<HostArray> {
    let (rows, targets): (Vec<u32>, Vec<i64>) =
        classes.iter().enumerate().filter_map(|(r, c)| c.map(|c| (r as u32, c as i64))).unzip();
    let (count, device) = (rows.len(), logits.device());
    if count == 0 {
        return HostArray::full(f64::NAN, (), device)?.to_dtype(logits.dtype());
    }
    let rows = HostArray::from_vec(rows, count, device)?;
    let targets = HostArray::from_vec(targets, (count, 1), device)?;
    let logarithms = candle_nn::ops::log_softmax(logits, 1)?.index_select(&rows, 0)?;
    let picked = logarithms.gather(&targets, 1)?.mean_all()?;
    if smoothing == 0.0 {
        return picked.neg();
    }
    ((picked * (1.0 - smoothing))? + (logarithms.mean_all()? * smoothing)?)?.neg()
}

/// [`backward`] for host arrays.
pub(crate) fn backward_on_host(
    logits: &HostArray,
    classes: &[Option<usize>],
    of: CrossEntropy,
    grad: f64,
) -> HostResult<HostArray> {
    let (rows, width) = logits.dims2()?;
    let count = classes.iter().flatten().count() as f64;
    let (own, each) = of.shares(width);
    let mut hot = vec![each; rows * width];
    let mut weight = vec![0f64; rows];
    for (r, class) in classes.iter().enumerate().filter_map(|(r, c)| c.map(|c| (r, c))) {
        hot[r * width + class] += own;
        weight[r] = grad / count;
    }
    let device = logits.device();
    let hot = HostArray::from_vec(hot, (rows, width), device)?.to_dtype(logits.dtype())?;
    let weight = HostArray::from_vec(weight, (rows, 1), device)?.to_dtype(logits.dtype())?;
    (candle_nn::ops::softmax(logits, 1)? - hot)?.broadcast_mul(&weight)
}

#[cfg(test)]
fn targets(values: &[i64]) -> Array {
    Array::from_vec(values.to_vec(), values.len(), &Device::Cpu).unwrap()
}

impl Kernel for Forward {
    const NAME: &'static str = "cross_entropy";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.logits, &self.targets)
    }

    fn reference(&self) -> Result<Array> {
        let classes = classes(self.logits.dims2()?, &self.targets, self.of.ignore_index)?;
        Ok(on_host(self.logits.host()?, &classes, self.of.label_smoothing)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        forward_cpu::<T>(&self.logits, &self.targets, self.of)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        check_known(self.logits.dims2()?, &self.targets, self.of.ignore_index)?;
        cuda::forward(&self.logits, &self.targets, self.of, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(rows, width): (usize, usize)| {
            let ids: Vec<i64> = (0..rows as i64)
                .map(|r| if r % 5 == 2 { -100 } else { r * 7 % width as i64 })
                .collect();
            let logits = crate::testing::map(&normal64(&[rows, width], 1), |x| 4.0 * x);
            [0.0, 0.1, 1.0].map(|label_smoothing| {
                let of = CrossEntropy { ignore_index: -100, label_smoothing };
                Self { logits: logits.clone(), targets: targets(&ids), of }
            })
        };
        [(6, 37), (1, 1), (300, 70)].into_iter().flat_map(of).collect()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "cross_entropy backward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.logits, &self.targets)
    }

    fn reference(&self) -> Result<Array> {
        let classes = classes(self.logits.dims2()?, &self.targets, self.of.ignore_index)?;
        Ok(backward_on_host(self.logits.host()?, &classes, self.of, self.grad()?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        backward_cpu::<T>(&self.logits, &self.targets, self.of, self.grad()?)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        check_known(self.logits.dims2()?, &self.targets, self.of.ignore_index)?;
        cuda::backward(&self.logits, &self.targets, self.of, &self.grad, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |Forward { logits, targets, of }| Self {
            logits,
            targets,
            of,
            grad: Array::full(0.7, (), &Device::Cpu).unwrap(),
        };
        Forward::cases().into_iter().map(of).collect()
    }
}

/// Computes the mean loss, a scalar, of `logits` (rows, classes) and `targets` (rows).
/// Half-precision logits are computed in f32.
///
/// # Errors
/// If there is not one target per row, or a target is neither a class nor `ignore_index`.
pub fn forward(logits: &Array, targets: &Array, of: CrossEntropy) -> Result<Array> {
    if let Some(loss) = host::via_f32_if_half(logits, |logits| forward(logits, targets, of)) {
        return loss;
    }
    run(&Forward { logits: logits.clone(), targets: targets.clone(), of })
}

fn forward_cpu<T: Real>(logits: &Array, targets: &Array, of: CrossEntropy) -> Result<Array> {
    let classes = classes(logits.dims2()?, targets, of.ignore_index)?;
    let logits = contiguous(logits)?;
    let (_, width) = logits.dims2()?;
    let xs = host::slice::<T>(&logits)?;
    let xs: &[T] = &xs;
    let loss = |row: usize| {
        let logits = nth_chunk(xs, row, width);
        let loss = |class| (log_sum_exp(logits) - expected_logit(logits, class, of)).as_f64();
        classes[row].map_or(0.0, loss)
    };
    let losses = map(classes.len(), rows_per_piece(width), loss);
    let count = classes.iter().flatten().count();
    host::array(vec![T::of(losses.iter().sum::<f64>() / count as f64)], ())
}

/// The mean of the logits of a row by the probabilities that the target gives them.
pub(crate) fn expected_logit<T: Real>(row: &[T], class: usize, of: CrossEntropy) -> T {
    if of.label_smoothing == 0.0 {
        return row[class];
    }
    let (own, each) = of.shares(row.len());
    T::of(own) * row[class] + T::of(each) * sum_by(row, |x| x)
}

/// Computes `ln(sum(exp(row)))` in a numerically stable way.
#[simd]
pub(crate) fn log_sum_exp<T: Real>(row: &[T]) -> T {
    const FMA: bool = has_fma!();
    let top = max(row);
    sum_by(row, |x| (x - top).exp_down::<FMA>()).ln() + top
}

/// Computes the gradient of the logits, (rows, classes), for the gradient `grad` of the loss, a
/// scalar.
///
/// # Errors
/// As for [`forward`].
pub fn backward(logits: &Array, targets: &Array, of: CrossEntropy, grad: &Array) -> Result<Array> {
    if let Some(dx) = host::via_f32_if_half(logits, |logits| backward(logits, targets, of, grad)) {
        return dx;
    }
    let (logits, targets, grad) = (logits.clone(), targets.clone(), grad.clone());
    run(&Backward { logits, targets, of, grad })
}

fn backward_cpu<T: Real>(
    logits: &Array,
    targets: &Array,
    of: CrossEntropy,
    grad: f64,
) -> Result<Array> {
    let classes = classes(logits.dims2()?, targets, of.ignore_index)?;
    let logits = contiguous(logits)?;
    let (rows, width) = logits.dims2()?;
    let xs = host::slice::<T>(&logits)?;
    let xs: &[T] = &xs;
    let weight = T::of(grad / classes.iter().flatten().count() as f64);
    let (own, each) = of.shares(width);
    let (own, each) = (T::of(own) * weight, T::of(each) * weight);
    let count = rows_per_piece(width);
    let dx = build_zeroed(xs.len(), count * width, |piece, dx: &mut [T]| {
        for (r, dx) in dx.chunks_exact_mut(width).enumerate() {
            let row = piece * count + r;
            if let Some(class) = classes[row] {
                backward_row(nth_chunk(xs, row, width), class, [weight, own, each], dx);
            }
        }
    })?;
    host::array(dx, (rows, width))
}

/// Writes `weight · softmax(x) - own · onehot(class) - each`, the gradient of one row.
#[simd]
fn backward_row<T: Real>(x: &[T], class: usize, [weight, own, each]: [T; 3], dx: &mut [T]) {
    const FMA: bool = has_fma!();
    let top = max(x);
    for (d, x) in dx.iter_mut().zip(x) {
        *d = (*x - top).exp_down::<FMA>();
    }
    let scale = weight / sum_by(dx, |d| d);
    for d in dx.iter_mut() {
        *d = *d * scale - each;
    }
    dx[class] -= own;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_matches_reference, device, f64s, gradcheck, normal, on_device, values,
    };

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-6);
        assert_matches_reference::<Backward>(1e-5);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (x, t) = (on_device(&f64s(&normal(&[4, 5], 1))), on_device(&targets(&[1, 4, 2, 1])));
        let one = Array::ones((), DType::F64, &device()).unwrap();
        for label_smoothing in [0.0, 0.3] {
            let of = CrossEntropy { ignore_index: 2, label_smoothing };
            let dx = backward(&x, &t, of, &one).unwrap();
            gradcheck(&x, &one, &dx, |x| forward(&on_device(x), &t, of).unwrap());
        }
    }

    #[test]
    fn nothing_to_count_is_nan_and_classes_outside_are_errors() {
        let of = |rows, ids: &[i64]| {
            let logits = on_device(&normal(&[rows, 3], 1));
            forward(&logits, &on_device(&targets(ids)), CrossEntropy::ignoring(0))
        };
        assert!(values(&of(2, &[0, 0]).unwrap())[0].is_nan());
        let message = of(1, &[3]).unwrap_err().to_string();
        assert!(message.contains("target 3 is out of range"), "{message}");
    }
}
