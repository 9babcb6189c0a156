//! T5's relative position bias: a learned bias for each head and each bucket of distances, by
//! default scaled by the square root of the head dimension, as in the Python package.
//!
//! Source: Exploring the Limits of Transfer Learning, <https://arxiv.org/abs/1910.10683>.

use super::span::Span;
use super::table::{Kind, PositionTable};
use crate::layers::Embedding;
use crate::{DType, Device, Init, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// T5's relative position bias.
pub struct RelativeBias {
    /// The biases, `(buckets, heads)`.
    table: Embedding,
    buckets: usize,
    /// Distances from this one on share the last bucket.
    max_distance: usize,
    causal: bool,
    scale: f64,
    /// The bucket of each distance, i64.
    by_distance: PositionTable,
}

impl RelativeBias {
    /// Registers the table of biases.
    pub fn new(causal: bool, options: &StackOptions, p: &mut Params) -> Self {
        let (buckets, heads) = (options.rel_pos_num_buckets.get(), options.heads.get());
        Self {
            table: Embedding::new(
                buckets,
                heads,
                Init::Normal { std: 1.0 },
                &mut p.submodule("relative_attention_bias"),
            ),
            buckets,
            max_distance: options.rel_pos_max_distance.get(),
            causal,
            scale: options
                .rel_pos_scale
                .unwrap_or((options.attn.first().dim_head.get() as f64).sqrt()),
            by_distance: PositionTable::default(),
        }
    }

    /// The bias by distance, `(heads, i + j - 1)`, in the order of [`Span::distances`].
    pub fn forward(&self, span: Span, device: &Device) -> Result<Tensor> {
        let kind = Kind { dtype: DType::I64, device: device.clone(), version: 0, variant: 0 };
        let bucket = |distance: i64, row: &mut Vec<f64>| row.push(self.bucket(distance) as f64);
        let ids = self.by_distance.rows(span.distances(), 1, &kind, &bucket)?.squeeze(1)?;
        let bias = self.table.forward(&Tensor::constant(ids))?; // (i + j - 1, heads)
        Ok(ops::affine(&ops::transpose(&bias, 0, 1)?, self.scale, 0.0)?)
    }

    /// The bucket of a distance (key minus query). In a causal attention all buckets are for past
    /// keys; otherwise half of them are for each direction, and the upper half is for later keys.
    /// Within a direction, the first half of the buckets stands for one distance each; the others
    /// cover ranges that grow logarithmically.
    fn bucket(&self, distance: i64) -> usize {
        let (buckets, first, back) = if self.causal {
            (self.buckets, 0, (-distance).max(0) as usize)
        } else {
            let half = self.buckets / 2;
            (half, if distance > 0 { half } else { 0 }, distance.unsigned_abs() as usize)
        };
        let exact = buckets / 2;
        if back < exact {
            return first + back;
        }
        // computed in f32 and truncated, to match the Python package
        let ratio = (back as f32 / exact as f32).ln()
            / ((self.max_distance as f64 / exact as f64).ln() as f32);
        let bucket = exact + (ratio * (buckets - exact) as f32) as usize;
        first + bucket.min(buckets - 1)
    }
}
