//! Trains a tiny GPT on a sentence and lets it write:
//! `cargo run --release --example gpt -p xt-core`.

use serde_json::json;
use std::error::Error;
use std::sync::Arc;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{Args, Array, Ctx, Device, EntryKind, Leaf, Model, Rng, Tensor, Value};

const TEXT: &str = "call me ishmael. call me ishmael.";

/// A token for each byte, (1, length).
fn tokens(text: &str) -> xt_core::Result<Tensor> {
    let ids: Vec<i64> = text.bytes().map(i64::from).collect();
    let dims = [1, ids.len()];
    Ok(Tensor::constant(Array::from_vec(ids, &dims, &Device::Cpu)?))
}

fn call(
    model: &Model,
    method: &str,
    args: serde_json::Value,
    x: Tensor,
    number: u64,
) -> Result<Tensor, Box<dyn Error>> {
    let rng = Rng::new(1, number);
    let args = Args::new(model.class(), args, std::slice::from_ref(&x))?;
    match model.call(method, &args, &Ctx::new(&rng, &|| false))? {
        Value::Tensor(tensor) => Ok(tensor),
        _ => Err("the call gives no tensor".into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let layers = json!({ "dim": 64, "depth": 2, "heads": 4, "rotary_pos_emb": true });
    let attn_layers = json!({ "class": "Decoder", "options": layers });
    let net = json!({ "num_tokens": 256, "max_seq_len": 64, "attn_layers": attn_layers });
    let net = json!({ "class": "TransformerWrapper", "options": net });
    let spec = json!({ "class": "AutoregressiveWrapper", "options": { "net": net } });
    let model = Model::from_spec(&spec, 1)?;

    let weights = model.entries().iter().filter(|entry| entry.kind == EntryKind::Parameter);
    let leaves: Vec<Arc<Leaf>> = weights.map(|entry| entry.param.leaf().clone()).collect();
    let groups = vec![leaves.len()];
    let mut optimizer = Optimizer::new(OptimizerKind::AdamW, leaves, groups)?;
    for step in 0..50 {
        let loss = call(&model, "forward", json!([{ "$tensor": 0 }]), tokens(TEXT)?, step)?;
        if step % 10 == 0 {
            println!("step {step}: loss {:.3}", loss.array()?.to_scalar::<f32>()?);
        }
        loss.backward(false, &|| false)?;
        optimizer.step(&[json!({ "lr": 3e-3 })], &|| false)?;
        optimizer.zero_grad()?;
    }

    let args = json!([{ "$tensor": 0 }, 29, { "temperature": 0 }]);
    let written = call(&model, "generate", args, tokens("call")?, 100)?;
    let ids = written.array()?.squeeze(0)?.to_vec1::<i64>()?;
    let text: String = ids.iter().filter_map(|id| u8::try_from(*id).ok()).map(char::from).collect();
    println!("call{text}");
    Ok(())
}
