//! `ViTransformerWrapper`.

use super::construction::{parse, Construction};
use crate::models::model::{Built, Class};
use crate::models::{Model, ViTransformerWrapper};
use crate::{Args, Ctx, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::calls::ViTransformerCall;
use xt_options::images::ViTransformerWrapperOptions;

/// Constructs a `ViTransformerWrapper`.
pub fn new(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let options: ViTransformerWrapperOptions = parse(with.class, options)?;
    let (layers, child) = with.layers(&options.attn_layers)?;
    Ok(Box::new(Arc::new(ViTransformerWrapper::new(layers, child.entries(), &options, p))))
}

impl Class for Arc<ViTransformerWrapper> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_vit(self, args, ctx),
            _ => Err(model.has_no(method)),
        }
    }

    fn train(&self, on: bool) {
        self.mode().set(on);
    }

    fn vectors(&self) -> Option<&'static str> {
        Some("img")
    }
}

/// `ViTransformerWrapper.forward`.
fn call_vit(model: &ViTransformerWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: ViTransformerCall = args.named()?;
    Ok(model.forward(&args.tensor(0, "img")?, call.return_embeddings, ctx)?.into())
}
