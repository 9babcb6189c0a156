//! Single layers as models: `Linear`, `Embedding`, `LayerNorm`, `RMSNorm`, `Dropout` and
//! `FeedForward`, the parts of a user's own module. Parameters have PyTorch's names and initial
//! distributions.

use super::construction::{parse, Construction};
use crate::ids::dtype_name;
use crate::layers::{self, Embedding, FeedForward, Linear};
use crate::models::model::{Built, Class};
use crate::models::Model;
use crate::{Args, Array, Ctx, DType, Error, Init, Mode, Param, Params, Result, Tensor, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_autograd::ops::{self, Comparison};
use xt_options::calls::ModuleCall;
use xt_options::modules::{
    normalized_axes, DropoutOptions, EmbeddingOptions, FeedForwardModuleOptions, LayerNormOptions,
    LinearOptions, RMSNormOptions,
};

/// A layer as a model.
struct Module {
    layer: Layer,
    mode: Mode,
}

enum Layer {
    Linear(Linear),
    /// A table, and the index of its padding.
    Embedding(Embedding, Option<usize>),
    Norm(Norm),
    /// Dropout with this probability.
    Dropout(f64),
    FeedForward(FeedForward),
}

/// A normalisation over the last axes.
struct Norm {
    /// The lengths of these axes.
    shape: Vec<usize>,
    /// What is added to the variance, or to the mean of the squares; absent: what the type of the
    /// input rounds by.
    eps: Option<f64>,
    /// The mean is subtracted (LayerNorm), or not (RMSNorm).
    centred: bool,
    weight: Option<Param>,
    bias: Option<Param>,
}

fn built(layer: Layer) -> Built {
    Ok(Box::new(Arc::new(Module { layer, mode: Mode::default() })))
}

/// Constructs a `Linear`.
pub fn linear(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let o: LinearOptions = parse(with.class, options)?;
    built(Layer::Linear(Linear::new(o.in_features.get(), o.out_features.get(), o.bias, p)))
}

/// Constructs an `Embedding`.
pub fn embedding(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let o: EmbeddingOptions = parse(with.class, options)?;
    let (count, dim) = (o.num_embeddings.get(), o.embedding_dim.get());
    let init = match o.padding() {
        Some(row) => Init::NormalOutside { std: 1.0, zeros: row * dim..(row + 1) * dim },
        None => Init::Normal { std: 1.0 },
    };
    built(Layer::Embedding(Embedding::new(count, dim, init, p), o.padding()))
}

/// Constructs a `LayerNorm`.
pub fn layer_norm(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let o: LayerNormOptions = parse(with.class, options)?;
    let shape = normalized_axes(&o.normalized_shape);
    let affine = o.elementwise_affine;
    let weight = affine.then(|| p.add("weight", &shape, Init::Constant(1.0)));
    let bias = (affine && o.bias).then(|| p.add("bias", &shape, Init::Constant(0.0)));
    built(Layer::Norm(Norm { shape, eps: Some(o.eps.0), centred: true, weight, bias }))
}

/// Constructs an `RMSNorm`.
pub fn rms_norm(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let o: RMSNormOptions = parse(with.class, options)?;
    let shape = normalized_axes(&o.normalized_shape);
    let weight = o.elementwise_affine.then(|| p.add("weight", &shape, Init::Constant(1.0)));
    let eps = o.eps.map(|eps| eps.0);
    built(Layer::Norm(Norm { shape, eps, centred: false, weight, bias: None }))
}

/// Constructs a `Dropout`.
pub fn dropout(options: &Json, with: &mut Construction, _: &mut Params) -> Built {
    let o: DropoutOptions = parse(with.class, options)?;
    built(Layer::Dropout(o.p.0))
}

/// Constructs a `FeedForward`.
pub fn feedforward(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let o: FeedForwardModuleOptions = parse(with.class, options)?;
    built(Layer::FeedForward(FeedForward::new(o.dim.get(), &o.block, p)))
}

impl Class for Arc<Module> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        if method != "forward" {
            return Err(model.has_no(method));
        }
        let ModuleCall {} = args.named()?;
        let (x, ctx) = (args.tensor(0, "x")?, ctx.for_model(&self.mode));
        let y = match &self.layer {
            Layer::Embedding(table, padding) => looked_up(table, *padding, &x),
            _ if !x.dtype().is_float() => {
                let kind = dtype_name(&x);
                Error::shape(format!(
                    "x must have floating-point values, got {kind}: cast it to f32"
                ))
            }
            Layer::Linear(linear) => linear.forward(&x),
            Layer::Norm(norm) => norm.forward(&x),
            Layer::Dropout(p) => layers::dropout(&x, *p, &ctx),
            Layer::FeedForward(block) => block.forward(&x, &ctx),
        };
        Ok(y?.into())
    }

    fn train(&self, on: bool) {
        self.mode.set(on);
    }

    fn vectors(&self) -> Option<&'static str> {
        (!matches!(self.layer, Layer::Embedding(..))).then_some("x")
    }
}

/// The vectors of `ids`, i64 (..): (.., dim). Those of the padding get no gradient.
fn looked_up(table: &Embedding, padding: Option<usize>, ids: &Tensor) -> Result<Tensor> {
    let y = table.forward(ids)?;
    let Some(padding) = padding else { return Ok(y) };
    let hidden = ops::compare_with(ids, padding as f64, Comparison::Eq)?;
    let mut dims = ids.dims().to_vec();
    dims.push(1);
    Ok(ops::where_cond(&ops::reshape(&hidden, &dims)?, &y.detach()?, &y)?)
}

impl Norm {
    /// `(.., shape)` to `(.., shape)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let lead = x.rank().checked_sub(self.shape.len());
        let Some(lead) = lead.filter(|lead| x.dims()[*lead..] == self.shape) else {
            let shape: String = self.shape.iter().map(|size| format!(", {size}")).collect();
            return Error::shape(format!("x must have shape (..{shape}), got {:?}", x.dims()));
        };
        let mut dims = x.dims()[..lead].to_vec();
        dims.push(self.shape.iter().product());
        let y = self.on_rows(&ops::reshape(x, &dims)?)?;
        Ok(ops::reshape(&y, x.dims())?)
    }

    /// Over the last axis alone.
    fn on_rows(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(x.rank() - 1);
        let or = |param: &Option<Param>, filled: fn(usize, DType, &crate::Device) -> _| match param
        {
            Some(param) => Ok(ops::reshape(&param.tensor(), &[width])?),
            None => Ok::<_, Error>(Tensor::constant(filled(width, x.dtype(), &x.device())?)),
        };
        let weight = or(&self.weight, Array::ones)?;
        let eps = self.eps.unwrap_or_else(|| xt_kernels::host::epsilon(x.dtype()));
        if !self.centred {
            return Ok(ops::rms_norm(x, &weight, eps)?);
        }
        let bias = or(&self.bias, Array::zeros)?;
        Ok(ops::layer_norm(x, &weight, &bias, eps)?)
    }
}
