//! Memories: their masks, and gradients through them.

use crate::common::{
    build, call_numbered, close, forward, forward_with, gpt, ids, layers, mask, normal, spec,
    taken_gradients, tensor, tokens, values,
};
use serde_json::{json, Value as Json};
use xt_autograd::{no_grad, ops};
use xt_core::{Model, Tensor, Value};

const DIM: usize = 16;

fn outputs(value: Value) -> Vec<Value> {
    match value {
        Value::List(list) => list,
        _ => panic!("no list"),
    }
}

fn tensors(value: Value) -> Vec<Tensor> {
    outputs(value).into_iter().map(tensor).collect()
}

/// `x`, then two memories and their masks.
fn call(model: &Model, x: &Tensor, mems: [&Tensor; 2], masks: Option<[&Tensor; 2]>) -> Vec<f64> {
    let list = |from: usize| json!([{ "$tensor": from }, { "$tensor": from + 1 }]);
    let mut all = vec![x.clone(), mems[0].clone(), mems[1].clone()];
    let mut named = json!({ "mems": list(1) });
    if let Some(masks) = masks {
        named["mem_masks"] = list(3);
        all.extend(masks.map(Clone::clone));
    }
    values(&tensor(forward_with(model, &all, named).unwrap()))
}

/// Memories that `mem_masks` hides do not count, wherever they are.
#[test]
fn mem_masks_hide_memories() {
    for options in [
        json!({ "depth": 2 }),
        json!({ "depth": 2, "attn_num_mem_kv": 2, "gradient_checkpointing": true }),
        json!({ "depth": 2, "attn_talking_heads": true }),
    ] {
        let model = build(&layers("Decoder", options));
        let x = normal(&[2, 4, DIM], 1);
        let mems = [normal(&[2, 3, DIM], 2), normal(&[2, 3, DIM], 3)];
        let bits = mask(&[0, 1, 1, 0, 1, 1], &[2, 3]);
        let got = call(&model, &x, [&mems[0], &mems[1]], Some([&bits, &bits]));
        let rest = mems.clone().map(|mem| ops::narrow(&mem, 1, 1, 2).unwrap());
        close(&got, &call(&model, &x, [&rest[0], &rest[1]], None), 1e-5);
        let all = mask(&[1; 6], &[2, 3]);
        let whole = call(&model, &x, [&mems[0], &mems[1]], None);
        assert_eq!(call(&model, &x, [&mems[0], &mems[1]], Some([&all, &all])), whole);
        assert!(got != whole);
        // one mask alone hides the memories of its layer alone
        let one = call(&model, &x, [&mems[0], &mems[1]], Some([&all, &bits]));
        assert!(one != whole && one != got);
    }
}

#[test]
fn mem_masks_that_do_not_fit_are_refused() {
    let model = build(&layers("Decoder", json!({ "depth": 2 })));
    let (x, mem) = (normal(&[2, 4, DIM], 1), normal(&[2, 3, DIM], 2));
    let short = mask(&[1; 4], &[2, 2]);
    let list = |from: [usize; 2]| json!(from.map(|i| json!({ "$tensor": i })));
    let refused = |masks: Json, part: &str| {
        let named = json!({ "mems": list([1, 1]), "mem_masks": masks });
        let all = [x.clone(), mem.clone(), short.clone()];
        let message = forward_with(&model, &all, named).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(json!([{ "$tensor": 2 }]), "mem_masks: must be as many as `mems`");
    refused(list([2, 2]), "each of mem_masks must have shape [2, 3], as its mems, got [2, 2]");
    refused(list([1, 1]), "each of mem_masks must be bool");
}

/// Of a single attention, `mem_mask` is the mask of `mem`.
#[test]
fn mem_mask_of_an_attention_hides_memories() {
    let model = build(&spec("Attention", json!({ "dim": DIM, "heads": 2, "dim_head": 8 })));
    let (x, mem) = (normal(&[2, 4, DIM], 1), normal(&[2, 3, DIM], 2));
    let first = |tensors: &[Tensor], named: Json| {
        let mut both = outputs(forward_with(&model, tensors, named).unwrap());
        values(&tensor(both.remove(0)))
    };
    let named = json!({ "mem": { "$tensor": 1 }, "mem_mask": { "$tensor": 2 } });
    let bits = mask(&[0, 1, 1, 0, 1, 1], &[2, 3]);
    let got = first(&[x.clone(), mem.clone(), bits], named.clone());
    let rest = ops::narrow(&mem, 1, 1, 2).unwrap();
    close(&got, &first(&[x.clone(), rest], json!({ "mem": { "$tensor": 1 } })), 1e-6);
    let wrong = [x, mem, mask(&[1; 4], &[2, 2])];
    let message = forward_with(&model, &wrong, named).err().unwrap().to_string();
    assert!(message.contains("mem_mask must be bool of shape (batch, count)"), "{message}");
}

/// With `detach_mems: false` a loss of the second segment has gradients of the first one.
#[test]
fn detach_mems_cuts_the_graph_between_segments() {
    let options = json!({ "max_mem_len": 4, "use_abs_pos_emb": false });
    let model = build(&gpt(json!({ "depth": 2 }), options));
    let (first, second) = (tokens(1, 3, 1), ids(&[1, 1, 1], &[1, 3]));
    let gradients = |more: Json| {
        let mut named = json!({ "return_mems": true });
        named.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut both = outputs(forward_with(&model, std::slice::from_ref(&first), named).unwrap());
        let mems = tensors(both.remove(1));
        let all = [&[second.clone()][..], &mems].concat();
        let named = json!({ "mems": [{ "$tensor": 1 }, { "$tensor": 2 }] });
        let y = tensor(forward_with(&model, &all, named).unwrap());
        let square = ops::square(&y).unwrap();
        ops::sum(&square, None, false).unwrap().backward(false, &|| false).unwrap();
        let found = taken_gradients(&model);
        let embedding = found.into_iter().find(|(name, _)| name.contains("token_emb")).unwrap().1;
        // the row of a token that the second segment does not have
        let token = values(&first)[0] as usize;
        (values(&y), embedding[token * DIM..(token + 1) * DIM].to_vec())
    };
    assert!(values(&first)[0] != 1.0);
    let (plain, detached) = gradients(json!({}));
    let (same, attached) = gradients(json!({ "detach_mems": false }));
    assert_eq!(plain, same);
    assert!(detached.iter().all(|g| *g == 0.0));
    assert!(attached.iter().any(|g| *g != 0.0));
}

#[test]
fn flags_without_effect_are_refused() {
    let model = build(&gpt(json!({}), json!({ "max_mem_len": 4 })));
    let refused = |named: Json, part: &str| {
        let message = forward_with(&model, &[tokens(1, 3, 1)], named).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(json!({ "detach_mems": false }), "detach_mems: needs `return_mems`");
    let both = json!({ "return_mems": true, "return_embeddings_and_intermediates": true });
    refused(both, "return_mems: does not go with `return_embeddings_and_intermediates`");
}

#[test]
fn return_embeddings_and_intermediates_gives_both() {
    let model = build(&gpt(json!({ "depth": 2 }), json!({})));
    let x = tokens(2, 4, 1);
    let named = json!({ "return_embeddings_and_intermediates": true });
    let mut both = outputs(forward_with(&model, std::slice::from_ref(&x), named).unwrap());
    let Value::Fields(fields) = both.pop().unwrap() else { panic!("no fields") };
    assert_eq!(fields[0].0, "hiddens");
    let named = json!({ "return_embeddings": true });
    let want = values(&tensor(forward_with(&model, std::slice::from_ref(&x), named).unwrap()));
    close(&values(&tensor(both.remove(0))), &want, 1e-5);
}

/// The loss of `return_outputs` is that without, and comes from the logits.
#[test]
fn return_outputs_gives_the_logits_besides() {
    let net = gpt(json!({}), json!({}));
    let model = build(&crate::common::autoregressive(net, json!({})));
    let x = tokens(2, 5, 1);
    let loss = values(&forward(&model, &x));
    let front = normal(&[2, 3, DIM], 5);
    for (more, tensors) in [
        (json!({}), vec![x.clone()]),
        (json!({ "prepend_embeds": { "$tensor": 1 } }), vec![x.clone(), front]),
    ] {
        let mut named = json!({ "return_outputs": true });
        named.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let args = json!([{ "$tensor": 0 }, named]);
        let mut both = outputs(call_numbered(&model, "forward", args, &tensors, 1).unwrap());
        let logits = tensor(both.remove(1));
        assert_eq!(logits.dims(), [2, 4, 17]);
        let got = values(&tensor(both.remove(0)));
        let want = values(&tensor(forward_with(&model, &tensors, more.clone()).unwrap()));
        close(&got, &want, 1e-6);
        if more == json!({}) {
            close(&got, &loss, 1e-6);
            let net = model.child("net").unwrap();
            let input = ops::narrow(&x, 1, 0, 4).unwrap();
            close(&values(&logits), &values(&no_grad(|| forward(&net, &input))), 1e-6);
        }
    }
}
