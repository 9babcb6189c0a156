//! Biases that positions add to the scores of self attention; each kind has a file of its own.

use super::alibi::Alibi;
use super::dynamic::DynamicBias;
use super::relative::RelativeBias;
use crate::{DType, Device, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// The kind of bias that the options choose: T5's before the dynamic one before ALiBi.
pub enum ScoreBias {
    Relative(RelativeBias),
    Dynamic(DynamicBias),
    Alibi(Alibi),
}

/// The queries are the last `queries` of `keys` positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub queries: usize,
    pub keys: usize,
}

impl Span {
    /// Key minus query, row by row.
    pub fn distances(self) -> impl Iterator<Item = i64> {
        let offset = self.keys as i64 - self.queries as i64;
        (0..self.queries as i64).flat_map(move |i| (0..self.keys as i64).map(move |j| j - i - offset))
    }
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
        PositionBias { kind: self, made: Default::default() }
    }
}

/// The bias of one call.
pub struct PositionBias<'a> {
    kind: &'a ScoreBias,
    made: std::sync::Mutex<Vec<(Span, Tensor)>>,
}

impl PositionBias<'_> {
    /// `scores` (batch, heads, i, j) plus the bias.
    pub fn add_to(&self, scores: &Tensor) -> Result<Tensor> {
        let span = Span { queries: scores.dim(2), keys: scores.dim(3) };
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bias = match made.iter().find(|(s, _)| *s == span) {
            Some((_, bias)) => bias.clone(),
            None => {
                let bias = self.make(span, scores.dtype(), &scores.device())?;
                made.push((span, bias.clone()));
                bias
            }
        };
        Ok(ops::add(scores, &bias)?)
    }

    /// (heads, i, j).
    fn make(&self, span: Span, dtype: DType, device: &Device) -> Result<Tensor> {
        match self.kind {
            ScoreBias::Relative(bias) => bias.forward(span, device),
            ScoreBias::Dynamic(bias) => bias.forward(span, dtype, device),
            ScoreBias::Alibi(bias) => bias.forward(span, dtype, device),
        }
    }
}
