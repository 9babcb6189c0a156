//! Cross-entropy of the logits of a linear layer, without storing all logits: they are computed for
//! a block of rows at a time and replaced in place by their gradient, from which the gradients of
//! the layer are accumulated immediately.
//!
//! Shapes: `x` is (rows, in), `weight` is (classes, in), `bias` is (classes), `targets` is (rows),
//! i64; the loss is a scalar, see [`cross_entropy`].
//!
//! Source: Cut Your Losses in Large-Vocabulary Language Models, <https://arxiv.org/abs/2411.09009>.
//! Unlike in the paper, small gradients are not skipped.

#[cfg(feature = "cuda")]
mod cuda;
mod inputs;

pub use inputs::{Gradients, LossArgs, NeedsGrad};

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::{new_product, product_into};
use crate::host::gemm::view::{Init, Term, View};
use crate::host::parallel::{map_pieces, nth_chunk, product_parallelism, rows_per_piece, zeros};
use crate::host::simd::{has_fma, max, sum_by};
use crate::kernel::{arrays, in_f32, run, Arrays, Kernel};
use crate::ops::cross_entropy::{self, classes, CrossEntropy};
use crate::ops::layout::contiguous;
use crate::ops::linear;
use crate::ops::reduce::{add_assign, column_sums};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Element, Result};
use inputs::{block_rows, BLOCK};
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    x: Array,
    weight: Array,
    bias: Option<Array>,
    targets: Array,
    of: CrossEntropy,
    needs: NeedsGrad,
}

arrays!(Forward { x, weight, bias, targets });

impl Forward {
    /// The inputs as references.
    fn args(&self) -> LossArgs<'_> {
        let Self { x, weight, bias, targets, of, .. } = self;
        LossArgs { x, weight, bias: bias.as_ref(), targets, of: *of }
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
        let logits = linear::on_host(x, weight, bias)?;
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
        let of = |((rows, width, inner), label_smoothing): ((usize, usize, usize), f64)| {
            let ids = (0..rows as i64)
                .map(|r| if r % 4 == 2 { -100 } else { r * 7 % width as i64 })
                .collect();
            let targets = Array::from_vec(ids, rows, &crate::Device::Cpu).unwrap();
            let (x, weight) = (normal64(&[rows, inner], 1), normal64(&[width, inner], 2));
            let with = |(bias, needs): (Option<Array>, NeedsGrad)| {
                let (x, weight, targets) = (x.clone(), weight.clone(), targets.clone());
                let of = CrossEntropy { ignore_index: -100, label_smoothing };
                Self { x, weight, bias, targets, of, needs }
            };
            let all = NeedsGrad { x: true, weight: true, bias: false };
            let bias = Some(normal64(&[width], 3));
            [(None, all), (None, NeedsGrad::default()), (bias, NeedsGrad { bias: true, ..all })]
                .map(with)
        };
        let sizes = [(1, 3, 1), (9, 12, 4), (20, 37, 5), (3, 2 * BLOCK, 2)];
        let plain = sizes.map(|size| (size, 0.0));
        plain.into_iter().chain([((20, 37, 5), 0.2), ((9, 12, 4), 1.0)]).flat_map(of).collect()
    }
}

/// Computes the mean loss, a scalar, and the gradients selected by `needs`. If all targets are
/// ignored, the loss is NaN and the gradients are 0.
///
/// # Errors
/// If the shapes do not fit together, or a target is neither a class nor the `ignore_index`.
pub fn forward(of: &LossArgs, needs: NeedsGrad) -> Result<(Array, Gradients)> {
    let LossArgs { x, weight, bias, targets, of } = *of;
    let (x, weight, bias, targets) = (x.clone(), weight.clone(), bias.cloned(), targets.clone());
    run(&Forward { x, weight, bias, targets, of, needs })
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
            rows.map(|(row, class)| row_loss(row, *class, of.of, factor)).sum::<f64>()
        });
        loss += losses.into_iter().sum::<f64>();
        sums.add(block * size, classes.len(), &logits, (x, &ws))?;
    }
    Ok((host::array(vec![T::of(loss / count)], ())?, sums.into_gradients([rows, width, inner])?))
}

/// Computes the loss of a row of logits. With a factor, the logits are replaced by their gradient
/// times the factor.
fn row_loss<T: Blas>(
    row: &mut [T],
    class: Option<usize>,
    of: CrossEntropy,
    factor: Option<T>,
) -> f64 {
    match (class, factor) {
        (Some(class), None) => {
            let expected = cross_entropy::expected_logit(row, class, of);
            (cross_entropy::log_sum_exp(row) - expected).as_f64()
        }
        (Some(class), Some(factor)) => {
            let expected = cross_entropy::expected_logit(row, class, of);
            let (own, each) = of.shares(row.len());
            let shares = [factor, factor * T::of(own), factor * T::of(each)];
            loss_and_gradient(row, class, expected, shares)
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

/// The gradients accumulated so far; empty where not requested.
struct GradientSums<T> {
    needs: NeedsGrad,
    /// (rows, in)
    x: Vec<T>,
    /// (classes, in)
    weight: Vec<T>,
    /// (classes)
    bias: Vec<T>,
}

impl<T: Blas> GradientSums<T> {
    fn new(needs: NeedsGrad, [rows, width, inner]: [usize; 3]) -> Result<Self> {
        let of = |needed: bool, count: usize| zeros(if needed { count } else { 0 });
        let (x, weight) = (of(needs.x, rows * inner)?, of(needs.weight, width * inner)?);
        Ok(Self { needs, x, weight, bias: of(needs.bias, width)? })
    }

    /// Accumulates the contribution of `count` rows, starting at row `first`. `grad` is the
    /// gradient of their logits, (count, classes); `x` is (count, in), `weight` (classes, in).
    fn add(
        &mut self,
        first: usize,
        count: usize,
        grad: &[T],
        (x, weight): (&[T], &[T]),
    ) -> Result<()> {
        let (width, inner) = (grad.len() / count, x.len() / count);
        let threads = product_parallelism(count, width, inner);
        if self.needs.x {
            let dx = &mut self.x[first * inner..][..count * inner];
            let (a, b) = (View::row_major(grad, width), View::row_major(weight, inner));
            product_into(dx, inner, (count, inner, width), a, b, T::ONE, Init::Zero, threads);
        }
        if self.needs.weight {
            let (a, b) = (View::transposed(grad, width), View::row_major(x, inner));
            product_into(
                &mut self.weight,
                inner,
                (width, inner, count),
                a,
                b,
                T::ONE,
                Init::Output,
                threads,
            );
        }
        if self.needs.bias {
            add_assign(&mut self.bias, &column_sums(grad, width));
        }
        Ok(())
    }

    /// Returns the gradients as arrays.
    fn into_gradients(self, [rows, width, inner]: [usize; 3]) -> Result<Gradients> {
        let Self { needs, x, weight, bias } = self;
        Ok(Gradients {
            x: needs.x.then(|| host::array(x, (rows, inner))).transpose()?,
            weight: needs.weight.then(|| host::array(weight, (width, inner))).transpose()?,
            bias: needs.bias.then(|| host::array(bias, width)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_matches_reference, device, f64s, gradcheck, normal, on_device, values,
    };

    const ALL: NeedsGrad = NeedsGrad { x: true, weight: true, bias: true };

    fn targets(values: &[i64]) -> Array {
        Array::from_vec(values.to_vec(), values.len(), &device()).unwrap()
    }

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-5);
    }

    #[test]
    fn gradients_agree_with_differences() {
        let of = |dims: &[usize], seed| on_device(&f64s(&normal(dims, seed)));
        let (x, weight, bias) = (of(&[4, 3], 1), of(&[5, 3], 2), of(&[5], 3));
        let (t, one) =
            (targets(&[1, 4, 2, 1]), Array::ones((), crate::DType::F64, &device()).unwrap());
        for label_smoothing in [0.0, 0.3] {
            let loss = |x: &Array, weight: &Array, bias: &Array| {
                let of = CrossEntropy { ignore_index: 2, label_smoothing };
                let of = LossArgs { x, weight, bias: Some(bias), targets: &t, of };
                forward(&of, ALL).unwrap()
            };
            let got = loss(&x, &weight, &bias).1;
            gradcheck(&x, &one, &got.x.unwrap(), |x| loss(&on_device(x), &weight, &bias).0);
            gradcheck(&weight, &one, &got.weight.unwrap(), |w| loss(&x, &on_device(w), &bias).0);
            gradcheck(&bias, &one, &got.bias.unwrap(), |bias| {
                loss(&x, &weight, &on_device(bias)).0
            });
        }
    }

    #[test]
    fn nothing_to_count_is_nan_without_a_gradient_and_classes_outside_are_errors() {
        let (x, weight) = (on_device(&normal(&[2, 3], 1)), on_device(&normal(&[4, 3], 2)));
        let of = |targets, ignore_index| LossArgs {
            x: &x,
            weight: &weight,
            bias: None,
            targets,
            of: CrossEntropy::ignoring(ignore_index),
        };
        let (none, outside) = (targets(&[0, 0]), targets(&[0, 4]));
        let (loss, grads) = forward(&of(&none, 0), NeedsGrad { bias: false, ..ALL }).unwrap();
        assert!(values(&loss)[0].is_nan());
        assert!(values(&grads.weight.unwrap()).iter().all(|g| *g == 0.0));
        let message = forward(&of(&outside, -1), ALL).err().unwrap().to_string();
        assert!(message.contains("target 4 is out of range"), "{message}");
    }
}
