//! Dynamic position bias: a small network computes the bias of the scores from the distance.
//!
//! Source: CrossFormer, <https://arxiv.org/abs/2108.00154>; logarithm of the distance: Swin
//! Transformer V2, <https://arxiv.org/abs/2111.09883>.

use super::span::Span;
use super::table::{Kind, PositionTable};
use crate::layers::{LayerNorm, Linear};
use crate::{DType, Device, Params, Result, Tensor};
use xt_autograd::ops::{self, Activation};
use xt_options::layers::StackOptions;

/// A multilayer perceptron from a distance to one bias per head.
pub struct DynamicBias {
    /// The hidden layers, each with an optional norm.
    hidden: Vec<(Linear, Option<LayerNorm>)>,
    out: Linear,
    /// Whether the network sees the logarithm of the distance.
    log_distance: bool,
    /// The inputs of the network by distance.
    distances: PositionTable,
}

impl DynamicBias {
    /// Registers the network, with hidden layers of width `dim / 4`.
    pub fn new(dim: usize, options: &StackOptions, p: &mut Params) -> Self {
        let (width, depth) = (dim / 4, options.dynamic_pos_bias_mlp_depth.get());
        let hidden = (0..depth)
            .map(|l| {
                let p = p.submodule("mlp").submodule(l);
                let linear =
                    Linear::new(if l == 0 { 1 } else { width }, width, true, &mut p.submodule("0"));
                (
                    linear,
                    options
                        .dynamic_pos_bias_norm
                        .then(|| LayerNorm::new(width, &mut p.submodule("1"))),
                )
            })
            .collect();
        let out =
            Linear::new(width, options.heads.get(), true, &mut p.submodule("mlp").submodule(depth));
        let log_distance = options.dynamic_pos_bias_log_distance;
        Self { hidden, out, log_distance, distances: PositionTable::default() }
    }

    /// The bias by distance, `(heads, i + j - 1)`, in the order of [`Span::distances`].
    pub fn forward(&self, span: Span, dtype: DType, device: &Device) -> Result<Tensor> {
        // the network takes query minus key, the opposite sign of the span's distances
        let kind = Kind { dtype, device: device.clone(), version: 0, variant: 0 };
        let input = |distance: i64, row: &mut Vec<f64>| row.push(self.input(-distance));
        // (i + j - 1, 1)
        let x = self.distances.rows(span.distances(), 1, &kind, &input)?;
        let mut x = Tensor::constant(x);
        for (linear, norm) in &self.hidden {
            x = linear.forward(&x)?;
            if let Some(norm) = norm {
                x = norm.forward(&x)?;
            }
            x = ops::activation(&x, Activation::Silu)?;
        }
        Ok(ops::transpose(&self.out.forward(&x)?, 0, 1)?)
    }

    /// The input of the network for a distance.
    fn input(&self, distance: i64) -> f64 {
        let d = distance as f64;
        if self.log_distance {
            // 0 is mapped to 0; f64's signum of 0 is 1
            if distance == 0 {
                0.0
            } else {
                d.signum() * (d.abs() + 1.0).ln()
            }
        } else {
            d
        }
    }
}
