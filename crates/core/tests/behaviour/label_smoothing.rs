//! `label_smoothing` of the losses of models: that of their logits, in the fused form too.

use crate::common::{
    array_values, autoregressive, build, call_numbered, close, gpt, tensor, tokens,
};
use serde_json::json;
use xt_autograd::ops::{self, CrossEntropy};
use xt_core::{EntryKind, Model};

fn gradients(model: &Model) -> Vec<f64> {
    let parameters = model.entries().iter().filter(|entry| entry.kind == EntryKind::Parameter);
    let grads = parameters.filter_map(|entry| entry.param.leaf().grad().unwrap());
    grads.flat_map(|grad| array_values(&grad)).collect()
}

#[test]
fn label_smoothing_is_that_of_the_logits() {
    for tie_embedding in [false, true] {
        let net = gpt(json!({}), json!({ "tie_embedding": tie_embedding }));
        let model = build(&autoregressive(net, json!({ "ignore_index": 3 })));
        let x = tokens(2, 9, 1);
        let loss_of = |smoothing: f64| {
            let args = json!([{ "$tensor": 0 }, { "label_smoothing": smoothing }]);
            tensor(call_numbered(&model, "forward", args, std::slice::from_ref(&x), 1).unwrap())
        };
        let loss = loss_of(0.3);
        loss.backward(false, &|| false).unwrap();
        let got = gradients(&model);
        for entry in model.entries().iter().filter(|entry| entry.kind == EntryKind::Parameter) {
            entry.param.leaf().set_grad(None).unwrap();
        }
        let input = ops::narrow(&x, 1, 0, 8).unwrap();
        let targets = ops::narrow(&x, 1, 1, 8).unwrap();
        let net = model.child("net").unwrap();
        let args = json!([{ "$tensor": 0 }]);
        let logits = tensor(call_numbered(&net, "forward", args, &[input], 1).unwrap());
        let how = CrossEntropy { ignore_index: 3, label_smoothing: 0.3 };
        let want = ops::cross_entropy(&logits, &targets, how).unwrap();
        close(&array_values(&loss.array().unwrap()), &array_values(&want.array().unwrap()), 1e-5);
        want.backward(false, &|| false).unwrap();
        close(&got, &gradients(&model), 1e-5);
        assert_ne!(
            array_values(&loss.array().unwrap()),
            array_values(&loss_of(0.0).array().unwrap())
        );
    }
}
