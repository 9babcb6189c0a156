//! Single layers as models: the options that no recorded case of Python has.

use crate::common::{build, forward, ids, normal, parameter, set, share_is, spec, values};
use serde_json::{json, Value as Json};
use xt_core::{Model, Tensor};

fn width(class: &str, options: Json, x: &Tensor) -> Vec<usize> {
    forward(&build(&spec(class, options)), x).dims().to_vec()
}

fn names(model: &Model) -> Vec<&str> {
    model.entries().iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn a_linear_layer_maps_in_features_to_out_features_with_a_bias_or_without() {
    let x = normal(&[2, 5, 3], 1);
    let options = |bias: bool| json!({ "in_features": 3, "out_features": 4, "bias": bias });
    assert_eq!(width("Linear", options(true), &x), [2, 5, 4]);
    let (with, without) =
        (build(&spec("Linear", options(true))), build(&spec("Linear", options(false))));
    assert_eq!((names(&with), names(&without)), (vec!["weight", "bias"], vec!["weight"]));
    set(&without, "weight", &parameter(&with, "weight"));
    let bias = parameter(&with, "bias");
    let (y, plain) = (values(&forward(&with, &x)), values(&forward(&without, &x)));
    for (i, (y, plain)) in y.iter().zip(plain).enumerate() {
        assert!((y - plain - bias[i % 4]).abs() < 1e-5);
    }
}

#[test]
fn an_embedding_has_num_embeddings_of_width_embedding_dim() {
    let options = json!({ "num_embeddings": 7, "embedding_dim": 3 });
    let model = build(&spec("Embedding", options));
    let table = parameter(&model, "weight");
    let y = values(&forward(&model, &ids(&[6, 0], &[2])));
    assert_eq!(y, [&table[18..21], &table[..3]].concat());
}

#[test]
fn the_row_padding_idx_starts_as_zeros_and_gets_no_gradient() {
    let options = json!({ "num_embeddings": 4, "embedding_dim": 2, "padding_idx": -3 });
    let model = build(&spec("Embedding", options));
    let table = parameter(&model, "weight");
    assert!(table[2..4].iter().all(|x| *x == 0.0));
    assert!(table[..2].iter().chain(&table[4..]).all(|x| *x != 0.0));
    let y = forward(&model, &ids(&[1, 0, 1], &[3]));
    let total = xt_autograd::ops::sum(&y, None, false).unwrap();
    total.backward(false, &|| false).unwrap();
    let gradient = model.entry("weight").unwrap().param.leaf().grad().unwrap().unwrap();
    assert_eq!(crate::common::array_values(&gradient), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

/// Rows with a mean of squares of 1e-4: an eps of 1 makes them small.
#[test]
fn norms_over_normalized_shape_have_eps_and_elementwise_affine_weights() {
    let x = Tensor::constant(crate::common::float(&[0.01, -0.01, 0.01, -0.01], &[1, 2, 2]));
    for class in ["LayerNorm", "RMSNorm"] {
        let of = |eps: f64, affine: bool| {
            let shape = json!([2, 2]);
            let options =
                json!({ "normalized_shape": shape, "eps": eps, "elementwise_affine": affine });
            build(&spec(class, options))
        };
        for (eps, size) in [(0.0, 1.0), (1.0, 0.01 / (1.0f64 + 1e-4).sqrt())] {
            for affine in [true, false] {
                let model = of(eps, affine);
                assert_eq!(model.entries().is_empty(), !affine);
                let y = values(&forward(&model, &x));
                assert!(y.iter().all(|y| (y.abs() - size).abs() < 1e-5), "{class} {eps}: {y:?}");
            }
        }
    }
}

#[test]
fn dropout_drops_with_probability_p_in_training() {
    let model = build(&spec("Dropout", json!({ "p": 0.3 })));
    let x = Tensor::constant(crate::common::float(&[1.0; 10_000], &[100, 100]));
    let y = values(&forward(&model, &x));
    let dropped = y.iter().filter(|y| **y == 0.0).count();
    share_is(dropped as f64 / y.len() as f64, 0.3, y.len());
    model.train(false);
    assert!(values(&forward(&model, &x)).iter().all(|y| *y == 1.0));
}
