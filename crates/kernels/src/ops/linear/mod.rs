//! Linear layers: `y = x Wᵀ + bias`.
//!
//! Shapes: `x` is (.., in), `weight` is (out, in) as in PyTorch, `bias` is (out), `y` is (.., out).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::gemv::layers;
use crate::host::{self, with_width};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
use crate::ops::{matmul, reduce};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use cpu::{few_rows, forward_cpu, grad_input_cpu, grad_weight_cpu, many_rows};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// [`forward`] for host arrays.
pub(crate) fn on_host(
    x: &HostArray,
    weight: &HostArray,
    bias: Option<&HostArray>,
) -> HostResult<HostArray> {
    let (out, inner) = weight.dims2()?;
    let (rows, mut dims) = (x.elem_count() / inner.max(1), x.dims().to_vec());
    if let Some(last) = dims.last_mut() {
        *last = out;
    }
    let y = x.contiguous()?.reshape((rows, inner))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(dims)
}

/// Kernel of [`forward`].
#[derive(Clone)]
pub(super) struct Forward {
    x: Array,
    weight: Array,
    bias: Option<Array>,
}

/// Kernel of [`forward_all`].
#[derive(Clone)]
pub(super) struct ForwardAll {
    x: Array,
    weights: Vec<Array>,
}

/// Kernel of [`grad_input_all`].
#[derive(Clone)]
pub(super) struct GradInput {
    /// Pairs of a gradient, (.., out), and a weight, (out, in).
    layers: Vec<(Array, Array)>,
}

/// Kernel of [`grad_weight_all`].
#[derive(Clone)]
pub(super) struct GradWeight {
    x: Array,
    /// Gradients of the outputs, each (.., out).
    grads: Vec<Array>,
}

arrays! {
    Forward { x, weight, bias }
    ForwardAll { x, weights }
    GradInput { layers }
    GradWeight { x, grads }
}

/// Checks that the layer accepts the input.
fn check(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<()> {
    let (out, inner) = weight.dims2()?;
    if x.dims().last() != Some(&inner) || bias.is_some_and(|bias| bias.dims() != [out]) {
        let bias = bias.map(Array::dims);
        bail!(
            "a layer with weights {:?} and bias {bias:?} does not take {:?}",
            weight.dims(),
            x.dims()
        );
    }
    Ok(())
}

/// Shape of the input and number of output features of the test cases.
#[cfg(test)]
const SIZES: [(&[usize], usize); 8] = [
    (&[2, 3, 5], 7),
    (&[1, 1], 1),
    (&[130, 140], 131),
    (&[4, 9], 3),
    (&[0, 9], 7),
    (&[1, 9], 1300),
    (&[40, 9], 7),
    (&[600, 9], 70),
];

impl Kernel for Forward {
    const NAME: &'static str = "linear";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.x, &self.weight, self.bias.as_ref())
    }

    fn reference(&self) -> Result<Array> {
        let bias = self.bias.as_ref().map(Array::host).transpose()?;
        Ok(on_host(self.x.host()?, self.weight.host()?, bias)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        forward_cpu::<T>(&self.x, &self.weight, self.bias.as_ref())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::forward(&self.x, &self.weight, self.bias.as_ref(), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(dims, out): (&[usize], usize)| {
            let (x, weight) = (normal64(dims, 1), normal64(&[out, dims[dims.len() - 1]], 2));
            [None, Some(normal64(&[out], 3))].map(|bias| Self {
                x: x.clone(),
                weight: weight.clone(),
                bias,
            })
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

impl Kernel for ForwardAll {
    const NAME: &'static str = "linear all";
    type Out = Vec<Array>;

    fn check(&self) -> Result<()> {
        self.weights.iter().try_for_each(|weight| check(&self.x, weight, None))
    }

    fn reference(&self) -> Result<Vec<Array>> {
        let x = self.x.host()?;
        self.weights.iter().map(|weight| Ok(on_host(x, weight.host()?, None)?.into())).collect()
    }

    fn cpu<T: Blas>(&self) -> Result<Vec<Array>> {
        let (rows, inner) = host::rows_and_width(&self.x);
        let few = rows * inner > 0
            && rows <= layers::MOST_ROWS
            && self.weights.iter().all(|w| w.elem_count() > 0);
        match few {
            true => few_rows::<T>(&self.x, &self.weights),
            false => many_rows::<T>(&self.x, &self.weights),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Vec<Array>> {
        let of = |weight| cuda::forward(&self.x, weight, None, gpu);
        self.weights.iter().map(of).collect()
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |rows| Self {
            x: normal64(&[rows, 9], 1),
            weights: vec![normal64(&[7, 9], 2), normal64(&[8, 9], 3), normal64(&[1300, 9], 4)],
        };
        [0, 1, 3, 40, 600].map(of).into()
    }
}

impl Kernel for GradInput {
    const NAME: &'static str = "linear input";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let Some((first, weight)) = self.layers.first() else { bail!("no layer") };
        let (_, inner) = weight.dims2()?;
        let fits = |(grad, weight): &(Array, Array)| {
            weight.rank() == 2
                && weight.dims()[1] == inner
                && grad.dims().split_last().is_some_and(|(out, rows)| {
                    *out == weight.dims()[0]
                        && first.dims().split_last().is_some_and(|(_, first)| first == rows)
                })
        };
        match self.layers.iter().find(|layer| !fits(layer)) {
            Some((grad, weight)) => {
                bail!("a gradient {:?} for weights {:?}", grad.dims(), weight.dims())
            }
            None => Ok(()),
        }
    }

    fn reference(&self) -> Result<Array> {
        let mut total: Option<HostArray> = None;
        for (grad, weight) in &self.layers {
            let (out, inner) = weight.dims2()?;
            let (rows, _) = host::rows_and_width(grad);
            let g = grad.host()?.contiguous()?.reshape((rows, out))?;
            let dx = g.matmul(&weight.host()?.contiguous()?)?.reshape(with_width(grad, inner))?;
            total = Some(match total {
                Some(total) => (total + dx)?,
                None => dx,
            });
        }
        match total {
            Some(total) => Ok(total.into()),
            None => bail!("no layer"),
        }
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        grad_input_cpu::<T>(&self.layers)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::grad_input(&self.layers, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(dims, out): (&[usize], usize)| {
            let (rows, inner) = (&dims[..dims.len() - 1], dims[dims.len() - 1]);
            let layer = |out: usize, seed| {
                (normal64(&[rows, &[out]].concat(), seed), normal64(&[out, inner], seed + 1))
            };
            [vec![layer(out, 1)], vec![layer(out, 1), layer(3, 5), layer(40, 7)]]
                .map(|layers| Self { layers })
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

impl Kernel for GradWeight {
    const NAME: &'static str = "linear weight";
    type Out = Vec<Array>;

    fn check(&self) -> Result<()> {
        let (rows, _) = host::rows_and_width(&self.x);
        match self.grads.iter().find(|grad| host::rows_and_width(grad).0 != rows) {
            Some(grad) => bail!("a gradient {:?} for an input {:?}", grad.dims(), self.x.dims()),
            None => Ok(()),
        }
    }

    fn reference(&self) -> Result<Vec<Array>> {
        let x = self.x.host()?.contiguous()?.reshape(host::rows_and_width(&self.x))?;
        let of = |grad: &Array| {
            let g = grad.host()?.contiguous()?.reshape(host::rows_and_width(grad))?;
            Ok(g.t()?.contiguous()?.matmul(&x)?.into())
        };
        self.grads.iter().map(of).collect()
    }

    fn cpu<T: Blas>(&self) -> Result<Vec<Array>> {
        grad_weight_cpu::<T>(&self.grads, &self.x)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Vec<Array>> {
        self.grads.iter().map(|grad| cuda::grad_weight(grad, &self.x, gpu)).collect()
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(dims, out): (&[usize], usize)| {
            let grad =
                |out: usize, seed| normal64(&[&dims[..dims.len() - 1], &[out]].concat(), seed);
            Self { x: normal64(dims, 1), grads: vec![grad(out, 2), grad(5, 3)] }
        };
        SIZES.map(of).into()
    }
}

/// Computes `x Wᵀ + bias` for `x` (.., in), `weight` (out, in) and `bias` (out). Returns (.., out).
///
/// # Errors
/// If the shapes do not fit together.
pub fn forward(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<Array> {
    run(&Forward { x: x.clone(), weight: weight.clone(), bias: bias.cloned() })
}

/// Computes `x Wᵀ` for several weights, each (out, in), in one pass over `x`, (.., in). Returns an
/// array (.., out) for each weight.
///
/// # Errors
/// If the shapes do not fit together.
pub fn forward_all(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    run(&ForwardAll { x: x.clone(), weights: weights.into() })
}

/// Computes the gradient of the input that several layers share: the sum of `grad W` over all pairs
/// of a gradient, (.., out), and a weight, (out, in). Returns (.., in).
///
/// # Errors
/// If there is no pair, or the shapes do not fit together.
pub fn grad_input_all(layers: &[(Array, Array)]) -> Result<Array> {
    run(&GradInput { layers: layers.into() })
}

/// Computes the gradients of the weights of several layers with the same input `x`, (.., in):
/// `gradᵀ x`, (out, in), for each gradient (.., out).
///
/// # Errors
/// If the numbers of rows differ.
pub fn grad_weight_all(grads: &[Array], x: &Array) -> Result<Vec<Array>> {
    run(&GradWeight { x: x.clone(), grads: grads.into() })
}

/// Computes the gradient of the input, `grad W`, for `grad` (.., out) and `weight` (out, in).
/// Returns (.., in).
pub fn grad_input(grad: &Array, weight: &Array) -> Result<Array> {
    let (out, inner) = weight.dims2()?;
    let (rows, _) = host::rows_and_width(grad);
    let g = contiguous(grad)?.reshape((rows, out))?;
    matmul::matmul(&g, weight, 1.0)?.reshape(with_width(grad, inner))
}

/// Computes the gradient of the weight, `gradᵀ x`, for `grad` (.., out) and `x` (.., in). Returns
/// (out, in).
pub fn grad_weight(grad: &Array, x: &Array) -> Result<Array> {
    let ((rows, out), (_, inner)) = (host::rows_and_width(grad), host::rows_and_width(x));
    let g = contiguous(grad)?.reshape((rows, out))?;
    matmul::matmul(&g.t()?, &contiguous(x)?.reshape((rows, inner))?, 1.0)
}

/// Computes the gradient of the bias, (out): the sum of `grad` over all axes but the last.
pub fn grad_bias(grad: &Array) -> Result<Array> {
    let (rows, width) = host::rows_and_width(grad);
    reduce::sum(&contiguous(grad)?.reshape((rows, width))?, &[0])?.reshape(width)
}
