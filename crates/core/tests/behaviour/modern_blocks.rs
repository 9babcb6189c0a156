//! Widths of attentions, single blocks, initial values by depth, and a direction by the call: what
//! the Python package of version 1.9.2 does not have.

use crate::common::{
    build, close, copy_weights, forward, forward_with, gpt, ids, layers, mask, normal, parameter,
    spec, taken_gradients, tensor, tokens, transformer, values, with,
};
use serde_json::{json, Value as Json};
use xt_autograd::ops;
use xt_core::{Model, Tensor};

const DIM: usize = 16;

fn with_context(model: &Model, x: &Tensor, context: &Tensor) -> Tensor {
    let named = json!({ "context": { "$tensor": 1 } });
    tensor(forward_with(model, &[x.clone(), context.clone()], named).unwrap())
}

/// A model that takes a wider context gives what a plain one gives for a context with as many
/// features of which the others are 0, where its weights are those of the first features.
#[test]
fn cross_attn_dim_context_is_the_width_of_the_context() {
    for (class, more) in [
        ("Decoder", json!({ "cross_attend": true })),
        ("Encoder", json!({ "cross_attend": true, "only_cross": true, "attn_kv_heads": 1 })),
        ("CrossAttender", json!({ "add_value_residual": true, "attn_num_mem_kv": 2 })),
    ] {
        let plain = build(&layers(class, more.clone()));
        let wide = build(&layers(class, with(more, json!({ "cross_attn_dim_context": 24 }))));
        for entry in wide.entries() {
            let own = parameter(&plain, &entry.name);
            let numbers = match entry.param.leaf().shape() {
                [rows, 24] => (0..*rows)
                    .flat_map(|row| {
                        let mut numbers = own[row * DIM..(row + 1) * DIM].to_vec();
                        numbers.extend([0.5; 8]);
                        numbers
                    })
                    .collect(),
                _ => own,
            };
            crate::common::set(&wide, &entry.name, &numbers);
        }
        let (x, narrow) = (normal(&[2, 5, DIM], 1), normal(&[2, 3, DIM], 2));
        let zeros = ops::affine(&normal(&[2, 3, 8], 3), 0.0, 0.0).unwrap();
        let context = ops::cat(&[&narrow, &zeros], 2).unwrap();
        let got = with_context(&wide, &x, &context);
        close(&values(&got), &values(&with_context(&plain, &x, &narrow)), 2e-5);
        let loss = ops::sum(&ops::square(&got).unwrap(), None, false).unwrap();
        loss.backward(false, &|| false).unwrap();
        assert_eq!(taken_gradients(&wide).len(), wide.entries().len());
        let error = forward_with(&wide, &[x, narrow], json!({ "context": { "$tensor": 1 } }));
        assert!(error.err().unwrap().to_string().contains("(2, length, 24)"));
    }
    let alone = json!({ "cross_attn_dim_context": 24 });
    let error = Model::from_spec(&layers("Decoder", alone), 1).err().unwrap();
    assert!(error.to_string().contains("needs `cross_attend`"));
}

#[test]
fn dim_context_and_dim_out_are_the_widths_of_an_attention() {
    let options = |more: Json| {
        let base = json!({ "dim": DIM, "heads": 2, "attn_dim_head": 8 });
        let base = with(base, json!({ "dim_head": 8 }));
        let mut all = with(base, more);
        all.as_object_mut().unwrap().remove("attn_dim_head");
        spec("Attention", all)
    };
    let model = build(&options(json!({ "dim_context": 24, "dim_out": 5, "on_attn": true })));
    let shape = |name: &str| model.entry(name).unwrap().param.leaf().shape().to_vec();
    assert_eq!(shape("to_q.weight"), [16, 16]);
    assert_eq!([shape("to_k.weight"), shape("to_v.weight")], [[16, 24], [16, 24]]);
    assert_eq!(shape("to_out.0.weight"), [10, 16]);
    let (x, context) = (normal(&[2, 5, DIM], 1), normal(&[2, 3, 24], 2));
    let named = json!({ "context": { "$tensor": 1 } });
    let xt_core::Value::List(out) = forward_with(&model, &[x.clone(), context], named).unwrap()
    else {
        panic!("no list")
    };
    let y = tensor(out.into_iter().next().unwrap());
    assert_eq!(y.dims(), [2, 5, 5]);
    let error = forward_with(&model, &[x], json!({})).err().unwrap().to_string();
    assert!(error.contains("context is missing"), "{error}");
}

#[test]
fn a_transformer_block_is_a_stack_of_depth_1() {
    let x = normal(&[2, 5, DIM], 1);
    let more = json!({ "rotary_pos_emb": true, "use_rmsnorm": true, "ff_glu": true });
    for (class, causal) in [("Decoder", true), ("Encoder", false)] {
        let stack = build(&layers(class, with(more.clone(), json!({ "depth": 1 }))));
        let mut options =
            layers("TransformerBlock", with(more.clone(), json!({ "causal": causal })));
        options["options"].as_object_mut().unwrap().remove("depth");
        let block = build(&options);
        copy_weights(&stack, &block);
        assert_eq!(values(&forward(&block, &x)), values(&forward(&stack, &x)));
    }
    let deep = Model::from_spec(&layers("TransformerBlock", json!({})), 1).err().unwrap();
    assert!(deep.to_string().contains("is 1 in a TransformerBlock"), "{deep}");
    let mut xpos = layers("TransformerBlock", json!({ "rotary_xpos": true }));
    xpos["options"].as_object_mut().unwrap().remove("depth");
    assert!(Model::from_spec(&xpos, 1).err().unwrap().to_string().contains("causal"));
}

#[test]
fn depth_scale_residual_draws_smaller_weights_in_later_blocks() {
    let options = json!({ "depth_scale_residual": true, "cross_attend": true, "dim": 64 });
    let deep = with(options, json!({ "depth": 3, "attn_dim_head": 64, "attn_out_bias": true }));
    let model = build(&layers("Decoder", deep));
    let deviation = |name: &str| {
        let all = parameter(&model, name);
        (all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64).sqrt()
    };
    for block in 1..=3 {
        for (place, name, inputs) in
            [(0, "to_out.weight", 128), (1, "to_out.weight", 128), (2, "ff.3.weight", 256)]
        {
            let name = format!("layers.{}.1.{name}", 3 * (block - 1) + place);
            let want = ((2 * inputs * block) as f64).powf(-0.5);
            let off = deviation(&name) / want - 1.0;
            assert!(off.abs() < 0.05, "{name}: {off}");
        }
    }
    let still = json!({ "use_layerscale": true, "ff_zero_init_output": true });
    let error = Model::from_spec(&layers("Decoder", still), 1).err().unwrap().to_string();
    assert!(error.contains("would never learn"), "{error}");
    for other in ["zero_init_branch_output", "attn_zero_init_output", "deepnorm"] {
        let both = json!({ "depth_scale_residual": true, other: true });
        let error = Model::from_spec(&layers("Decoder", both), 1).err().unwrap().to_string();
        assert!(error.contains(&format!("does not go with `{other}`")), "{error}");
    }
}

#[test]
fn causal_of_a_call_is_the_direction_of_self_attentions() {
    for more in [
        json!({}),
        json!({ "gradient_checkpointing": true, "rotary_pos_emb": true }),
        json!({ "attn_talking_heads": true, "alibi_pos_bias": true, "attn_max_attend_past": 3 }),
    ] {
        let [decoder, encoder] =
            ["Decoder", "Encoder"].map(|class| transformer(layers(class, more.clone()), json!({})));
        let (decoder, encoder) = (build(&decoder), build(&encoder));
        copy_weights(&decoder, &encoder);
        let x = tokens(2, 6, 1);
        let [hidden, open] = [&decoder, &encoder].map(|model| values(&forward(model, &x)));
        assert_ne!(hidden, open);
        let called = |model: &Model, causal: bool| {
            let named = json!({ "causal": causal });
            values(&tensor(forward_with(model, std::slice::from_ref(&x), named).unwrap()))
        };
        close(&called(&encoder, true), &hidden, 1e-6);
        close(&called(&decoder, false), &open, 1e-6);
        close(&called(&decoder, true), &hidden, 1e-6);
        // within documents
        let named = |causal: bool| json!({ "causal": causal, "segment_ids": { "$tensor": 1 } });
        let segments = ids(&[1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 1, 2], &[2, 6]);
        let all = [x.clone(), segments];
        let packed = |model: &Model, causal| {
            values(&tensor(forward_with(model, &all, named(causal)).unwrap()))
        };
        close(&packed(&encoder, true), &packed(&decoder, true), 1e-6);
        close(&packed(&encoder, false), &packed(&decoder, false), 1e-6);
    }
    let shifting = build(&layers("Encoder", json!({ "shift_tokens": 1 })));
    let error = forward_with(&shifting, &[normal(&[1, 4, DIM], 1)], json!({ "causal": true }));
    assert!(error.err().unwrap().to_string().contains("shift_tokens"));
    let xpos = build(&gpt(json!({ "rotary_xpos": true }), json!({})));
    let x = tokens(1, 4, 1);
    let error =
        forward_with(&xpos, std::slice::from_ref(&x), json!({ "causal": false })).err().unwrap();
    assert!(error.to_string().contains("rotary_xpos"), "{error}");
    let plain = build(&gpt(json!({}), json!({})));
    let seen = mask(&[1; 4], &[1, 4]);
    let both = json!({ "causal": false, "return_cache": true, "mask": { "$tensor": 1 } });
    let error = forward_with(&plain, &[x, seen], both).err().unwrap().to_string();
    assert!(error.contains("does not go with `causal`"), "{error}");
}
