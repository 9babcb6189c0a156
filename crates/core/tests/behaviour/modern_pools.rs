//! What the head reads, several heads, and embeddings of kinds: each against a plain model with the
//! same weights.

use crate::common::{
    autoregressive, build, call_numbered, close, copy_weights, forward_with, gpt, ids, layers,
    mask, spec, tensor, tokens, transformer, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Model, Result, Tensor, Value};

fn encoder(options: Json) -> Arc<Model> {
    build(&transformer(layers("Encoder", json!({})), options))
}

/// A model without `options` that has the weights of `model`.
fn plain(model: &Model, options: Json) -> Arc<Model> {
    let plain = encoder(options);
    copy_weights(model, &plain);
    plain
}

fn leaf(model: &Model, name: &str) -> Tensor {
    model.entry(name).unwrap().param.tensor()
}

fn one(model: &Model, tensors: &[Tensor], named: Json) -> Tensor {
    tensor(forward_with(model, tensors, named).unwrap())
}

fn message(result: Result<Value>) -> String {
    result.err().expect("an error").to_string()
}

/// A table of tokens, `(count, dim)`, for two rows.
fn for_rows(table: &Tensor) -> Tensor {
    ops::broadcast_to(table, &[2, table.dim(0), table.dim(1)]).unwrap()
}

#[test]
fn use_cls_token_and_num_cls_tokens_are_learned_tokens_in_front_that_the_head_reads() {
    let (x, real) = (tokens(2, 7, 1), mask(&[1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1, 0], &[2, 7]));
    for (count, memory) in [(1, 0), (2, 0), (2, 3)] {
        let options = json!({ "use_cls_token": true, "num_cls_tokens": count });
        let memory = json!({ "num_memory_tokens": memory });
        let model = encoder(with(options, memory.clone()));
        let plain = plain(&model, memory);
        let front = for_rows(&leaf(&model, "cls_token"));
        let tensors = [x.clone(), front, real.clone()];
        let named = json!({ "prepend_embeds": { "$tensor": 1 }, "mask": { "$tensor": 2 } });
        for named in [named.clone(), json!({ "prepend_embeds": { "$tensor": 1 } })] {
            let mut own = named.clone();
            own.as_object_mut().unwrap().remove("prepend_embeds");
            for embeddings in [false, true] {
                let flag = json!({ "return_embeddings": embeddings });
                let got = one(&model, &tensors, with(own.clone(), flag.clone()));
                let all = one(&plain, &tensors, with(named.clone(), flag));
                let want = ops::narrow(&all, 1, 0, count).unwrap();
                let width = all.dim(2);
                let dims = if count == 1 { vec![2, width] } else { vec![2, count, width] };
                assert_eq!(got.dims(), dims);
                close(&values(&got), &values(&want), 1e-5);
            }
        }
    }
}

#[test]
fn average_pool_embed_is_the_mean_over_what_the_mask_leaves() {
    let model = encoder(json!({ "average_pool_embed": true, "logits_dim": 5 }));
    let plain = plain(&model, json!({ "logits_dim": 5 }));
    let bits = [1, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    let tensors = [tokens(2, 5, 1), mask(&bits, &[2, 5])];
    let named = json!({ "mask": { "$tensor": 1 }, "return_embeddings": true });
    let all = values(&one(&plain, &tensors, named.clone()));
    let position = |row: usize, i: usize| &all[(row * 5 + i) * 16..][..16];
    let kept = [0, 1, 3];
    let mut want: Vec<f64> =
        (0..16).map(|c| kept.iter().map(|i| position(0, *i)[c]).sum::<f64>() / 3.0).collect();
    want.extend([0.0; 16]); // nothing is left of the other row
    let got = one(&model, &tensors, named);
    assert_eq!(got.dims(), [2, 16]);
    close(&values(&got), &want, 1e-5);
    let logits = one(&model, &tensors, json!({ "mask": { "$tensor": 1 } }));
    let (weight, bias) = (leaf(&model, "to_logits.weight"), leaf(&model, "to_logits.bias"));
    let head = ops::linear(&got, &weight, Some(&bias)).unwrap();
    close(&values(&logits), &values(&head), 1e-5);
    // without a mask, over all
    let all = values(&one(&plain, &tensors, json!({ "return_embeddings": true })));
    let mean = (0..5).map(|i| all[i * 16]).sum::<f64>() / 5.0;
    let got = values(&one(&model, &tensors, json!({ "return_embeddings": true })));
    close(&got[..1], &[mean], 1e-5);
}

#[test]
fn num_output_heads_give_an_array_of_logits_and_squeeze_out_last_dim_removes_an_axis_of_1() {
    let x = tokens(2, 5, 1);
    let model = encoder(json!({ "num_output_heads": 2, "logits_dim": 3, "logits_scale": 0.5 }));
    let Value::List(logits) = forward_with(&model, std::slice::from_ref(&x), json!({})).unwrap()
    else {
        panic!("no list")
    };
    let embeddings = one(&model, std::slice::from_ref(&x), json!({ "return_embeddings": true }));
    for (i, logits) in logits.into_iter().enumerate() {
        let [weight, bias] =
            ["weight", "bias"].map(|part| leaf(&model, &format!("to_logits.{i}.{part}")));
        let want = ops::linear(&embeddings, &weight, Some(&bias)).unwrap();
        let want = ops::affine(&want, 0.5, 0.0).unwrap();
        close(&values(&tensor(logits)), &values(&want), 1e-5);
    }
    for (width, dims) in [(1, vec![2, 5]), (3, vec![2, 5, 3])] {
        let model = encoder(json!({ "squeeze_out_last_dim": true, "logits_dim": width }));
        assert_eq!(one(&model, std::slice::from_ref(&x), json!({})).dims(), dims);
    }
    let model = encoder(json!({
        "squeeze_out_last_dim": true, "logits_dim": 1, "average_pool_embed": true,
    }));
    assert_eq!(one(&model, &[x], json!({})).dims(), [2]);
}

#[test]
fn embed_num_tokens_adds_the_embeddings_of_embed_ids() {
    let model = encoder(json!({ "embed_num_tokens": { "kind": 3, "place": 4 } }));
    let plain = plain(&model, json!({}));
    let names: Vec<_> = model.entries().iter().map(|entry| entry.name.clone()).collect();
    let tables = ["embeds.kind_embed.weight", "embeds.place_embed.weight"];
    assert_eq!(names[2..4], tables);
    // a name that is a word of specifications too
    let options = json!({ "embed_num_tokens": { "class": 3 } });
    let named = Model::from_spec(&encoder(options).spec(), 1).unwrap();
    assert!(named.entry("embeds.class_embed.weight").is_ok());
    let kinds = ids(&[0, 2, 1, 1, 0, 2, 2, 2], &[2, 4]);
    let places = ids(&[3, 0, 1, 2], &[4]);
    let tensors = [tokens(2, 4, 1), kinds.clone(), places.clone()];
    let named = json!({ "embed_ids": { "place": { "$tensor": 2 }, "kind": { "$tensor": 1 } } });
    let got = one(&model, &tensors, named.clone());
    let more = ops::add(
        &ops::embedding(&leaf(&model, tables[0]), &kinds).unwrap(),
        &ops::embedding(&leaf(&model, tables[1]), &places).unwrap(),
    );
    let sum = json!({ "sum_embeds": { "$tensor": 1 } });
    let want = one(&plain, &[tensors[0].clone(), more.unwrap()], sum);
    close(&values(&got), &values(&want), 1e-6);
    let wrong = |named: Json, tensors: &[Tensor]| message(forward_with(&model, tensors, named));
    assert!(wrong(json!({}), &tensors).contains("embed_ids must have 'kind'"));
    let missing = json!({ "embed_ids": { "kind": { "$tensor": 1 } } });
    assert!(wrong(missing, &tensors).contains("must have 'place'"));
    let unknown = json!({ "embed_ids": {
        "kind": { "$tensor": 1 }, "place": { "$tensor": 2 }, "other": { "$tensor": 2 },
    } });
    assert!(wrong(unknown, &tensors).contains("'other', which is not in"));
    let outside = [tensors[0].clone(), ids(&[0, 3, 0, 0], &[4]), places.clone()];
    assert!(wrong(named.clone(), &outside).contains("embed_ids.kind"));
    let short = [tensors[0].clone(), ids(&[0, 1], &[2]), places];
    assert!(wrong(named, &short).contains("embed_ids.kind"));
    let none = message(forward_with(
        &plain,
        &tensors,
        json!({ "embed_ids": {
        "kind": { "$tensor": 1 },
    } }),
    ));
    assert!(none.contains("embed_num_tokens"), "{none}");
}

/// Losses, scores and generation hand the ids on.
#[test]
fn embed_ids_of_a_wrapper_are_those_of_its_net() {
    let net = gpt(json!({}), json!({ "embed_num_tokens": { "kind": 3 } }));
    let model = build(&autoregressive(net, json!({})));
    let x = tokens(2, 6, 1);
    let (kinds, others) =
        (ids(&[0, 1, 2, 0, 1], &[5]), ids(&[0, 1, 2, 1, 1, 2, 2, 2, 2, 2], &[2, 5]));
    let named = json!([{ "$tensor": 0 }, { "embed_ids": { "kind": { "$tensor": 1 } } }]);
    let loss = |ids: &Tensor| {
        let tensors = [x.clone(), ids.clone()];
        values(&tensor(call_numbered(&model, "forward", named.clone(), &tensors, 1).unwrap()))[0]
    };
    assert!(loss(&kinds) != loss(&others));
    for ids in [&kinds, &others] {
        let tensors = [x.clone(), ids.clone()];
        let Value::Fields(fields) =
            call_numbered(&model, "score", named.clone(), &tensors, 1).unwrap()
        else {
            panic!("fields")
        };
        let log_probs = values(&tensor(fields.into_iter().next().unwrap().1));
        close(&[-log_probs.iter().sum::<f64>() / 10.0], &[loss(ids)], 1e-5);
        let start = ops::narrow(&x, 1, 0, 5).unwrap();
        let args = json!([
            { "$tensor": 0 }, 1,
            { "temperature": 0.0, "embed_ids": { "kind": { "$tensor": 1 } } },
        ]);
        let tensors = [start.clone(), ids.clone()];
        let token = tensor(call_numbered(&model, "generate", args, &tensors, 1).unwrap());
        let net = model.child("net").unwrap();
        let named = json!({ "embed_ids": { "kind": { "$tensor": 1 } } });
        let logits = values(&one(&net, &tensors, named));
        let best = |row: usize| {
            let last = &logits[(row * 5 + 4) * 17..][..17];
            (0..17).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap() as f64
        };
        assert_eq!(values(&token), [best(0), best(1)]);
    }
}

fn front() -> Tensor {
    crate::common::normal(&[2, 3, 16], 5)
}

#[test]
fn prepend_mask_is_the_front_of_the_mask_and_excise_prepend_embeds_removes_the_outputs() {
    let model = encoder(json!({}));
    let x = tokens(2, 4, 1);
    let (own, front_mask) = (mask(&[1, 1, 1, 0, 0, 1, 1, 1], &[2, 4]), [1, 0, 1, 1, 1, 0]);
    let whole = mask(&[1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1], &[2, 7]);
    let front_mask = mask(&front_mask, &[2, 3]);
    let tensors = [x.clone(), front(), own, front_mask, whole];
    let embeds = json!({ "prepend_embeds": { "$tensor": 1 } });
    let call = |more: Json| one(&model, &tensors, with(embeds.clone(), more));
    let want = call(json!({ "mask": { "$tensor": 4 } }));
    let got = call(json!({ "mask": { "$tensor": 2 }, "prepend_mask": { "$tensor": 3 } }));
    assert_eq!(values(&got), values(&want));
    // without a mask of the tokens all are real, and so are embeddings without their mask
    let ones = [1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1];
    let explicit = [x.clone(), front(), mask(&ones, &[2, 7])];
    let named = with(embeds.clone(), json!({ "mask": { "$tensor": 2 } }));
    let got = call(json!({ "prepend_mask": { "$tensor": 3 } }));
    assert_eq!(values(&got), values(&one(&model, &explicit, named.clone())));
    let ones = [1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1];
    let explicit = [x.clone(), front(), mask(&ones, &[2, 7])];
    let got = call(json!({ "mask": { "$tensor": 2 } }));
    assert_eq!(values(&got), values(&one(&model, &explicit, named)));
    let cut = call(json!({ "mask": { "$tensor": 4 }, "excise_prepend_embeds": true }));
    assert_eq!(values(&cut), values(&ops::narrow(&want, 1, 3, 4).unwrap()));
    let wrong = |more: Json| message(forward_with(&model, &tensors, more));
    assert!(wrong(json!({ "prepend_mask": { "$tensor": 3 } })).contains("needs prepend_embeds"));
    let both = json!({ "mask": { "$tensor": 4 }, "prepend_mask": { "$tensor": 3 } });
    assert!(wrong(with(embeds.clone(), both)).contains("leave prepend_mask out"));
    let short = json!({ "prepend_mask": { "$tensor": 2 } });
    assert!(wrong(with(embeds, short)).contains("prepend_mask must have shape [2, 3]"));
}

#[test]
fn prepend_mask_of_a_generation_is_the_front_of_its_mask() {
    let model = build(&autoregressive(gpt(json!({}), json!({})), json!({})));
    let (own, front_mask) = (mask(&[0, 1, 1, 1, 1, 1, 1, 1], &[2, 4]), [1, 0, 1, 1, 1, 0]);
    let whole = mask(&[1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1], &[2, 7]);
    let tensors = [tokens(2, 4, 1), front(), own, mask(&front_mask, &[2, 3]), whole];
    let generated = |more: Json| {
        let options = json!({ "temperature": 0.0, "prepend_embeds": { "$tensor": 1 } });
        let args = json!([{ "$tensor": 0 }, 5, with(options, more)]);
        values(&tensor(call_numbered(&model, "generate", args, &tensors, 1).unwrap()))
    };
    let want = generated(json!({ "mask": { "$tensor": 4 } }));
    let both = json!({ "mask": { "$tensor": 2 }, "prepend_mask": { "$tensor": 3 } });
    assert_eq!(generated(both), want);
}

#[test]
fn return_only_embed_gives_the_embeddings_of_a_model_without_a_head() {
    let model = encoder(json!({ "return_only_embed": true, "post_emb_norm": true }));
    assert!(model.entries().iter().all(|entry| !entry.name.starts_with("to_logits")));
    let whole = encoder(json!({ "post_emb_norm": true }));
    let state: Vec<_> = whole
        .entries()
        .iter()
        .filter(|entry| !entry.name.starts_with("to_logits"))
        .map(|entry| (entry.name.clone(), entry.param.values().unwrap()))
        .collect();
    model.load_state(&state, true).unwrap();
    let x = [tokens(2, 7, 1)];
    let embedded = json!({ "return_embeddings": true });
    let want = values(&one(&whole, &x, embedded.clone()));
    for named in [json!({}), embedded] {
        assert_eq!(values(&one(&model, &x, named)), want);
    }
    let both = json!({ "return_logits_and_embeddings": true });
    assert!(message(forward_with(&model, &x, both)).contains("has no head"));
    for more in [
        json!({ "tie_embedding": true }),
        json!({ "logits_dim": 3 }),
        json!({ "num_output_heads": 2 }),
    ] {
        let options = with(json!({ "return_only_embed": true }), more.clone());
        let wrong = transformer(layers("Encoder", json!({})), options);
        let error = Model::from_spec(&wrong, 1).err().unwrap().to_string();
        assert!(error.contains("is about the head"), "{more}: {error}");
    }
}

#[test]
fn models_without_logits_by_token_are_refused_by_wrappers_and_packed_rows() {
    let pools = [
        ("use_cls_token", json!({ "use_cls_token": true })),
        ("average_pool_embed", json!({ "average_pool_embed": true })),
        ("num_output_heads", json!({ "num_output_heads": 2 })),
        ("return_only_embed", json!({ "return_only_embed": true })),
    ];
    for (name, options) in pools {
        let net = transformer(layers("Encoder", json!({})), options.clone());
        for class in ["AutoregressiveWrapper", "NonAutoregressiveWrapper"] {
            let options = match class {
                "AutoregressiveWrapper" => json!({ "net": net.clone() }),
                _ => json!({ "net": net.clone(), "mask_id": 3 }),
            };
            let error = Model::from_spec(&spec(class, options), 1).err().unwrap().to_string();
            assert!(error.contains(name) && error.contains("each token"), "{error}");
        }
        if !["num_output_heads", "return_only_embed"].contains(&name) {
            let tensors = [tokens(1, 4, 1), ids(&[1, 1, 2, 2], &[1, 4])];
            let named = json!({ "segment_ids": { "$tensor": 1 } });
            let error = message(forward_with(&encoder(options), &tensors, named));
            assert!(error.contains(name), "{error}");
        }
    }
}
