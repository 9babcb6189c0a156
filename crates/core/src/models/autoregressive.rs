//! Next-token prediction: the loss over a sequence.

use super::{TokenTensors, TransformerWrapper};
use crate::generation::{check_columns, span_columns};
use crate::ids::{out_of_vocabulary, wrong_ids};
use crate::layers::last_columns;
use crate::mask::allow_prefix;
use crate::segments::Segments;
use crate::{Ctx, DType, Device, Error, Mode, Result, Tensor};
use std::ops::Range;
use std::sync::Arc;
use xt_autograd::ops::{self, CrossEntropy};
use xt_autograd::Array;
use xt_options::wrappers::TargetOptions;

/// A transformer over tokens that is trained to predict the next token.
pub struct AutoregressiveWrapper {
    net: Arc<TransformerWrapper>,
    /// Targets with this id are excluded from the loss.
    pub(super) ignore_index: i64,
    /// The id that fills a sequence after its end.
    pad_value: i64,
    /// The share of keys that the forgetful causal mask hides.
    mask_prob: f64,
    mode: Mode,
}

/// How the targets of a loss count.
#[derive(Clone, Default)]
pub struct Targets {
    /// The share of the probability, from 0 to 1, that is spread over all tokens.
    pub label_smoothing: f64,
    /// bool, `(batch, n)`: the tokens that count. Absent: all.
    pub real: Option<Tensor>,
}

impl AutoregressiveWrapper {
    /// Wraps `net`, whose weights are shared. `mask_prob` is the share of keys that the forgetful
    /// causal mask hides.
    pub fn new(net: Arc<TransformerWrapper>, targets: &TargetOptions, mask_prob: f64) -> Self {
        Self {
            net,
            ignore_index: targets.ignore_index,
            pad_value: targets.pad_value,
            mask_prob,
            mode: Mode::default(),
        }
    }

    /// Training or evaluation mode of this wrapper; `net` has its own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The wrapped transformer.
    pub fn net(&self) -> &TransformerWrapper {
        &self.net
    }

    /// The id that fills a sequence after its end.
    pub fn pad_value(&self) -> i64 {
        self.pad_value
    }

    /// The mean cross-entropy of each token given the tokens before it. `x` is i64, `(batch, n)`,
    /// with `n` at least 2. A mask has n - 1 columns, plus those of prepended embeddings; the ids
    /// of packed documents have n.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a tensor does not fit or an id is not in the vocabulary.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        of: &Targets,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        self.predicted(x, with, of, ctx, |input, with, target, of| {
            self.net.cross_entropy(input, with, target, of, ctx)
        })
    }

    /// Like [`AutoregressiveWrapper::forward`], and the logits, `(batch, n - 1, num_tokens)`.
    ///
    /// # Errors
    ///
    /// As [`AutoregressiveWrapper::forward`].
    pub fn forward_with_logits(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        of: &Targets,
        ctx: &Ctx,
    ) -> Result<(Tensor, Tensor)> {
        self.predicted(x, with, of, ctx, |input, with, target, of| {
            let logits = last_columns(&self.net.logits(input, with, ctx)?, input.dim(1))?;
            Ok((ops::cross_entropy(&logits, target, of)?, logits))
        })
    }

    /// The result of `loss` for the inputs, the tensors that accompany them and the targets of `x`,
    /// i64 `(batch, n)`.
    fn predicted<T>(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        of: &Targets,
        ctx: &Ctx,
        loss: impl FnOnce(&Tensor, &TokenTensors, &Tensor, CrossEntropy) -> Result<T>,
    ) -> Result<T> {
        if x.rank() != 2 || x.dim(1) < 2 || x.dtype() != DType::I64 {
            return wrong_ids("token ids", "(batch, length), length at least 2", x);
        }
        let n = x.dim(1);
        let inputs =
            with.prepend_embeds.as_ref().filter(|t| t.rank() == 3).map_or(0, |t| t.dim(1)) + n - 1;
        if with
            .layers
            .mask
            .as_ref()
            .is_some_and(|mask| mask.rank() == 2 && mask.dim(1) == inputs + 1)
        {
            return Error::shape(format!(
                "mask has {} columns, and there are {inputs} inputs: the last token is a target alone. Leave its column \
                 out, `mask.slice(1, 0, {inputs})`",
                inputs + 1
            ));
        }
        let (input, target) = (ops::narrow(x, 1, 0, n - 1)?, ops::narrow(x, 1, 1, n - 1)?);
        let (mut with, segments) = (with.clone(), with.layers.segments.as_deref());
        check_columns(&with, x.dim(0), &[n, n - 1])?;
        span_columns(&mut with, 0, n - 1)?;
        let mut target = self.packed(&mut with, [x.dim(0), n], target)?;
        if let Some(real) = &of.real {
            target = self.only(&ops::narrow(real, 1, 1, n - 1)?, &target)?;
        }
        if self.mask_prob > 0.0 {
            let mask = self.forgetful_mask(x, segments, ctx)?;
            with.layers.self_attn_context_mask = Some(allow_prefix(&mask, 1, inputs + 1 - n)?);
        }
        let of =
            CrossEntropy { ignore_index: self.ignore_index, label_smoothing: of.label_smoothing };
        let out = loss(&input, &with, &target, of);
        out.map_err(|error| self.unusable_id(x).unwrap_or(error))
    }

    /// Takes the last column from the documents of packed rows, `(batch, n)`, if there are any, and
    /// replaces the targets, `(batch, n - 1)`, that no token of their own document predicts.
    fn packed(&self, with: &mut TokenTensors, dims: [usize; 2], target: Tensor) -> Result<Tensor> {
        let Some(segments) = with.layers.segments.take() else {
            return Ok(target);
        };
        segments.check(dims)?;
        with.layers.segments = Some(Arc::new(segments.without_last()));
        self.only(&segments.predicted()?, &target)
    }

    /// The `target`, `(batch, n - 1)`, where `real`, bool of the same shape, is true; elsewhere it
    /// is ignored.
    fn only(&self, real: &Tensor, target: &Tensor) -> Result<Tensor> {
        let ignored = Array::full(self.ignore_index, (), &target.device())?;
        Ok(ops::where_cond(real, target, &Tensor::constant(ignored))?)
    }

    /// The error that names the first id of `x`, `(batch, n)`, that the loss cannot use; `None` if
    /// there is none. The last id of each row is only a target, so it may also be `ignore_index`.
    fn unusable_id(&self, x: &Tensor) -> Option<Error> {
        let tokens = self.net.num_tokens();
        let input = ops::narrow(x, 1, 0, x.dim(1) - 1).ok()?;
        let targets = || {
            out_of_vocabulary(x, tokens, Some(self.ignore_index))
                .filter(|_| self.net.outputs() == tokens)
        };
        out_of_vocabulary(&input, tokens, None).or_else(targets)
    }

    /// The forgetful causal mask: bool, `(batch, n - 1)`, true where a key may be attended to. It
    /// hides the same number of random keys in each row; the first key is hidden only if all are.
    /// In packed rows, each document counts as a row, but keeps its first key: a query without any
    /// key would see all of its row, other documents too.
    ///
    /// Source: FCM, <https://arxiv.org/abs/2210.13432>.
    fn forgetful_mask(&self, x: &Tensor, segments: Option<&Segments>, ctx: &Ctx) -> Result<Tensor> {
        let (batch, n) = (x.dim(0), x.dim(1));
        let mut noise = ctx.rng.stream().normal(batch * (n - 1));
        let mut allowed = vec![1u8; noise.len()];
        let mut hide = |tokens: Range<usize>, kept: usize| {
            // the last token is a target alone; the rows of the mask are one shorter
            let (count, first) = (tokens.len() - 1, tokens.start - tokens.start / n);
            let hidden = (tokens.len() as f64 * self.mask_prob) as usize;
            let keys = first..first + count;
            hide_keys(
                &mut noise[keys.clone()],
                &mut allowed[keys],
                hidden.min(count.saturating_sub(kept)),
            );
        };
        match segments {
            Some(segments) => segments.ranges().for_each(|document| hide(document, 1)),
            None => (0..batch).for_each(|row| hide(row * n..(row + 1) * n, 0)),
        }
        let mask =
            Array::from_vec(allowed, (batch, n - 1), &Device::Cpu)?.to_device(&x.device())?;
        Ok(Tensor::boolean(mask))
    }
}

/// Hides `hidden` of the keys, those with the largest noise, and the first one last.
fn hide_keys(noise: &mut [f64], allowed: &mut [u8], hidden: usize) {
    if let Some(first) = noise.first_mut() {
        *first = f64::MIN;
    }
    let mut order: Vec<usize> = (0..noise.len()).collect();
    order.sort_by(|a, b| noise[*b].total_cmp(&noise[*a]));
    order.iter().take(hidden).for_each(|i| allowed[*i] = 0);
}
