//! Gradients of the building blocks of layers.

use crate::common::{check_all, ids, normal, Case};
use xt_autograd::ops::{self, Activation, CrossEntropy, Inner, Layer, Mask};
use xt_autograd::{Array, DType, Device, Tensor};
use xt_kernels::ops::rotary::Pairs;
use xt_kernels::philox::Stream;

const STREAM: Stream = Stream { seed: 5, call: 6, draw: 7 };

fn layer<'a>(weight: &'a Tensor, bias: Option<&'a Tensor>) -> Layer<'a> {
    Layer { weight, bias }
}

#[test]
fn linear_norm_dropout_and_rotary() {
    let cases: [Case; 19] = [
        ("gru_gates", &[&[2, 2, 6], &[2, 2, 6], &[2, 2, 2]], |x| {
            ops::gru_gates(&x[0], &x[1], &x[2])
        }),
        ("feedforward, an activation", &[&[2, 3], &[5, 3], &[5], &[4, 5], &[4]], |x| {
            let (up, down) = (layer(&x[1], Some(&x[2])), layer(&x[3], Some(&x[4])));
            ops::feedforward(&x[0], up, Inner::Activation(Activation::Gelu), down)
        }),
        ("feedforward, a gated unit, one bias", &[&[2, 2, 3], &[6, 3], &[6], &[4, 3]], |x| {
            ops::feedforward(
                &x[0],
                layer(&x[1], Some(&x[2])),
                Inner::Glu(Activation::Silu),
                layer(&x[3], None),
            )
        }),
        ("feedforward, frozen first weight", &[&[2, 3], &[4, 5], &[4]], |x| {
            let weight = Tensor::constant(normal(&[5, 3], 7));
            let (up, down) = (layer(&weight, None), layer(&x[1], Some(&x[2])));
            ops::feedforward(&x[0], up, Inner::Activation(Activation::Silu), down)
        }),
        ("feedforward, all but the first weight frozen", &[&[5, 3]], |x| {
            let [input, weight] = [normal(&[2, 3], 7), normal(&[4, 5], 8)].map(Tensor::constant);
            let (up, down) = (layer(&x[0], None), layer(&weight, None));
            ops::feedforward(&input, up, Inner::Activation(Activation::Gelu), down)
        }),
        ("linear", &[&[2, 3], &[4, 3], &[4]], |x| ops::linear(&x[0], &x[1], Some(&x[2]))),
        ("linear, no bias", &[&[2, 2, 3], &[4, 3]], |x| ops::linear(&x[0], &x[1], None)),
        ("linear, one vector", &[&[3], &[4, 3], &[4]], |x| ops::linear(&x[0], &x[1], Some(&x[2]))),
        ("several linear", &[&[2, 2, 3], &[4, 3], &[2, 3]], |x| {
            let all = ops::linear_all(&x[0], &x[1..])?;
            ops::cat(&[&all[0], &all[1], &ops::mul(&all[1], &all[1])?], 2)
        }),
        ("token_shift", &[&[2, 3, 5]], |x| ops::token_shift(&x[0], vec![-1, 0].into(), None, None)),
        ("token_shift, masked", &[&[2, 3, 5]], |x| {
            let there = Array::from_vec(vec![1u8, 0, 1, 1, 1, 0], (2, 3), &Device::Cpu)?;
            ops::token_shift(&x[0], vec![0, 1].into(), Some(&Tensor::boolean(there)), None)
        }),
        ("layer_norm", &[&[2, 3, 5], &[5], &[5]], |x| ops::layer_norm(&x[0], &x[1], &x[2], 1e-5)),
        ("layer_norm and what goes past", &[&[2, 3, 5], &[5], &[5]], |x| {
            let (y, past) = ops::layer_norm_with_residual(&x[0], &x[1], &x[2], 1e-5)?;
            ops::add(&ops::mul(&y, &y)?, &past)
        }),
        ("only what goes past", &[&[2, 3]], |x| {
            let ones = Tensor::constant(Array::ones(3, DType::F64, &Device::Cpu)?);
            ops::add(&ops::layer_norm_with_residual(&x[0], &ones, &ones, 1e-5)?.1, &x[0])
        }),
        ("scale_norm and what goes past", &[&[2, 3, 5], &[5]], |x| {
            let (y, past) = ops::scale_norm_with_residual(&x[0], &x[1], 0.5, 1e-5)?;
            ops::mul(&y, &past)
        }),
        ("layer_norm, one vector", &[&[5], &[5], &[5]], |x| {
            ops::layer_norm(&x[0], &x[1], &x[2], 0.1)
        }),
        ("dropout", &[&[4, 5]], |x| ops::dropout(&x[0], 0.4, STREAM)),
        ("dropout of everything", &[&[4, 5]], |x| ops::dropout(&x[0], 1.0, STREAM)),
        ("rotary", &[&[2, 3, 2, 5]], |x| {
            ops::rotary(&x[0], (&normal(&[3, 2], 8), &normal(&[3, 2], 9)), Pairs::Halves)
        }),
    ];
    check_all(&cases);
}

#[test]
fn softmax_under_masks() {
    let cases: [Case; 6] = [
        ("no mask", &[&[1, 2, 3, 4]], |x| ops::masked_softmax(&x[0], &Mask::default())),
        ("causal", &[&[1, 2, 3, 4]], |x| {
            ops::masked_softmax(&x[0], &Mask { causal: true, ..Mask::default() })
        }),
        ("more queries than keys", &[&[1, 1, 4, 2]], |x| {
            ops::masked_softmax(&x[0], &Mask { causal: true, ..Mask::default() })
        }),
        ("keys", &[&[2, 1, 2, 3]], |x| ops::masked_softmax(&x[0], &keys(false))),
        ("keys, causal", &[&[2, 1, 2, 3]], |x| ops::masked_softmax(&x[0], &keys(true))),
        ("pairs", &[&[2, 1, 2, 3]], |x| ops::masked_softmax(&x[0], &pairs())),
    ];
    check_all(&cases);
}

/// All keys of the second sequence are masked: its rows depend on no score.
fn keys(causal: bool) -> Mask {
    let allowed = Array::from_vec(vec![1u8, 0, 1, 0, 0, 0], (2, 1, 1, 3), &Device::Cpu).unwrap();
    Mask { allowed: Some(allowed), causal, ..Mask::default() }
}

fn pairs() -> Mask {
    let allowed = Array::from_vec(vec![1u8, 1, 0, 0, 1, 1], (1, 1, 2, 3), &Device::Cpu).unwrap();
    Mask { allowed: Some(allowed), ..Mask::default() }
}

#[test]
fn losses() {
    const SMOOTHED: CrossEntropy = CrossEntropy { ignore_index: -9, label_smoothing: 0.2 };
    let cases: [Case; 10] = [
        ("cross_entropy, smoothed", &[&[4, 3]], |x| {
            ops::cross_entropy(&x[0], &ids(&[0, 2, -9, 2], &[4]), SMOOTHED)
        }),
        ("linear_cross_entropy, smoothed", &[&[2, 2, 3], &[5, 3], &[5]], |x| {
            let targets = ids(&[0, 2, -9, 4], &[2, 2]);
            ops::linear_cross_entropy(&x[0], (&x[1], Some(&x[2])), &targets, SMOOTHED)
        }),
        ("softclamped_cross_entropy", &[&[2, 2, 3], &[5, 3], &[5]], |x| {
            let targets = ids(&[0, 2, -9, 4], &[2, 2]);
            let layer = (&x[1], Some(&x[2]));
            ops::softclamped_cross_entropy(&x[0], layer, &targets, SMOOTHED, Some(0.8))
        }),
        ("cross_entropy", &[&[4, 3]], |x| {
            ops::cross_entropy(&x[0], &ids(&[0, 2, 1, 2], &[4]), CrossEntropy::ignoring(-100))
        }),
        ("cross_entropy, rows of rows", &[&[2, 2, 3]], |x| {
            ops::cross_entropy(&x[0], &ids(&[0, 2, 1, 2], &[2, 2]), CrossEntropy::ignoring(7))
        }),
        ("cross_entropy, some ignored", &[&[4, 3]], |x| {
            ops::cross_entropy(&x[0], &ids(&[0, 2, -9, 2], &[4]), CrossEntropy::ignoring(-9))
        }),
        ("linear_cross_entropy", &[&[2, 2, 3], &[5, 3], &[5]], |x| {
            let targets = ids(&[0, 2, -9, 4], &[2, 2]);
            ops::affine(
                &ops::linear_cross_entropy(
                    &x[0],
                    (&x[1], Some(&x[2])),
                    &targets,
                    CrossEntropy::ignoring(-9),
                )?,
                3.0,
                1.0,
            )
        }),
        ("linear_cross_entropy, without bias", &[&[2, 3], &[4, 3]], |x| {
            ops::linear_cross_entropy(
                &x[0],
                (&x[1], None),
                &ids(&[3, 0], &[2]),
                CrossEntropy::ignoring(-9),
            )
        }),
        ("cross_entropy, scaled", &[&[4, 3]], |x| {
            ops::affine(
                &ops::cross_entropy(&x[0], &ids(&[1, 1, 1, 0], &[4]), CrossEntropy::ignoring(0))?,
                3.0,
                1.0,
            )
        }),
        ("mse", &[&[2, 3], &[2, 3]], |x| ops::mse(&x[0], &x[1])),
    ];
    check_all(&cases);
}

#[test]
fn attention_composed_of_operations() {
    let case: Case = ("attention", &[&[2, 3, 4], &[4, 4], &[4, 4], &[4, 4]], |x| {
        let head = |w: &xt_autograd::Tensor| {
            ops::transpose(&ops::reshape(&ops::linear(&x[0], w, None)?, &[2, 3, 2, 2])?, 1, 2)
        };
        let (q, k, v) = (head(&x[1])?, head(&x[2])?, head(&x[3])?);
        let scores = ops::matmul(&q, &ops::transpose(&k, 2, 3)?, 0.7)?;
        let weights = ops::masked_softmax(&scores, &Mask { causal: true, ..Mask::default() })?;
        let mixed =
            ops::transpose(&ops::matmul(&ops::dropout(&weights, 0.2, STREAM)?, &v, 1.0)?, 1, 2)?;
        ops::add(&ops::reshape(&mixed, &[2, 3, 4])?, &x[0])
    });
    check_all(&[case]);
}

#[test]
fn half_precision_works_in_every_layer() {
    let x = crate::common::leaf(normal(&[1, 2, 2, 4], 1).to_dtype(DType::BF16).unwrap());
    let half =
        |dims: &[usize]| crate::common::leaf(normal(dims, 2).to_dtype(DType::BF16).unwrap()).0;
    let y = ops::linear(&x.0, &half(&[4, 4]), Some(&half(&[4]))).unwrap();
    let y = ops::layer_norm(&y, &half(&[4]), &half(&[4]), 1e-5).unwrap();
    let y = ops::masked_softmax(&y, &Mask::default()).unwrap();
    let y =
        ops::dropout(&ops::activation(&y, ops::Activation::Gelu).unwrap(), 0.1, STREAM).unwrap();
    let table = |seed| normal(&[2, 2], seed).to_dtype(DType::BF16).unwrap();
    let y = ops::matmul(
        &ops::rotary(&y, (&table(3), &table(4)), Pairs::Halves).unwrap(),
        &half(&[4, 2]),
        1.0,
    )
    .unwrap();
    crate::common::backward(&ops::mean(&y, None, false).unwrap()).unwrap();
    let grad = x.1.grad().unwrap().unwrap();
    assert_eq!((grad.dtype(), grad.dims()), (DType::BF16, [1, 2, 2, 4].as_slice()));
    assert!(crate::common::values(&grad).iter().all(|g| g.is_finite()));
}
