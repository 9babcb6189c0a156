//! A transformer over continuous vectors in place of tokens, and its autoregressive loss and generation.

use super::transformer::prepended;
use crate::layers::{dropout, AttentionLayers, Intermediates, LayerNorm, LayerTensors, Linear, Record};
use crate::position::PositionEmbedding;
use crate::{Ctx, Entry, Error, Mode, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops};
use xt_options::wrappers::ContinuousTransformerWrapperOptions;

pub struct ContinuousTransformerWrapper {
    project_in: Option<Linear>,
    pos_emb: PositionEmbedding,
    post_emb_norm: Option<LayerNorm>,
    layers: Arc<AttentionLayers>,
    norm: LayerNorm,
    project_out: Option<Linear>,
    dim_in: usize,
    emb_dropout: f64,
    max_seq_len: usize,
    mode: Mode,
}

/// The tensors that go along with the sequence.
#[derive(Clone, Default)]
pub struct ContinuousTensors {
    /// i64 positions, (n) or (batch, n), or embeddings in their place.
    pub pos: Option<Tensor>,
    /// (batch, count, dim), put in front.
    pub prepend_embeds: Option<Tensor>,
    pub layers: LayerTensors,
}

impl ContinuousTransformerWrapper {
    /// `entries` are those of the layers.
    pub fn new(
        layers: Arc<AttentionLayers>,
        entries: &[Entry],
        options: &ContinuousTransformerWrapperOptions,
        p: &mut Params,
    ) -> Self {
        let dim = layers.dim();
        let pos_emb = PositionEmbedding::new(dim, layers.has_pos_emb(), false, &options.sequence, p);
        let post_emb_norm = options.norm.post_emb_norm.then(|| LayerNorm::new(dim, &mut p.under("post_emb_norm")));
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

    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// (batch, n, dim_in) to (batch, n, dim_out), or with `embeddings` to the normed (batch, n, dim).
    pub fn forward(
        &self,
        x: &Tensor,
        with: &ContinuousTensors,
        embeddings: bool,
        record: Record,
        ctx: &Ctx,
    ) -> Result<(Tensor, Intermediates)> {
        let ctx = &ctx.inside(&self.mode);
        if x.rank() != 3 || x.dim(2) != self.dim_in || !x.dtype().is_float() {
            let (kind, width) = (x.kind().map_or("?", |k| k.name()), self.dim_in);
            return Error::shape(format!(
                "x must be floating-point of shape (batch, length, {width}), got {kind} of shape {:?}",
                x.dims()
            ));
        }
        let mut y = self.project_in.as_ref().map_or_else(|| Ok(x.clone()), |linear| linear.forward(x))?;
        if let Some(positions) = self.pos_emb.forward(x.dim(1), with.pos.as_ref())? {
            y = ops::add(&y, &positions)?;
        }
        if let Some(norm) = &self.post_emb_norm {
            y = norm.forward(&y)?;
        }
        if let Some(front) = &with.prepend_embeds {
            y = prepended(front, &y, self.layers.dim())?;
        }
        y = dropout(&y, self.emb_dropout, ctx)?;
        let out = self.layers.forward(&y, &with.layers, record, ctx)?;
        let y = self.norm.forward(&out.x)?;
        match &self.project_out {
            Some(linear) if !embeddings => Ok((linear.forward(&y)?, out.intermediates)),
            _ => Ok((y, out.intermediates)),
        }
    }
}

/// Prediction of the next vector.
pub struct ContinuousAutoregressiveWrapper {
    net: Arc<ContinuousTransformerWrapper>,
    mode: Mode,
}

impl ContinuousAutoregressiveWrapper {
    pub fn new(net: Arc<ContinuousTransformerWrapper>) -> Self {
        Self { net, mode: Mode::default() }
    }

    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Mean squared error of each vector given those before it; `x` is (batch, n, dim). A mask of full length loses its last column;
    /// it chooses the inputs whose predictions count.
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
        let count = mask.array()?.to_dtype(xt_autograd::DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        Ok(ops::affine(&ops::sum(&counted, None, false)?, 1.0 / (count * target.dim(2) as f64), 0.0)?)
    }

    /// The `seq_len` vectors that follow `start`, (n, dim) or (batch, n, dim); the same axes come back.
    pub fn generate(&self, start: &Tensor, seq_len: usize, with: &ContinuousTensors, ctx: &Ctx) -> Result<Tensor> {
        let single = start.rank() == 2;
        if !matches!(start.rank(), 2 | 3) || start.elem_count() == 0 {
            return Error::shape(format!(
                "start must have shape (length, dim) or (batch, length, dim), got {:?}",
                start.dims()
            ));
        }
        let start = start.detach()?;
        let ctx = &ctx.evaluating();
        let mut all = if single { ops::reshape(&start, &[1, start.dim(0), start.dim(1)])? } else { start.clone() };
        let prompt = all.dim(1);
        for _ in 0..seq_len {
            ctx.check()?;
            let seen = all.dim(1).min(self.net.max_seq_len);
            let x = ops::narrow(&all, 1, all.dim(1) - seen, seen)?;
            let (out, _) = no_grad(|| self.net.forward(&x, with, false, Record::default(), ctx))?;
            require_width(&out, x.dim(2))?;
            all = ops::cat(&[&all, &ops::narrow(&out, 1, out.dim(1) - 1, 1)?], 1)?;
        }
        let new = ops::narrow(&all, 1, prompt, seq_len)?;
        Ok(if single { ops::reshape(&new, &[seq_len, new.dim(2)])? } else { new })
    }
}

/// An error unless what the model gives is as wide as what it takes.
fn require_width(out: &Tensor, width: usize) -> Result<()> {
    if out.dim(2) == width {
        return Ok(());
    }
    let got = out.dim(2);
    Error::shape(format!(
        "the model gives vectors of {got} features for inputs of {width}: `dim_out` must equal `dim_in`"
    ))
}
