//! The first linear layer of a feed-forward network, fused with the activation or gated unit that
//! follows: rows are activated while the results of the product are in the cache.
//!
//! Shapes:
//!
//! - `x`, the input, is (.., in)
//! - weight and bias of the first layer are (wide, in) and (wide)
//! - `up`, the output of the first layer, is (.., wide)
//! - `hidden`, the result of [`Inner`], is (.., inner), where wide is inner, or 2 inner for a gated
//!   unit
//! - the weight of the second layer is (out, inner)

mod cpu;
mod inner;
mod second_output;
#[cfg(test)]
mod tests;

pub use inner::Inner;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::gemv::layers;
use crate::host::{self, with_width};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::activation::Activation;
use crate::ops::linear;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use cpu::{activation_epilogue, backward_cpu, fused_up_and_hidden, linear_with_epilogue};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`hidden`].
#[derive(Clone)]
pub(super) struct Hidden {
    x: Array,
    weight: Array,
    bias: Option<Array>,
    inner: Inner,
}

/// Kernel of [`up_and_hidden`].
#[derive(Clone)]
pub(super) struct UpAndHidden {
    of: Hidden,
}

/// Kernel of [`backward`].
#[derive(Clone)]
pub(super) struct Backward {
    /// Gradient of the output of the second layer, (.., out).
    grad: Array,
    /// Weight of the second layer, (out, inner).
    weight: Array,
    /// Output of the first layer, (.., wide).
    up: Array,
    inner: Inner,
}

arrays! {
    Hidden { x, weight, bias }
    UpAndHidden { of }
    Backward { grad, weight, up }
}

impl Hidden {
    /// Checks the shapes of the operands.
    fn check_shapes(&self) -> Result<()> {
        let Self { x, weight, bias, inner } = self;
        let (wide, width) = weight.dims2()?;
        let bias = bias.as_ref().map(Array::dims);
        if x.dims().last() != Some(&width) || bias.is_some_and(|bias| bias != [wide]) {
            bail!(
                "a layer with weights {:?} and bias {bias:?} does not take {:?}",
                weight.dims(),
                x.dims()
            );
        }
        if !wide.is_multiple_of(inner.expansion()) {
            bail!("a gated unit of rows of {wide}, which have no halves");
        }
        Ok(())
    }

    /// Reference implementation: returns `up` and `hidden`.
    fn on_host(&self) -> Result<(HostArray, HostArray)> {
        let bias = self.bias.as_ref().map(Array::host).transpose()?;
        let up = linear::on_host(self.x.host()?, self.weight.host()?, bias)?;
        let hidden = self.inner.on_host(&up)?;
        Ok((up, hidden))
    }

    /// Computes `up`, and `hidden` in a separate pass.
    fn unfused(&self) -> Result<(Array, Array)> {
        let up = linear::forward(&self.x, &self.weight, self.bias.as_ref())?;
        let hidden = self.inner.apply(&up)?;
        Ok((up, hidden))
    }

    /// The activation to fuse into the matrix product, if any. A product of few rows uses a kernel
    /// without an epilogue, and the two halves of a row of a gated unit are seldom in the same
    /// block of the product.
    fn fused(&self) -> Option<Activation> {
        match self.inner {
            Inner::Activation(kind) if host::rows_and_width(&self.x).0 > layers::MOST_ROWS => {
                Some(kind)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
const ALL: [Inner; 6] = [
    Inner::Activation(Activation::Gelu),
    Inner::Activation(Activation::ReluSquared),
    Inner::Glu(Activation::Silu),
    Inner::Glu(Activation::Gelu),
    Inner::Activation(Activation::GeluTanh),
    Inner::Glu(Activation::QuickGelu),
];

/// Shape of the rows, and (in, inner, out): few and many rows, several blocks along each axis, no
/// rows.
#[cfg(test)]
const SIZES: [(&[usize], [usize; 3]); 6] = [
    (&[2, 2], [5, 3, 7]),
    (&[17], [1, 1, 1]),
    (&[3, 40], [9, 30, 20]),
    (&[150], [600, 130, 33]),
    (&[2, 70], [40, 1100, 530]),
    (&[0], [4, 6, 2]),
];

impl Kernel for Hidden {
    const NAME: &'static str = "feedforward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        self.check_shapes()
    }

    fn reference(&self) -> Result<Array> {
        Ok(self.on_host()?.1.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        match self.fused() {
            Some(kind) => linear_with_epilogue::<T>(
                &self.x,
                &self.weight,
                self.bias.as_ref(),
                &activation_epilogue::<T>(kind),
            ),
            None => Ok(self.unfused()?.1),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<Array> {
        Ok(self.unfused()?.1)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(rows, [inputs, width, _]): (&[usize], [usize; 3])| {
            let with = |inner: Inner| {
                let wide = width * inner.expansion();
                let (x, weight) =
                    (normal64(&[rows, &[inputs]].concat(), 1), normal64(&[wide, inputs], 2));
                [None, Some(normal64(&[wide], 3))].map(|bias| Self {
                    x: x.clone(),
                    weight: weight.clone(),
                    bias,
                    inner,
                })
            };
            ALL.into_iter().flat_map(with).collect::<Vec<_>>()
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

impl Kernel for UpAndHidden {
    const NAME: &'static str = "feedforward, training";
    type Out = (Array, Array);

    fn check(&self) -> Result<()> {
        self.of.check_shapes()
    }

    fn reference(&self) -> Result<(Array, Array)> {
        let (up, hidden) = self.of.on_host()?;
        Ok((up.into(), hidden.into()))
    }

    fn cpu<T: Blas>(&self) -> Result<(Array, Array)> {
        let Hidden { x, weight, bias, .. } = &self.of;
        match self.of.fused() {
            Some(kind) => fused_up_and_hidden::<T>(x, weight, bias.as_ref(), kind),
            None => self.of.unfused(),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<(Array, Array)> {
        self.of.unfused()
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        Hidden::cases().into_iter().map(|of| Self { of }).collect()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "feedforward backward";
    type Out = (Array, Array);

    fn check(&self) -> Result<()> {
        let Self { grad, weight, up, inner } = self;
        let (out, width) = weight.dims2()?;
        if grad.dims().last() != Some(&out)
            || up.dims() != with_width(grad, inner.expansion() * width)
        {
            bail!(
                "a gradient {:?} for weights {:?} and {:?}",
                grad.dims(),
                weight.dims(),
                up.dims()
            );
        }
        Ok(())
    }

    fn reference(&self) -> Result<(Array, Array)> {
        let (grad, weight, up) = (self.grad.host()?, self.weight.host()?, self.up.host()?);
        let dhidden = linear::on_host(grad, &weight.t()?, None)?;
        Ok((self.inner.backward_on_host(up, &dhidden)?.into(), self.inner.on_host(up)?.into()))
    }

    fn cpu<T: Blas>(&self) -> Result<(Array, Array)> {
        backward_cpu::<T>(&self.grad, &self.weight, &self.up, self.inner)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<(Array, Array)> {
        let dhidden = linear::grad_input(&self.grad, &self.weight)?;
        Ok((self.inner.backward(&self.up, &dhidden)?, self.inner.apply(&self.up)?))
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(rows, [_, width, out]): (&[usize], [usize; 3])| {
            ALL.map(|inner| {
                let up = normal64(&[rows, &[width * inner.expansion()]].concat(), 4);
                let (grad, weight) =
                    (normal64(&[rows, &[out]].concat(), 5), normal64(&[out, width], 6));
                Self { grad, weight, up, inner }
            })
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

/// Computes `inner(x Wᵀ + bias)` for `x` (.., in). Returns `hidden`, (.., inner).
///
/// # Errors
/// If the shapes do not fit together, or a gated unit gets rows of odd width.
pub fn hidden(x: &Array, weight: &Array, bias: Option<&Array>, inner: Inner) -> Result<Array> {
    run(&Hidden { x: x.clone(), weight: weight.clone(), bias: bias.cloned(), inner })
}

/// Computes `up = x Wᵀ + bias`, (.., wide), and `hidden = inner(up)`, (.., inner), for training.
///
/// # Errors
/// As for [`hidden`].
pub fn up_and_hidden(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    inner: Inner,
) -> Result<(Array, Array)> {
    run(&UpAndHidden {
        of: Hidden { x: x.clone(), weight: weight.clone(), bias: bias.cloned(), inner },
    })
}

/// Computes the gradient of `up`, (.., wide), from `grad`, the gradient of the output of the second
/// layer, (.., out), and `weight`, the weight of the second layer. Also recomputes `hidden`,
/// (.., inner), from which the gradient of `weight` is computed.
///
/// # Errors
/// If the shapes do not fit together.
pub fn backward(grad: &Array, weight: &Array, up: &Array, inner: Inner) -> Result<(Array, Array)> {
    run(&Backward { grad: grad.clone(), weight: weight.clone(), up: up.clone(), inner })
}
