//! The sizes of the outputs of layers, as calls record them.

use crate::common::{build, close, gpt, tokens};
use serde_json::json;
use xt_core::models::LayerActivations;
use xt_core::{no_grad, Args, Ctx, Model, Rng, Tensor};

fn record(model: &Model, x: &Tensor) {
    let args = Args::new("forward", json!([{ "$tensor": 0 }]), std::slice::from_ref(x)).unwrap();
    no_grad(|| model.call_recorded("forward", &args, &Ctx::new(&Rng::new(3, 1), &|| false)))
        .unwrap();
}

fn taken(model: &Model, inputs: &[&Tensor]) -> Vec<LayerActivations> {
    inputs.iter().for_each(|x| record(model, x));
    model.take_activations().unwrap()
}

#[test]
fn calls_count_by_their_elements() {
    let model = build(&gpt(json!({}), json!({})));
    let (few, many) = (tokens(1, 3, 1), tokens(2, 9, 2));
    let (of_few, of_many) = (taken(&model, &[&few]), taken(&model, &[&many]));
    let both = taken(&model, &[&few, &many]);
    assert_eq!(both.len(), 4);
    for ((few, many), both) in of_few.iter().zip(&of_many).zip(&both) {
        assert_eq!((&few.name, few.elements, many.elements), (&both.name, 3 * 16, 18 * 16));
        assert_eq!(both.elements, 21 * 16);
        let want = (few.mean_square * 3.0 + many.mean_square * 18.0) / 21.0;
        close(&[both.mean_square], &[want], 1e-9);
    }
    assert_eq!(taken(&model, &[]), []);
}
