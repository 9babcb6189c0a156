//! Checkpoints: the bytes alone rebuild the model.

use crate::common::{
    array_values, autoregressive, build, forward, gpt, layers, plain, tokens, values,
};
use crate::device::device;
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use xt_core::{checkpoint, DType, Model, VERSION};

fn specs() -> Vec<Json> {
    let nested = json!({ "custom_layers": ["a", "f", "f"], "layer_dropout": [0.0, 0.1, 0.2], "rotary_pos_emb": true });
    let wrapper = json!({ "emb_dim": 10, "post_emb_norm": true, "emb_frac_gradient": 0.5, "emb_dropout": 0.1 });
    vec![
        plain(),
        autoregressive(
            gpt(nested, wrapper),
            json!({ "mask_prob": 0.2, "ignore_index": 0, "pad_value": -1 }),
        ),
        gpt(json!({ "ff_no_bias": true, "heads": 1.0 }), json!({ "logits_dim": 5 })),
        layers("Encoder", json!({ "cross_attend": true, "pre_norm": false })),
    ]
}

fn state(model: &Model) -> Vec<(String, Vec<f64>)> {
    model
        .entries()
        .iter()
        .map(|e| (e.name.clone(), array_values(&e.param.values().unwrap())))
        .collect()
}

#[test]
fn a_checkpoint_rebuilds_class_nested_options_and_weights() {
    for spec in specs() {
        let model = build(&spec);
        let bytes = checkpoint::save(&model).unwrap();
        let loaded = checkpoint::load(&bytes, &device()).unwrap();
        assert_eq!(loaded.spec(), spec);
        assert_eq!(loaded.describe(), model.describe());
        assert_eq!(state(&loaded), state(&model));
        assert_eq!(checkpoint::save(&loaded).unwrap().len(), bytes.len());
    }
}

#[test]
fn a_loaded_model_computes_and_trains_on() {
    let model = build(&plain());
    let loaded = checkpoint::load(&checkpoint::save(&model).unwrap(), &device()).unwrap();
    let x = tokens(2, 8, 1);
    let loss = forward(&loaded, &x);
    assert_eq!(values(&loss), values(&forward(&model, &x)));
    loss.backward(false, &|| false).unwrap();
    assert!(loaded.entries().iter().all(|e| e.param.leaf().grad().unwrap().is_some()));
}

#[test]
fn metadata_names_class_options_and_version_and_tensors_have_the_names_of_the_state_dict() {
    let model = build(&plain());
    let (tensors, metadata) = checkpoint::read(&checkpoint::save(&model).unwrap()).unwrap();
    let description: Json = serde_json::from_str(&metadata["x-transformers"]).unwrap();
    assert_eq!(
        description,
        json!({ "class": "AutoregressiveWrapper", "options": plain()["options"], "version": VERSION })
    );
    let mut names: Vec<&str> = model.entries().iter().map(|e| e.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
}

#[test]
fn every_element_type_is_read_back_as_it_was_written() {
    let values = crate::common::float(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[2, 3]);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64, DType::U8] {
        let transposed = values.to_dtype(dtype).unwrap().t().unwrap();
        let bytes = checkpoint::write(vec![("x".into(), transposed)], HashMap::new()).unwrap();
        let (tensors, _) = checkpoint::read(&bytes).unwrap();
        assert_eq!((tensors[0].1.dtype(), tensors[0].1.dims()), (dtype, [3, 2].as_slice()));
        assert_eq!(array_values(&tensors[0].1), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }
}

#[test]
fn weights_in_half_precision_load_into_a_model_of_full_precision() {
    let model = build(&plain());
    let (tensors, metadata) = checkpoint::read(&checkpoint::save(&model).unwrap()).unwrap();
    let half =
        tensors.into_iter().map(|(name, t)| (name, t.to_dtype(DType::BF16).unwrap())).collect();
    let loaded = checkpoint::load(&checkpoint::write(half, metadata).unwrap(), &device()).unwrap();
    for ((_, got), (_, want)) in state(&loaded).iter().zip(state(&model)) {
        crate::common::close(got, &want, 4e-3);
    }
    assert!(loaded.entries().iter().all(|e| e.param.leaf().dtype() == DType::F32));
}
