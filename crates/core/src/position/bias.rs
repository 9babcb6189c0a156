//! Position biases of the scores of self attention; each kind has its own file.

use super::alibi::Alibi;
use super::dynamic::DynamicBias;
use super::relative::RelativeBias;
use super::span::Span;
use crate::needs::{Needs, Variant};
use crate::{Params, Result, Tensor};
use std::sync::{Mutex, PoisonError};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// The kind of position bias that the options select. If several are enabled, T5's has precedence
/// over the dynamic one, and that one over ALiBi.
pub enum ScoreBias {
    /// T5's relative position bias.
    Relative(RelativeBias),
    /// A bias computed by a small network.
    Dynamic(DynamicBias),
    /// ALiBi: a linear penalty on the distance.
    Alibi(Alibi),
}

impl ScoreBias {
    /// Registers the parameters of the selected bias; `None` if no bias is enabled.
    pub fn new(dim: usize, causal: bool, options: &StackOptions, p: &mut Params) -> Option<Self> {
        let mut p = p.submodule("rel_pos");
        if options.rel_pos_bias {
            Some(Self::Relative(RelativeBias::new(causal, options, &mut p)))
        } else if options.dynamic_pos_bias {
            Some(Self::Dynamic(DynamicBias::new(dim, options, &mut p)))
        } else if options.alibi_pos_bias {
            Some(Self::Alibi(Alibi::new(options, &mut p)))
        } else {
            None
        }
    }

    /// The number of heads with ALiBi.
    pub fn alibi_heads(&self) -> usize {
        match self {
            Self::Alibi(bias) => bias.heads(),
            _ => 0,
        }
    }

    /// The bias for one call, which caches the result for each span, so that all layers share it.
    /// With `positions`, i64 `(1 or batch, 1 or ALiBi heads, length)`, ALiBi's distances are those
    /// between these positions of all keys but learned ones.
    pub fn for_call(&self, positions: Option<Tensor>) -> PositionBias<'_> {
        PositionBias {
            kind: self,
            positions,
            by_distance: Default::default(),
            by_position: Default::default(),
        }
    }
}

/// A cache of tensors by span.
type SpanCache = Mutex<Vec<(Span, Tensor)>>;

/// The position bias of one call.
pub struct PositionBias<'a> {
    kind: &'a ScoreBias,
    /// Given positions of the keys.
    positions: Option<Tensor>,
    /// The biases by distance, `(heads, i + j - 1)`.
    by_distance: SpanCache,
    /// The biases by query and key, `(heads, i, j)` or `(batch, heads, i, j)`.
    by_position: SpanCache,
}

impl PositionBias<'_> {
    /// The positions that the call gives, if it does.
    pub fn positions(&self) -> Option<&Tensor> {
        self.positions.as_ref()
    }

    /// The bias for each distance of the span, `(heads, queries + keys - 1)`, on the device of
    /// `like`. Dynamic biases and ALiBi have the type of `like`; T5's bias has the type of its
    /// weights.
    pub fn by_distance(&self, span: Span, like: &Tensor) -> Result<Tensor> {
        cached(&self.by_distance, span, || match self.kind {
            ScoreBias::Relative(bias) => bias.forward(span, &like.device()),
            ScoreBias::Dynamic(bias) => bias.forward(span, like.dtype(), &like.device()),
            ScoreBias::Alibi(bias) => bias.forward(span, like.dtype(), &like.device()),
        })
    }

    /// Adds the bias to `scores`, `(batch, heads, i, j)`.
    pub fn add_to(&self, scores: &Tensor) -> Result<Tensor> {
        let span = Span { queries: scores.dim(2), keys: scores.dim(3) };
        let matrix = || match (self.kind, &self.positions) {
            (ScoreBias::Alibi(bias), Some(positions)) => {
                bias.between(positions, span, scores.dtype())
            }
            _ => Ok(ops::expand_distance_bias(
                &self.by_distance(span, scores)?,
                span.queries,
                span.keys,
            )?),
        };
        Ok(ops::add(scores, &cached(&self.by_position, span, matrix)?)?)
    }
}

/// Returns the cached tensor of this span, or creates it with `make` and caches it.
fn cached(all: &SpanCache, span: Span, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, made)) = all.iter().find(|(s, _)| *s == span) {
        return Ok(made.clone());
    }
    let made = make()?;
    all.push((span, made.clone()));
    Ok(made)
}

impl Variant for ScoreBias {
    /// Every kind depends on the distance alone.
    fn needs(&self) -> Needs {
        Needs { distance: true, ..Needs::NONE }
    }
}
