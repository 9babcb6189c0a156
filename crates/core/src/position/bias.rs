//! Biases that positions add to the scores of self attention; each kind has a file of its own.

use super::alibi::Alibi;
use super::dynamic::DynamicBias;
use super::relative::RelativeBias;
use super::span::Span;
use crate::{Params, Result, Tensor};
use std::sync::{Mutex, PoisonError};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// The kind of bias that the options choose: T5's before the dynamic one before ALiBi.
pub enum ScoreBias {
    Relative(RelativeBias),
    Dynamic(DynamicBias),
    Alibi(Alibi),
}

impl ScoreBias {
    /// `None` where no option asks for one.
    pub fn new(dim: usize, causal: bool, options: &StackOptions, p: &mut Params) -> Option<Self> {
        let mut p = p.under("rel_pos");
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

    /// The bias of one call, made once for every span that its layers ask for.
    pub fn for_call(&self) -> PositionBias<'_> {
        PositionBias { kind: self, made: Default::default(), matrices: Default::default() }
    }
}

type Made = Mutex<Vec<(Span, Tensor)>>;

/// The bias of one call.
pub struct PositionBias<'a> {
    kind: &'a ScoreBias,
    made: Made,
    matrices: Made,
}

impl PositionBias<'_> {
    /// The bias for each of the span's distances, (heads, queries + keys - 1), in the type of `like`.
    pub fn by_distance(&self, span: Span, like: &Tensor) -> Result<Tensor> {
        once(&self.made, span, || match self.kind {
            ScoreBias::Relative(bias) => bias.forward(span, &like.device()),
            ScoreBias::Dynamic(bias) => bias.forward(span, like.dtype(), &like.device()),
            ScoreBias::Alibi(bias) => bias.forward(span, like.dtype(), &like.device()),
        })
    }

    /// `scores` (batch, heads, i, j) plus the bias.
    pub fn add_to(&self, scores: &Tensor) -> Result<Tensor> {
        let span = Span { queries: scores.dim(2), keys: scores.dim(3) };
        let matrix = || Ok(ops::spread(&self.by_distance(span, scores)?, span.queries, span.keys)?);
        Ok(ops::add(scores, &once(&self.matrices, span, matrix)?)?)
    }
}

/// What was made for this span, or what `make` gives.
fn once(all: &Made, span: Span, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, made)) = all.iter().find(|(s, _)| *s == span) {
        return Ok(made.clone());
    }
    let made = make()?;
    all.push((span, made.clone()));
    Ok(made)
}
