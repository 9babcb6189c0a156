//! `return_cache` and `cache`: keys and values that the caller keeps between its calls.

use crate::common::{build, close, forward_with, gpt, ids, mask, tokens, values, with};
use serde_json::{json, Value as Json};
use xt_autograd::no_grad;
use xt_core::{Error, Model, Result, Tensor, Value};

/// The logits of `x` and the cache after it.
fn step(model: &Model, x: &Tensor, before: &[Tensor], more: Json) -> Result<(Tensor, Vec<Tensor>)> {
    let mut tensors = vec![x.clone()];
    let mut named = with(json!({ "return_cache": true }), more);
    if !before.is_empty() {
        let list: Vec<Json> = (1..=before.len()).map(|index| json!({ "$tensor": index })).collect();
        named["cache"] = json!(list);
        tensors.extend(before.iter().cloned());
    }
    let Value::List(mut both) = no_grad(|| forward_with(model, &tensors, named))? else {
        panic!("no list")
    };
    let Some(Value::List(cache)) = both.pop() else { panic!("no cache") };
    let tensor = |value| match value {
        Value::Tensor(tensor) => tensor,
        _ => panic!("no tensor"),
    };
    Ok((tensor(both.remove(0)), cache.into_iter().map(tensor).collect()))
}

/// Columns `from..to` of ids, `(batch, n)`.
fn columns(x: &Tensor, from: usize, to: usize) -> Tensor {
    xt_autograd::ops::narrow(x, 1, from, to - from).unwrap()
}

#[test]
fn cache_and_return_cache_go_on_where_a_call_ended() {
    for options in [
        json!({}),
        json!({ "rotary_pos_emb": true, "attn_kv_heads": 1, "attn_num_mem_kv": 2 }),
        json!({ "shift_tokens": 2, "alibi_pos_bias": true, "add_value_residual": true }),
        json!({ "weight_tie_layers": true, "attn_max_attend_past": 2, "parallel_block": true }),
    ] {
        let model = build(&gpt(options.clone(), json!({ "num_memory_tokens": 2 })));
        model.train(false);
        let x = tokens(2, 9, 3);
        let whole = values(&no_grad(|| crate::common::forward(&model, &x)));
        let (mut logits, mut cache) = (Vec::new(), Vec::new());
        // one token, several, one
        for (from, to) in [(0, 4), (4, 5), (5, 8), (8, 9)] {
            let kept: Vec<Vec<f64>> = cache.iter().map(values).collect();
            let (y, next) = step(&model, &columns(&x, from, to), &cache, json!({})).unwrap();
            // what was given stays as it is
            assert_eq!(cache.iter().map(values).collect::<Vec<_>>(), kept, "{options}");
            (logits, cache) = ([logits, vec![y]].concat(), next);
        }
        let parts: Vec<&Tensor> = logits.iter().collect();
        let joined = values(&xt_autograd::ops::cat(&parts, 1).unwrap());
        close(&joined, &whole, 1e-4);
    }
}

#[test]
fn one_row_of_a_cache_goes_on_in_several() {
    let model = build(&gpt(json!({ "shift_tokens": 1 }), json!({})));
    model.train(false);
    let (x, next) = (tokens(1, 5, 3), ids(&[4, 9], &[2, 1]));
    let (_, cache) = step(&model, &x, &[], json!({})).unwrap();
    let both = |t: &Tensor| match t.dims() {
        [1, rest @ ..] => xt_autograd::ops::broadcast_to(t, &[&[2], rest].concat()).unwrap(),
        _ => t.clone(),
    };
    let shared: Vec<Tensor> = cache.iter().map(both).collect();
    let (together, _) = step(&model, &next, &shared, json!({})).unwrap();
    let alone =
        |row: i64| values(&step(&model, &ids(&[row], &[1, 1]), &cache, json!({})).unwrap().0);
    close(&values(&together), &[alone(4), alone(9)].concat(), 1e-5);
}

#[test]
fn masks_cover_the_positions_of_the_cache() {
    let model = build(&gpt(json!({}), json!({})));
    model.train(false);
    let x = tokens(2, 5, 3);
    let real = mask(&[0, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[2, 5]);
    let Value::Tensor(whole) = no_grad(|| {
        forward_with(&model, &[x.clone(), real.clone()], json!({ "mask": { "$tensor": 1 } }))
    })
    .unwrap() else {
        panic!("no tensor")
    };
    let covered = |to: usize| {
        let all = values(&real);
        let bits: Vec<u8> = all.chunks(5).flat_map(|row| &row[..to]).map(|b| *b as u8).collect();
        mask(&bits, &[2, to])
    };
    let masked = |x: &Tensor, to: usize, before: &[Tensor]| {
        let mut tensors = vec![x.clone(), covered(to)];
        tensors.extend(before.iter().cloned());
        let list: Vec<Json> = (2..tensors.len()).map(|index| json!({ "$tensor": index })).collect();
        let mut named = json!({ "return_cache": true, "mask": { "$tensor": 1 } });
        if !before.is_empty() {
            named["cache"] = json!(list);
        }
        match no_grad(|| forward_with(&model, &tensors, named)).unwrap() {
            Value::List(both) => both,
            _ => panic!("no list"),
        }
    };
    let first = masked(&columns(&x, 0, 4), 4, &[]);
    let Value::List(cache) = &first[1] else { panic!("no cache") };
    let cache: Vec<Tensor> = cache
        .iter()
        .map(|value| match value {
            Value::Tensor(tensor) => tensor.clone(),
            _ => panic!("no tensor"),
        })
        .collect();
    let second = masked(&columns(&x, 4, 5), 5, &cache);
    let Value::Tensor(last) = &second[0] else { panic!("no logits") };
    close(&values(last), &values(&columns(&whole, 4, 5)), 1e-4);
}

#[test]
fn a_cache_that_does_not_fit_is_refused() {
    let model = build(&gpt(json!({}), json!({})));
    model.train(false);
    let (x, next) = (tokens(2, 4, 3), ids(&[1, 2], &[2, 1]));
    let (_, cache) = step(&model, &x, &[], json!({})).unwrap();
    let refused = |model: &Model, x: &Tensor, cache: &[Tensor], part: &str| {
        let Err(Error::Shape(message)) = step(model, x, cache, json!({})) else {
            panic!("not refused")
        };
        assert!(message.contains(part), "{message}");
    };
    refused(&model, &next, &cache[1..], "is not of these layers");
    refused(&model, &next, &cache[..3], "is not of these layers");
    let longer = [cache.clone(), vec![next.clone()]].concat();
    refused(&model, &next, &longer, "is not of these layers");
    let far = [vec![ids(&[1 << 40, 0], &[2])], cache[1..].to_vec()].concat();
    refused(&model, &next, &far, "is not of these layers");
    refused(&model, &ids(&[1, 2, 3], &[3, 1]), &cache, "does not go on with");
    let other = build(&gpt(json!({ "attn_dim_head": 4 }), json!({})));
    refused(&other, &next, &cache, "is not of these layers");
    let swapped = [vec![cache[0].clone(), x.clone()], cache[2..].to_vec()].concat();
    refused(&model, &next, &swapped, "do not fit together");
    // one layer alone is shorter, or has other heads, or whole numbers
    let short: Vec<Tensor> =
        cache[1..3].iter().map(|t| xt_autograd::ops::narrow(t, 2, 1, 3).unwrap()).collect();
    let one = [vec![cache[0].clone()], short, cache[3..].to_vec()].concat();
    refused(&model, &next, &one, "is not of these layers");
    let heads: Vec<Tensor> =
        cache[1..3].iter().map(|t| xt_autograd::ops::narrow(t, 1, 1, 1).unwrap()).collect();
    let one = [vec![cache[0].clone()], heads, cache[3..].to_vec()].concat();
    refused(&model, &next, &one, "is not of these layers");
    let whole: Vec<Tensor> = cache[1..3]
        .iter()
        .map(|t| xt_autograd::ops::cast(t, xt_core::DType::I64, false).unwrap())
        .collect();
    let one = [vec![cache[0].clone()], whole, cache[3..].to_vec()].concat();
    refused(&model, &next, &one, "do not fit together");
    let open = forward_with(&model, std::slice::from_ref(&x), json!({ "return_cache": true }));
    assert!(open.err().unwrap().to_string().contains("noGrad"));
    let scaling = json!({
        "rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 4,
    });
    let options = json!({ "rotary_pos_emb": true, "rotary_scaling": scaling });
    let scaled = build(&gpt(options, json!({})));
    let (_, at_4) = step(&scaled, &x, &[], json!({})).unwrap();
    refused(&scaled, &next, &at_4, "other angles");
    let later = build(&gpt(json!({ "rotary_xpos": true }), json!({})));
    refused(&later, &x, &[], "no cache can be kept");
}
