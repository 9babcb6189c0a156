//! A transformer over continuous vectors instead of tokens, with its autoregressive loss and
//! generation.

use super::transformer::prepended;
use crate::layers::{
    dropout, last_columns, AttentionLayers, Intermediates, LayerNorm, LayerTensors, LayersCache,
    Linear, Record,
};
use crate::position::PositionEmbedding;
use crate::{Ctx, Entry, Error, Mode, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops};
use xt_kernels::memory::alloc;
use xt_options::wrappers::ContinuousTransformerWrapperOptions;

/// A transformer over continuous vectors.
pub struct ContinuousTransformerWrapper {
    /// The projection of the input to the width of the layers.
    project_in: Option<Linear>,
    pos_emb: PositionEmbedding,
    post_emb_norm: Option<LayerNorm>,
    layers: Arc<AttentionLayers>,
    norm: LayerNorm,
    /// The projection to the output width.
    project_out: Option<Linear>,
    /// The width of the input.
    dim_in: usize,
    emb_dropout: f64,
    /// The number of last vectors that generation passes to the model.
    max_seq_len: usize,
    mode: Mode,
}

/// The optional tensors that accompany the sequence `(batch, n, dim_in)`.
#[derive(Clone, Default)]
pub struct ContinuousTensors {
    /// i64 positions, `(n)` or `(batch, n)`, or position embeddings of another type.
    pub pos: Option<Tensor>,
    /// Embeddings to prepend to the sequence, `(batch, count, dim)`.
    pub prepend_embeds: Option<Tensor>,
    /// The tensors for the layers.
    pub layers: LayerTensors,
}

impl ContinuousTransformerWrapper {
    /// Registers the parameters of the wrapper around `layers`, whose entries are `entries`.
    pub fn new(
        layers: Arc<AttentionLayers>,
        entries: &[Entry],
        options: &ContinuousTransformerWrapperOptions,
        p: &mut Params,
    ) -> Self {
        let dim = layers.dim();
        let pos_emb =
            PositionEmbedding::new(dim, layers.has_pos_emb(), false, &options.sequence, p);
        let post_emb_norm =
            options.norm.post_emb_norm.then(|| LayerNorm::new(dim, &mut p.under("post_emb_norm")));
        let linear = |name: &str, from, to| Linear::new(from, to, true, &mut p.under(name));
        let project_in = options.dim_in.map(|n| linear("project_in", n.get(), dim));
        p.under("attn_layers").include(entries);
        let norm = LayerNorm::new(dim, &mut p.under("norm"));
        let project_out = options.dim_out.map(|n| linear("project_out", dim, n.get()));
        Self {
            project_in,
            pos_emb,
            post_emb_norm,
            norm,
            project_out,
            dim_in: options.dim_in.map_or(dim, |n| n.get()),
            layers,
            emb_dropout: options.sequence.emb_dropout.0,
            max_seq_len: options.sequence.max_seq_len.get(),
            mode: Mode::default(),
        }
    }

    /// Training or evaluation mode of this wrapper; the layers have their own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Runs the model: `(batch, n, dim_in)` to `(batch, n, dim_out)`, or with `embeddings` to the
    /// output of the final norm, `(batch, n, dim)`. `n` of the output includes prepended
    /// embeddings.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &ContinuousTensors,
        embeddings: bool,
        record: Record,
        ctx: &Ctx,
    ) -> Result<(Tensor, Intermediates)> {
        let ctx = &ctx.inside(&self.mode);
        self.check(x)?;
        let y = self.embed(x, with, 0, ctx)?;
        let out = self.layers.forward(&y, &with.layers, record, ctx)?;
        Ok((self.head(&out.x, embeddings)?, out.intermediates))
    }

    /// Predicts the vector that follows the last one: `(batch, n, dim_in)` to
    /// `(batch, 1, dim_out)`. Without a cache, `x` contains all vectors; with a cache, only those
    /// that the cache has not seen.
    pub fn next(
        &self,
        x: &Tensor,
        with: &ContinuousTensors,
        cache: Option<&mut LayersCache>,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let ctx = &ctx.inside(&self.mode);
        self.check(x)?;
        let y = match cache {
            None => {
                self.layers
                    .forward(&self.embed(x, with, 0, ctx)?, &with.layers, Record::default(), ctx)?
                    .x
            }
            Some(cache) => {
                let front = with.prepend_embeds.as_ref().map_or(0, |front| front.dim(1));
                let y = self.embed(x, with, cache.seen().saturating_sub(front), ctx)?;
                self.layers.forward_cached(&y, &with.layers, cache, ctx)?
            }
        };
        self.head(&last_columns(&y, 1)?, false)
    }

    /// The reason why generation cannot cache keys and values, or `None` if it can.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        self.layers.not_cacheable()
    }

    /// Checks the shape and type of the input.
    fn check(&self, x: &Tensor) -> Result<()> {
        if x.rank() == 3 && x.dim(2) == self.dim_in && x.dtype().is_float() {
            return Ok(());
        }
        let (kind, width) = (x.scalar_type().map_or("?", |k| k.name()), self.dim_in);
        Error::shape(format!(
            "x must be floating-point of shape (batch, length, {width}), got {kind} of shape {:?}",
            x.dims()
        ))
    }

    /// The input of the layers, `(batch, n, dim)`, for vectors that follow `past` earlier ones.
    /// Embeddings are prepended only if `past` is 0.
    fn embed(
        &self,
        x: &Tensor,
        with: &ContinuousTensors,
        past: usize,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let mut y =
            self.project_in.as_ref().map_or_else(|| Ok(x.clone()), |linear| linear.forward(x))?;
        if let Some(positions) =
            self.pos_emb.behind(past, x.dim(1), with.pos.as_ref(), &x.device())?
        {
            y = ops::add(&y, &positions)?;
        }
        if let Some(norm) = &self.post_emb_norm {
            y = norm.forward(&y)?;
        }
        if let Some(front) = with.prepend_embeds.as_ref().filter(|_| past == 0) {
            y = prepended(front, &y, self.layers.dim())?;
        }
        dropout(&y, self.emb_dropout, ctx)
    }

    /// The final norm and, unless `embeddings` is set, the output projection.
    fn head(&self, x: &Tensor, embeddings: bool) -> Result<Tensor> {
        let y = self.norm.forward(x)?;
        match &self.project_out {
            Some(linear) if !embeddings => linear.forward(&y),
            _ => Ok(y),
        }
    }
}

/// A transformer over continuous vectors that is trained to predict the next vector.
pub struct ContinuousAutoregressiveWrapper {
    net: Arc<ContinuousTransformerWrapper>,
    mode: Mode,
}

impl ContinuousAutoregressiveWrapper {
    /// Wraps `net`, whose weights are shared.
    pub fn new(net: Arc<ContinuousTransformerWrapper>) -> Self {
        Self { net, mode: Mode::default() }
    }

    /// Training or evaluation mode of this wrapper; `net` has its own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The wrapped transformer.
    pub fn net(&self) -> &ContinuousTransformerWrapper {
        &self.net
    }

    /// The mean squared error of each vector given the vectors before it. `x` is `(batch, n, dim)`,
    /// with `n` at least 2. The mask selects the input positions whose predictions count; the last
    /// column of a mask with `n` columns is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a tensor does not fit.
    pub fn forward(&self, x: &Tensor, with: &ContinuousTensors, ctx: &Ctx) -> Result<Tensor> {
        if x.rank() != 3 || x.dim(1) < 2 {
            return Error::shape(format!(
                "a sequence must have shape (batch, length, dim), length at least 2, got {:?}",
                x.dims()
            ));
        }
        let n = x.dim(1);
        let (input, target) = (ops::narrow(x, 1, 0, n - 1)?, ops::narrow(x, 1, 1, n - 1)?);
        let mut with = with.clone();
        if let Some(mask) = with.layers.mask.as_ref().filter(|m| m.rank() == 2 && m.dim(1) == n) {
            with.layers.mask = Some(ops::narrow(mask, 1, 0, n - 1)?);
        }
        let (out, _) = self.net.forward(&input, &with, false, Record::default(), ctx)?;
        require_width(&out, target.dim(2))?;
        let Some(mask) = &with.layers.mask else {
            return Ok(ops::mse(&out, &target)?);
        };
        let difference = ops::sub(&out, &target)?;
        let rows = ops::reshape(mask, &[mask.dim(0), mask.dim(1), 1])?;
        let squares = ops::mul(&difference, &difference)?;
        let counted = ops::where_cond(&rows, &squares, &ops::scalar_like(&squares, 0.0)?)?;
        let count =
            mask.array()?.to_dtype(xt_autograd::DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        Ok(ops::affine(
            &ops::sum(&counted, None, false)?,
            1.0 / (count * target.dim(2) as f64),
            0.0,
        )?)
    }

    /// Generates the `seq_len` vectors that follow `start`, `(n, dim)` or `(batch, n, dim)`. The
    /// result has the same axes. `cache_kv` enables caching of keys and values between the steps.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `start` does not fit; `Aborted` if the call is cancelled.
    pub fn generate(
        &self,
        start: &Tensor,
        seq_len: usize,
        with: &ContinuousTensors,
        cache_kv: bool,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let single = start.rank() == 2;
        if !matches!(start.rank(), 2 | 3) || start.elem_count() == 0 {
            return Error::shape(format!(
                "start must have shape (length, dim) or (batch, length, dim), got {:?}",
                start.dims()
            ));
        }
        let start = start.detach()?;
        let ctx = &ctx.evaluating();
        let mut all = if single {
            ops::reshape(&start, &[1, start.dim(0), start.dim(1)])?
        } else {
            start.clone()
        };
        let prompt = all.dim(1);
        let columns = (prompt as u64).saturating_add(seq_len as u64);
        alloc::check_wide(&[all.dim(0) as u64, columns, all.dim(2) as u64], all.dtype())?;
        let mut steps = VectorSteps::new(&self.net, with, cache_kv, seq_len);
        for _ in 0..seq_len {
            ctx.check()?;
            let next = no_grad(|| steps.next(&all, ctx))?;
            all = ops::cat(&[&all, &next], 1)?;
        }
        let new = ops::narrow(&all, 1, prompt, seq_len)?;
        Ok(if single { ops::reshape(&new, &[seq_len, new.dim(2)])? } else { new })
    }
}

/// Computes the next vector in each step of a generation.
struct VectorSteps<'a> {
    net: &'a ContinuousTransformerWrapper,
    with: &'a ContinuousTensors,
    cache: Option<LayersCache>,
}

impl<'a> VectorSteps<'a> {
    /// Prepares a generation of `count` vectors.
    fn new(
        net: &'a ContinuousTransformerWrapper,
        with: &'a ContinuousTensors,
        cache_kv: bool,
        count: usize,
    ) -> Self {
        let LayerTensors { mask, attn_mask, self_attn_context_mask, .. } = &with.layers;
        // these tensors fit one sequence length only, so the cache cannot be used
        let fixed = mask.is_some()
            || attn_mask.is_some()
            || self_attn_context_mask.is_some()
            || with.pos.is_some();
        let cached = cache_kv && !fixed && net.not_cacheable().is_none();
        Self { net, with, cache: cached.then(|| net.layers.cache(count.min(net.max_seq_len))) }
    }

    /// The vector that follows all vectors so far, `(batch, n, dim)` to `(batch, 1, dim)`.
    fn next(&mut self, all: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        let n = all.dim(1);
        let seen = n.min(self.net.max_seq_len);
        if n > seen {
            // from now on the window slides, which changes the result of every position in it
            self.cache = None;
        }
        let x = match &self.cache {
            Some(cache) if cache.seen() > 0 => last_columns(all, 1)?,
            _ => last_columns(all, seen)?,
        };
        let next = self.net.next(&x, self.with, self.cache.as_mut(), ctx)?;
        require_width(&next, all.dim(2))?;
        Ok(next)
    }
}

/// Checks that the output of the model has the width of its input.
fn require_width(out: &Tensor, width: usize) -> Result<()> {
    if out.dim(2) == width {
        return Ok(());
    }
    let got = out.dim(2);
    Error::shape(format!(
        "the model gives vectors of {got} features for inputs of {width}: `dim_out` must equal `dim_in`"
    ))
}
