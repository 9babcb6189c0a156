//! Models, their inputs, and steps of training.

use crate::error::Result;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::training::{clip_grad_norm, Optimizer, OptimizerKind};
use xt_core::{Args, Array, Ctx, Device, EntryKind, Leaf, Model, Rng, Tensor, Value};

/// A language model: an `AutoregressiveWrapper` with these options of its `Decoder` and its
/// `TransformerWrapper`.
pub fn language_model(decoder: Json, wrapper: Json) -> Json {
    let layers = json!({ "class": "Decoder", "options": decoder });
    let mut options = wrapper;
    options["attn_layers"] = layers;
    let net = json!({ "class": "TransformerWrapper", "options": options });
    json!({ "class": "AutoregressiveWrapper", "options": { "net": net } })
}

/// Builds a model on `device`; the same seed gives the same weights everywhere.
///
/// # Errors
/// If the options are wrong or memory is short.
pub fn build(spec: &Json, device: &Device) -> Result<Arc<Model>> {
    let model = Model::from_spec(spec, 1)?;
    model.move_to(device)?;
    Ok(model)
}

/// Random ids below `bound`, (batch, n).
///
/// # Errors
/// If memory is short.
pub fn ids(bound: u64, (batch, n): (usize, usize), seed: u64, device: &Device) -> Result<Tensor> {
    let drawn = Rng::new(seed, 0).stream().below(bound, batch * n);
    let drawn = drawn.into_iter().map(|id| id as i64).collect();
    Ok(Tensor::constant(Array::from_vec(drawn, (batch, n), device)?))
}

/// The parameters of a model with their names.
pub fn parameters(model: &Model) -> Vec<(String, Arc<Leaf>)> {
    let entries = model.entries().iter().filter(|entry| entry.kind == EntryKind::Parameter);
    entries.map(|entry| (entry.name.to_string(), entry.param.leaf().clone())).collect()
}

/// Calls the model's `forward`; `call` selects the random numbers of dropout.
///
/// # Errors
/// Those of the model.
pub fn forward(model: &Model, inputs: &[Tensor], call: u64) -> Result<Tensor> {
    let names = (0..inputs.len()).map(|i| json!({ "$tensor": i })).collect();
    let args = Args::new("forward", Json::Array(names), inputs)?;
    let rng = Rng::new(3, call);
    match model.call("forward", &args, &Ctx::new(&rng, &|| false))? {
        Value::Tensor(output) => Ok(output),
        _ => Err("the model gave no tensor".into()),
    }
}

/// A scalar, read from the device.
///
/// # Errors
/// If it is none.
pub fn number(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.array()?.to_scalar::<f32>()?))
}

/// Trains a model with AdamW.
pub struct Trainer {
    model: Arc<Model>,
    parameters: Vec<Arc<Leaf>>,
    optimizer: Optimizer,
    lr: f64,
    steps: u64,
}

impl Trainer {
    /// # Errors
    /// If memory is short.
    pub fn new(model: Arc<Model>, lr: f64) -> Result<Self> {
        model.train(true);
        let parameters: Vec<_> = parameters(&model).into_iter().map(|(_, leaf)| leaf).collect();
        let counts = vec![parameters.len()];
        let optimizer = Optimizer::new(OptimizerKind::AdamW, parameters.clone(), counts)?;
        Ok(Self { model, parameters, optimizer, lr, steps: 0 })
    }

    /// A step on `inputs` with the gradient's norm clipped to 0.5; returns loss and norm.
    ///
    /// # Errors
    /// Those of the model.
    pub fn step(&mut self, inputs: &[Tensor]) -> Result<(Tensor, f64)> {
        self.steps += 1;
        let loss = forward(&self.model, inputs, self.steps)?;
        loss.backward(false, &|| false)?;
        let norm = clip_grad_norm(&self.parameters, 0.5, &|| false)?;
        self.optimizer.step(&[json!({ "lr": self.lr })], &|| false)?;
        self.optimizer.zero_grad()?;
        Ok((loss, norm))
    }
}
