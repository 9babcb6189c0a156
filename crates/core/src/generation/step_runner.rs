//! The model calls of a generation: each computes the logits of the next token.

use super::columns::{ends_before, fit_positions, span_columns};
use super::prompts::{has_per_column_tensors, positions, repeat_rows};
use crate::ids::require_bool;
use crate::layers::LayersCache;
use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, DType, Device, Error, Leaf, Result, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops};

/// Whether keys and values are cached between steps, and the weights on which they depend: the
/// cache is invalid once these change.
#[derive(Clone)]
pub struct Caching {
    /// Whether to cache.
    pub on: bool,
    /// The weights of the model.
    pub weights: Vec<Arc<Leaf>>,
}

impl Caching {
    /// A number that changes with every change of the weights.
    fn version(&self) -> u64 {
        self.weights.iter().map(|leaf| leaf.version()).sum()
    }
}

/// Numbers of columns of the rows of a generation.
#[derive(Clone, Copy)]
pub struct Columns {
    /// Those of the prompts.
    pub prompt: usize,
    /// Those at the end.
    pub total: usize,
    /// How many of the last ones the model sees.
    pub window: usize,
}

/// The cached columns.
struct StepCache {
    /// Keys and values of each layer.
    layers: LayersCache,
    /// The number of cached columns.
    columns: usize,
    /// The version of the weights with which they were computed.
    version: u64,
}

/// A model and the tensors that accompany each call. Evaluates only the new columns where possible,
/// else the whole window.
pub struct StepRunner {
    model: Arc<AutoregressiveWrapper>,
    /// The accompanying tensors: with one row per prompt before the first step, then one per row.
    /// `padding` likewise.
    with: TokenTensors,
    /// The source that the encoder is yet to read; its output then accompanies every step.
    source: Option<Source>,
    columns: Columns,
    /// Whether to cache.
    caching: Caching,
    /// The cache, after a step that filled it.
    cache: Option<StepCache>,
    /// The number of padding columns at the start of each row, which a mask in `with` hides.
    padding: Vec<usize>,
    /// The number of consecutive rows per row of `with`: those of a prompt before the first step,
    /// then 1.
    repeats: usize,
    /// The device of the tokens.
    device: Device,
}

/// The source sequence of an encoder-decoder generation.
struct Source {
    model: Arc<XTransformer>,
    tokens: Tensor,
    with: SourceTensors,
}

impl StepRunner {
    /// For prompts that grow as `columns` says, with `padding` columns at the start of each, and
    /// `rows_per_prompt` rows per prompt. `with` has one row per prompt.
    pub fn new(
        model: Arc<AutoregressiveWrapper>,
        with: TokenTensors,
        columns: Columns,
        padding: Vec<usize>,
        rows_per_prompt: usize,
        device: Device,
        caching: Caching,
    ) -> Self {
        let (source, cache) = (None, None);
        Self {
            model,
            with,
            source,
            columns,
            caching,
            cache,
            padding,
            repeats: rows_per_prompt,
            device,
        }
    }

    /// Sets the source: the encoder of `model` reads `tokens` at the first step.
    pub fn read_source(&mut self, model: Arc<XTransformer>, tokens: Tensor, with: SourceTensors) {
        self.source = Some(Source { model, tokens, with });
    }

    /// Logits of the next token of each row, (rows, num_tokens). `rows` contain the prompt and the
    /// tokens so far.
    pub fn logits(&mut self, rows: &[Vec<i64>], ctx: &Ctx) -> Result<Tensor> {
        ctx.check()?;
        self.encode_source(ctx)?;
        let n = rows.first().map_or(0, Vec::len);
        let seen = n.min(self.columns.window);
        // taken out of `self`: after an error, its layers could have different numbers of columns
        let end = self.model.net().end_of_positions();
        let fits = end.map_or(Ok(true), |end| ends_before(&self.with, n, end))?;
        let mut cache = self.take_cache(n, seen).filter(|_| fits);
        let new = cache.as_ref().map_or(seen, |cache| n - cache.columns);
        // before the first token is drawn, the rows of a prompt are equal: evaluate it only once
        let ids: Vec<i64> = rows
            .iter()
            .step_by(self.repeats)
            .flat_map(|row| row[n - new..].iter().copied())
            .collect();
        let x =
            Tensor::constant(Array::from_vec(ids, (rows.len() / self.repeats, new), &self.device)?);
        let layers = cache.as_mut().map(|cache| &mut cache.layers);
        let logits = no_grad(|| {
            self.model.net().next_logits(
                &x,
                &self.tensors(n, (seen, new), fits)?,
                layers,
                &ctx.evaluating(),
            )
        })?;
        let logits = self.expand_rows(logits, cache.as_mut())?;
        self.cache = cache.map(|cache| StepCache { columns: n, ..cache });
        Ok(logits)
    }

    /// After the first step, expands tensors, cache and logits from one row per prompt to
    /// `repeats` rows per prompt.
    fn expand_rows(&mut self, logits: Tensor, cache: Option<&mut StepCache>) -> Result<Tensor> {
        let (prompts, repeats) = (self.padding.len(), self.repeats);
        if repeats == 1 {
            return Ok(logits);
        }
        let with = no_grad(|| repeat_rows(&self.with, prompts, repeats))?;
        if let Some(cache) = cache {
            cache.layers.repeat_rows(prompts, repeats)?;
        }
        let rows: Vec<u32> =
            (0..prompts).flat_map(|row| std::iter::repeat_n(row as u32, repeats)).collect();
        let count = rows.len();
        let array = logits.array()?;
        let logits = array.index_select(&Array::from_vec(rows, count, &array.device())?, 0)?;
        self.padding = self
            .padding
            .iter()
            .flat_map(|padding| std::iter::repeat_n(*padding, repeats))
            .collect();
        (self.with, self.repeats) = (with, 1);
        Ok(Tensor::constant(logits))
    }

    /// The cache for a step over `n` columns, of which the model sees the last `seen`. `None` if
    /// nothing can be cached: the window moves, so that the keys and values of a column change, or
    /// tensors belong to columns and fit only one length. It is empty where the keys and values
    /// before are others now.
    fn take_cache(&mut self, n: usize, seen: usize) -> Option<StepCache> {
        let net = self.model.net();
        let cache = self.cache.take();
        if !self.caching.on
            || seen < n
            || net.not_cacheable().is_some()
            || has_per_column_tensors(&self.with)
        {
            return None;
        }
        let version = self.caching.version();
        // if no column is new, start afresh: the logits of earlier calls are not cached
        let goes_on = |cache: &StepCache| {
            cache.version == version
                && cache.columns < n
                && net.layers().goes_on(&cache.layers, n - cache.columns)
        };
        cache.filter(goes_on).or_else(|| {
            let expected = self.columns.total.min(self.columns.window).saturating_sub(n);
            Some(StepCache { layers: net.cache(expected), columns: 0, version })
        })
    }

    /// Whether the next step can evaluate only the new columns, unless the weights change.
    pub fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    /// Row `i` now continues the former row `from[i]`, which belongs to the same prompt.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        if from.iter().copied().eq(0..from.len()) {
            return Ok(());
        }
        let Some(mut cache) = self.cache.take() else {
            return Ok(());
        };
        cache.layers.reorder(from)?;
        self.cache = Some(cache);
        Ok(())
    }

    /// Runs the encoder on the source, before the first step.
    fn encode_source(&mut self, ctx: &Ctx) -> Result<()> {
        if let Some(source) = &self.source {
            self.with.layers = source.model.encoded(&source.tokens, &source.with, ctx)?;
            self.source = None;
        }
        Ok(())
    }

    /// The accompanying tensors for the last `seen` of `n` columns, of which `new` ones are
    /// evaluated, with masks, positions and ids of kinds extended to the new columns. Ids of kinds
    /// are those of the evaluated columns, all others cover what a cache has too.
    /// Positions that do not fit into their table, as `fits` says, are moved down.
    fn tensors(&self, n: usize, (seen, new): (usize, usize), fits: bool) -> Result<TokenTensors> {
        let mut with = self.with.clone();
        span_columns(&mut with, n - seen, n)?;
        if let Some(end) = self.model.net().end_of_positions().filter(|_| seen < n || !fits) {
            fit_positions(&mut with, end)?;
        }
        for (_, ids) in &mut with.embed_ids {
            *ids = ops::narrow(ids, ids.rank() - 1, seen - new, new)?;
        }
        let prefix = with.prepend_embeds.as_ref().map_or(0, |e| e.dim(1));
        let extended =
            |mask: Option<Tensor>| mask.map(|m| self.extend_mask(&m, prefix, n, seen)).transpose();
        with.layers.mask = extended(with.layers.mask)?;
        with.layers.self_attn_context_mask = extended(with.layers.self_attn_context_mask)?;
        if with.pos.is_none() {
            with.pos = positions(&self.padding, n, seen, &self.device)?;
        }
        Ok(with)
    }

    /// Extends `mask`, (rows, front + prompt), to new tokens, which are real, and drops columns
    /// that have left the window; the `prefix` columns stay. Result: (rows, prefix + seen).
    fn extend_mask(&self, mask: &Tensor, prefix: usize, n: usize, seen: usize) -> Result<Tensor> {
        let dims = [self.padding.len(), prefix + self.columns.prompt];
        require_bool(mask, "mask")?;
        if mask.dims() != dims {
            return Error::shape(format!(
                "mask must be bool of shape {dims:?}, got {:?}",
                mask.dims()
            ));
        }
        let more = Tensor::boolean(Array::ones(
            (dims[0], n - self.columns.prompt),
            DType::U8,
            &mask.device(),
        )?);
        let tokens = ops::cat(&[&ops::narrow(mask, 1, prefix, self.columns.prompt)?, &more], 1)?;
        Ok(ops::cat(
            &[&ops::narrow(mask, 1, 0, prefix)?, &ops::narrow(&tokens, 1, n - seen, seen)?],
            1,
        )?)
    }
}
