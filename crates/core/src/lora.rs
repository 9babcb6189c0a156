//! Low-rank updates of the weights of linear layers.
//!
//! Sources: LoRA, <https://arxiv.org/abs/2106.09685>; its factor for large ranks: rsLoRA,
//! <https://arxiv.org/abs/2312.03732>.

use crate::{Leaf, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;

/// `scale · B A`, which is added to the weight `(out, in)` of a linear layer.
#[derive(Clone)]
pub struct LowRank {
    /// `(r, in)`.
    pub a: Arc<Leaf>,
    /// `(out, r)`.
    pub b: Arc<Leaf>,
    /// The factor of the product.
    pub scale: f64,
}

impl LowRank {
    /// What is added to the output of the layer: `(.., in)` to `(.., out)`. The matrix `B A` is
    /// not computed.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = ops::linear(x, &Tensor::leaf(self.a.clone()), None)?;
        let inner = ops::affine(&inner, self.scale, 0.0)?;
        Ok(ops::linear(&inner, &Tensor::leaf(self.b.clone()), None)?)
    }

    /// `weight + scale · B A`, `(out, in)`.
    pub fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        let (a, b) = (Tensor::leaf(self.a.clone()), Tensor::leaf(self.b.clone()));
        Ok(ops::add(weight, &ops::matmul(&b, &a, self.scale)?)?)
    }
}
