//! Linear layers: `y = x Wᵀ + bias`.
//!
//! Shapes: `x` is (.., in), `weight` is (out, in) as in PyTorch, `bias` is (out), `y` is (.., out).

use crate::array::{HostArray, HostResult};
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::{new_product, new_products, new_sum_of_products};
use crate::host::gemm::view::{Term, View};
use crate::host::gemv::layers;
use crate::host::{self, with_width};
use crate::kernel::{arrays, no_cuda, run, Kernel};
use crate::ops::layout::contiguous;
use crate::ops::{matmul, reduce};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};

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
struct Forward {
    x: Array,
    weight: Array,
    bias: Option<Array>,
}

/// Kernel of [`forward_all`].
#[derive(Clone)]
struct ForwardAll {
    x: Array,
    weights: Vec<Array>,
}

/// Kernel of [`grad_input_all`].
#[derive(Clone)]
struct GradInput {
    /// Pairs of a gradient, (.., out), and a weight, (out, in).
    layers: Vec<(Array, Array)>,
}

/// Kernel of [`grad_weight_all`].
#[derive(Clone)]
struct GradWeight {
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

    no_cuda!();

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

    no_cuda!();

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

    no_cuda!();

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

    no_cuda!();

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

fn forward_cpu<T: Blas>(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<Array> {
    let (x, weight) = (contiguous(x)?, contiguous(weight)?);
    let ((rows, inner), (out, _)) = (host::rows_and_width(&x), weight.dims2()?);
    let (xs, ws) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?);
    let bias = bias.map(contiguous).transpose()?;
    let bs = bias.as_ref().map(host::slice::<T>).transpose()?;
    if rows <= layers::MOST_ROWS && rows * out * inner > 0 {
        let layer = layers::Layer { weight: &ws, bias: bs.as_deref() };
        let y = layers::products(&xs, &[layer], (rows, inner))?.swap_remove(0);
        return host::array(y, with_width(&x, out));
    }
    let term = Term { k: inner, a: View::row_major(&xs, inner), b: View::transposed(&ws, inner) };
    let y = new_product((rows, out), term, bs.as_deref(), None)?;
    host::array(y, with_width(&x, out))
}

/// [`forward_all`] by matrix products.
fn many_rows<T: Blas>(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    let x = contiguous(x)?;
    let weights = weights.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let xs = host::slice::<T>(&x)?;
    let slices = weights.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let (rows, inner) = host::rows_and_width(&x);
    let products: Vec<_> = slices
        .iter()
        .zip(&weights)
        .map(|(slice, w)| {
            (
                (rows, w.dims()[0]),
                Term {
                    k: inner,
                    a: View::row_major(&xs, inner),
                    b: View::transposed(slice, inner),
                },
            )
        })
        .collect();
    new_products(&products)?
        .into_iter()
        .zip(&weights)
        .map(|(y, w)| host::array(y, with_width(&x, w.dim(0)?)))
        .collect()
}

/// [`forward_all`] for a few rows of `x`, by the matrix-vector kernels.
fn few_rows<T: Blas>(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    let x = contiguous(x)?;
    let weights = weights.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let xs = host::slice::<T>(&x)?;
    let slices = weights.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let layers: Vec<_> = slices.iter().map(|weight| layers::Layer { weight, bias: None }).collect();
    let products = layers::products(&xs, &layers, host::rows_and_width(&x))?;
    products
        .into_iter()
        .zip(&weights)
        .map(|(y, w)| host::array(y, with_width(&x, w.dim(0)?)))
        .collect()
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

fn grad_input_cpu<T: Blas>(layers: &[(Array, Array)]) -> Result<Array> {
    let layers = layers
        .iter()
        .map(|(g, w)| Ok((contiguous(g)?, contiguous(w)?)))
        .collect::<Result<Vec<_>>>()?;
    let Some((first, weight)) = layers.first() else { bail!("no layer") };
    let ((rows, _), (_, inner)) = (host::rows_and_width(first), weight.dims2()?);
    let slices = layers.iter().map(|(g, w)| Ok((host::slice::<T>(g)?, host::slice::<T>(w)?)));
    let slices = slices.collect::<Result<Vec<_>>>()?;
    let terms: Vec<_> = slices
        .iter()
        .zip(&layers)
        .map(|((g, w), (_, weight))| {
            let k = weight.dims()[0];
            Term { k, a: View::row_major(g, k), b: View::row_major(w, inner) }
        })
        .collect();
    host::array(new_sum_of_products((rows, inner), &terms)?, with_width(first, inner))
}

fn grad_weight_cpu<T: Blas>(grads: &[Array], x: &Array) -> Result<Vec<Array>> {
    let (rows, inner) = host::rows_and_width(x);
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let grads = grads.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let slices = grads.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let outs: Vec<usize> = grads.iter().map(|grad| host::rows_and_width(grad).1).collect();
    let products: Vec<_> = slices
        .iter()
        .zip(&outs)
        .map(|(g, out)| {
            (
                (*out, inner),
                Term { k: rows, a: View::transposed(g, *out), b: View::row_major(&xs, inner) },
            )
        })
        .collect();
    new_products(&products)?
        .into_iter()
        .zip(&outs)
        .map(|(d, out)| host::array(d, (*out, inner)))
        .collect()
}

/// Computes the gradient of the bias, (out): the sum of `grad` over all axes but the last.
pub fn grad_bias(grad: &Array) -> Result<Array> {
    let (rows, width) = host::rows_and_width(grad);
    reduce::sum(&contiguous(grad)?.reshape((rows, width))?, &[0])?.reshape(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_matches_reference, normal};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-5);
        assert_matches_reference::<ForwardAll>(1e-5);
        assert_matches_reference::<GradInput>(1e-5);
        assert_matches_reference::<GradWeight>(1e-5);
    }

    #[test]
    fn gradients_of_one_layer_are_those_of_several() {
        let (x, w, g) = (normal(&[2, 3, 5], 1), normal(&[7, 5], 2), normal(&[2, 3, 7], 3));
        let all = grad_weight_all(std::slice::from_ref(&g), &x).unwrap();
        assert_close(&grad_weight(&g, &x).unwrap(), &all[0], 1e-5);
        assert_close(
            &grad_input(&g, &w).unwrap(),
            &grad_input_all(&[(g.clone(), w)]).unwrap(),
            1e-5,
        );
        assert_close(
            &grad_bias(&g).unwrap(),
            &reduce::sum(&g, &[0, 1]).unwrap().reshape(7).unwrap(),
            1e-5,
        );
    }

    #[test]
    fn misfitting_shapes_are_errors() {
        let (x, w) = (normal(&[2, 3], 1), normal(&[4, 5], 2));
        let message = forward(&x, &w, None).unwrap_err().to_string();
        assert!(message.contains("[4, 5]") && message.contains("[2, 3]"), "{message}");
        assert!(forward(&normal(&[2, 5], 1), &w, Some(&x)).is_err());
        assert!(grad_input_all(&[(x.clone(), w)]).is_err() && grad_input_all(&[]).is_err());
        assert!(grad_weight_all(&[normal(&[3, 3], 1)], &x).is_err());
    }
}
