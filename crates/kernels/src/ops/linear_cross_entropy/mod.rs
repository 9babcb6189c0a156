//! Cross-entropy of the logits of a linear layer, without storing all logits: they are computed for
//! a block of rows at a time and replaced in place by their gradient, from which the gradients of
//! the layer are accumulated immediately.
//!
//! Shapes: `x` is (rows, in), `weight` is (classes, in), `bias` is (classes), `targets` is (rows),
//! i64; the loss is a scalar, see [`cross_entropy`]. Logits may have a limit c: then each is
//! `c tanh(logit / c)`.
//!
//! Source: Cut Your Losses in Large-Vocabulary Language Models, <https://arxiv.org/abs/2411.09009>.
//! Unlike in the paper, small gradients are not skipped.

#[cfg(feature = "cuda")]
mod cuda;
mod inputs;
mod sums;
#[cfg(test)]
mod tests;

pub use inputs::{Gradients, LossArgs, NeedsGrad};

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::new_product;
use crate::host::gemm::view::{Term, View};
use crate::host::parallel::{map_pieces, nth_chunk, rows_per_piece};
use crate::host::simd::{has_fma, map_in_place, max, sum_by, tanh};
use crate::kernel::{arrays, in_f32, run, Arrays, Kernel};
use crate::ops::cross_entropy::{self, classes, CrossEntropy};
use crate::ops::layout::contiguous;
use crate::ops::linear;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Element, Result};
use inputs::{block_rows, BLOCK};
#[cfg(feature = "cuda")]
use std::sync::Arc;
use sums::GradientSums;
use xt_macros::simd;

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    x: Array,
    weight: Array,
    bias: Option<Array>,
    targets: Array,
    of: CrossEntropy,
    softclamp: Option<f64>,
    needs: NeedsGrad,
}

arrays!(Forward { x, weight, bias, targets });

impl Forward {
    /// The inputs as references.
    fn args(&self) -> LossArgs<'_> {
        let Self { x, weight, bias, targets, of, softclamp, .. } = self;
        let (of, softclamp) = (*of, *softclamp);
        LossArgs { x, weight, bias: bias.as_ref(), targets, of, softclamp }
    }
}

impl Kernel for Forward {
    const NAME: &'static str = "linear_cross_entropy";
    type Out = (Array, Gradients);

    fn check(&self) -> Result<()> {
        let ((rows, inner), (classes, width)) = (self.x.dims2()?, self.weight.dims2()?);
        let bias = self.bias.as_ref().map(Array::dims);
        if inner != width || bias.is_some_and(|bias| bias != [classes]) {
            bail!(
                "a layer with weights {:?} and bias {bias:?} does not take {:?}",
                self.weight.dims(),
                self.x.dims()
            );
        }
        if self.targets.elem_count() != rows {
            bail!("{} targets for {rows} rows of logits", self.targets.elem_count());
        }
        Ok(())
    }

    fn reference(&self) -> Result<(Array, Gradients)> {
        let (x, weight) = (self.x.host()?, self.weight.host()?);
        let bias = self.bias.as_ref().map(Array::host).transpose()?;
        let mut logits = linear::on_host(x, weight, bias)?;
        let mut slope = None;
        if let Some(limit) = self.softclamp {
            let tanh = (logits / limit)?.tanh()?;
            slope = Some((1.0 - tanh.sqr()?)?);
            logits = (tanh * limit)?;
        }
        let classes = classes(logits.dims2()?, &self.targets, self.of.ignore_index)?;
        let loss = cross_entropy::on_host(&logits, &classes, self.of.label_smoothing)?.into();
        let needs = self.needs;
        if !needs.any() {
            return Ok((loss, Gradients::default()));
        }
        let mut grad = cross_entropy::backward_on_host(&logits, &classes, self.of, 1.0)?;
        if classes.iter().all(Option::is_none) {
            grad = grad.zeros_like()?;
        }
        if let Some(slope) = slope {
            grad = (grad * slope)?;
        }
        let of =
            |needed: bool, grad: &dyn Fn() -> HostResult<HostArray>| -> Result<Option<Array>> {
                if needed {
                    Ok(Some(grad()?.into()))
                } else {
                    Ok(None)
                }
            };
        let gradients = Gradients {
            x: of(needs.x, &|| grad.matmul(&weight.contiguous()?))?,
            weight: of(needs.weight, &|| grad.t()?.contiguous()?.matmul(&x.contiguous()?))?,
            bias: of(needs.bias, &|| grad.sum(0))?,
        };
        Ok((loss, gradients))
    }

    fn cpu<T: Blas>(&self) -> Result<(Array, Gradients)> {
        forward_cpu::<T>(&self.args(), self.needs)
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<(Array, Gradients)>> {
        Some(in_f32(self, T::DTYPE, <(Array, Gradients)>::each_mut))
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<(Array, Gradients)> {
        let dims = (self.x.dims2()?.0, self.weight.dims2()?.0);
        cross_entropy::check_known(dims, &self.targets, self.of.ignore_index)?;
        cuda::forward(&self.args(), self.needs, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        type Case = ((usize, usize, usize), f64, Option<f64>);
        let of = |((rows, width, inner), label_smoothing, softclamp): Case| {
            let ids = (0..rows as i64)
                .map(|r| if r % 4 == 2 { -100 } else { r * 7 % width as i64 })
                .collect();
            let targets = Array::from_vec(ids, rows, &crate::Device::Cpu).unwrap();
            let (x, weight) = (normal64(&[rows, inner], 1), normal64(&[width, inner], 2));
            let with = |(bias, needs): (Option<Array>, NeedsGrad)| {
                let (x, weight, targets) = (x.clone(), weight.clone(), targets.clone());
                let of = CrossEntropy { ignore_index: -100, label_smoothing };
                Self { x, weight, bias, targets, of, softclamp, needs }
            };
            let all = NeedsGrad { x: true, weight: true, bias: false };
            let bias = Some(normal64(&[width], 3));
            [(None, all), (None, NeedsGrad::default()), (bias, NeedsGrad { bias: true, ..all })]
                .map(with)
        };
        let sizes = [(1, 3, 1), (9, 12, 4), (20, 37, 5), (3, 2 * BLOCK, 2)];
        let plain = sizes.map(|size| (size, 0.0, None));
        let others = [
            ((20, 37, 5), 0.2, None),
            ((9, 12, 4), 1.0, None),
            ((20, 37, 5), 0.0, Some(0.8)),
            ((9, 2 * BLOCK, 4), 0.2, Some(2.0)),
        ];
        plain.into_iter().chain(others).flat_map(of).collect()
    }
}

/// Computes the mean loss, a scalar, and the gradients selected by `needs`. If all targets are
/// ignored, the loss is NaN and the gradients are 0.
///
/// # Errors
/// If the shapes do not fit together, or a target is neither a class nor the `ignore_index`.
pub fn forward(of: &LossArgs, needs: NeedsGrad) -> Result<(Array, Gradients)> {
    let LossArgs { x, weight, bias, targets, of, softclamp } = *of;
    let (x, weight, bias, targets) = (x.clone(), weight.clone(), bias.cloned(), targets.clone());
    run(&Forward { x, weight, bias, targets, of, softclamp, needs })
}

fn forward_cpu<T: Blas>(of: &LossArgs, needs: NeedsGrad) -> Result<(Array, Gradients)> {
    let ((rows, inner), (width, _)) = (of.x.dims2()?, of.weight.dims2()?);
    let classes = classes((rows, width), of.targets, of.of.ignore_index)?;
    let count = classes.iter().flatten().count() as f64;
    let (x, weight) = (contiguous(of.x)?, contiguous(of.weight)?);
    let bias = of.bias.map(contiguous).transpose()?;
    let (xs, ws) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?);
    let bs = bias.as_ref().map(host::slice::<T>).transpose()?;
    let mut sums = GradientSums::<T>::new(needs, [rows, width, inner])?;
    let mut loss = 0.0;
    let size = block_rows(rows, width, BLOCK);
    for (block, classes) in classes.chunks(size).enumerate() {
        let x = nth_chunk(&xs, block, size * inner);
        let term = Term { k: inner, a: View::row_major(x, inner), b: View::transposed(&ws, inner) };
        let mut logits = new_product((classes.len(), width), term, bs.as_deref(), None)?;
        let factor = needs.any().then(|| T::of(1.0 / count));
        let rows_at_once = rows_per_piece(width);
        let losses = map_pieces(&mut logits, rows_at_once * width, |piece, logits| {
            let rows = logits.chunks_exact_mut(width).zip(nth_chunk(classes, piece, rows_at_once));
            let limit = of.softclamp.map(T::of);
            rows.map(|(row, class)| row_loss(row, *class, of.of, limit, factor)).sum::<f64>()
        });
        loss += losses.into_iter().sum::<f64>();
        sums.add(block * size, classes.len(), &logits, (x, &ws))?;
    }
    Ok((host::array(vec![T::of(loss / count)], ())?, sums.into_gradients([rows, width, inner])?))
}

/// Computes the loss of a row of logits, which `limit` limits. With a factor, the logits are
/// replaced by their gradient times the factor.
fn row_loss<T: Blas>(
    row: &mut [T],
    class: Option<usize>,
    of: CrossEntropy,
    limit: Option<T>,
    factor: Option<T>,
) -> f64 {
    if let (Some(_), Some(limit)) = (class, limit) {
        softclamp(row, limit);
    }
    match (class, factor) {
        (Some(class), None) => {
            let expected = cross_entropy::expected_logit(row, class, of);
            (cross_entropy::log_sum_exp(row) - expected).as_f64()
        }
        (Some(class), Some(factor)) => {
            let expected = cross_entropy::expected_logit(row, class, of);
            let (own, each) = of.shares(row.len());
            let shares = [factor, factor * T::of(own), factor * T::of(each)];
            match limit {
                Some(limit) => limited_loss_and_gradient(row, class, expected, limit, shares),
                None => loss_and_gradient(row, class, expected, shares),
            }
        }
        (None, Some(_)) => {
            row.fill(T::ZERO);
            0.0
        }
        (None, None) => 0.0,
    }
}

/// Computes the loss of a row, and replaces the logits by
/// `factor · softmax(row) - own · onehot(class) - each`.
#[simd]
fn loss_and_gradient<T: Blas>(
    row: &mut [T],
    class: usize,
    expected: T,
    [factor, own, each]: [T; 3],
) -> f64 {
    const FMA: bool = has_fma!();
    let top = max(row);
    for x in row.iter_mut() {
        *x = (*x - top).exp_down::<FMA>();
    }
    let sum = sum_by(row, |x| x);
    let scale = factor / sum;
    for x in row.iter_mut() {
        *x = *x * scale - each;
    }
    row[class] -= own;
    (sum.ln() + top - expected).as_f64()
}

/// `limit · tanh(x / limit)` of each logit x.
///
/// Source: Gemma 2, <https://arxiv.org/abs/2408.00118>.
#[simd]
fn softclamp<T: Blas>(row: &mut [T], limit: T) {
    const FMA: bool = has_fma!();
    let inverse = T::ONE / limit;
    map_in_place(row, |x| limit * tanh::<T, FMA>(x * inverse));
}

/// [`loss_and_gradient`] of limited logits, of which the result is the gradient before the limit.
#[simd]
fn limited_loss_and_gradient<T: Blas>(
    row: &mut [T],
    class: usize,
    expected: T,
    limit: T,
    [factor, own, each]: [T; 3],
) -> f64 {
    const FMA: bool = has_fma!();
    let top = max(row);
    let sum = sum_by(row, |x| (x - top).exp_down::<FMA>());
    let (scale, inverse) = (factor / sum, T::ONE / limit);
    let slope = |x: T| T::ONE - x * inverse * (x * inverse);
    let of_class = own * slope(row[class]);
    map_in_place(row, |x| ((x - top).exp_down::<FMA>() * scale - each) * slope(x));
    row[class] -= of_class;
    (sum.ln() + top - expected).as_f64()
}
