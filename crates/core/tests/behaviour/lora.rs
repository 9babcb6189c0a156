//! Low-rank updates: what can be merged.

use crate::common::{autoregressive, build, gpt};
use serde_json::json;
use xt_core::models::LoraLayers;
use xt_core::{Device, Format, Rng};

#[test]
fn a_merge_is_checked_before_anything_is_merged() {
    let layers = json!({ "dim": 32, "attn_dim_head": 16 });
    let model = build(&autoregressive(gpt(layers, json!({})), json!({})));
    // quantized weights are on the CPU
    model.move_to(&Device::Cpu).unwrap();
    let layer = |name: &str| format!("net.attn_layers.layers.0.1.{name}");
    let modules = vec![layer("to_q"), layer("to_v")];
    let updates = LoraLayers { modules: modules.clone(), r: 2, scale: 1.0 };
    model.add_lora(&updates, &Rng::new(1, 1)).unwrap();
    model.check_merge_lora(&modules).unwrap();
    assert_eq!(model.lora(), std::slice::from_ref(&updates));
    model.quantize(Format::Q8_0).unwrap();
    for error in [model.check_merge_lora(&modules), model.merge_lora(&modules)] {
        assert_eq!(error.unwrap_err().code(), "quantized");
    }
    assert_eq!(model.lora(), [updates]);
    let unknown = [layer("to_p")];
    assert_eq!(model.check_merge_lora(&unknown).unwrap_err().code(), "invalid_state");
}
