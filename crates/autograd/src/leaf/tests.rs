use super::Leaf;
use crate::{ops, Array, DType, Device, Error, Tensor};
use std::sync::Arc;
use xt_kernels::ops::quantized::Format;

fn leaf(values: [f64; 2]) -> Arc<Leaf> {
    Arc::new(Leaf::new(Array::new(&values, &Device::Cpu).unwrap()))
}

fn values(array: &Array) -> Vec<f64> {
    array.to_vec1().unwrap()
}

fn loss(a: &Arc<Leaf>, b: &Arc<Leaf>) -> Tensor {
    let product = ops::mul(&Tensor::leaf(a.clone()), &Tensor::leaf(b.clone())).unwrap();
    ops::sum(&product, None, false).unwrap()
}

#[test]
fn a_frozen_leaf_gets_no_gradient_until_it_thaws() {
    let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    a.set_requires_grad(false);
    assert!(!Tensor::leaf(a.clone()).requires_grad());
    loss(&a, &b).backward(false, &|| false).unwrap();
    assert!(a.grad().unwrap().is_none());
    assert_eq!(values(&b.grad().unwrap().unwrap()), [1.0, 2.0]);
    a.set_requires_grad(true);
    loss(&a, &b).backward(false, &|| false).unwrap();
    assert_eq!(values(&a.grad().unwrap().unwrap()), [3.0, 4.0]);
}

#[test]
fn a_graph_stays_as_it_was_made() {
    let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    let before = loss(&a, &b);
    a.set_requires_grad(false);
    let meanwhile = loss(&a, &b);
    before.backward(false, &|| false).unwrap();
    assert_eq!(values(&a.grad().unwrap().unwrap()), [3.0, 4.0]);
    a.set_requires_grad(true);
    a.set_grad(None).unwrap();
    meanwhile.backward(false, &|| false).unwrap();
    assert!(a.grad().unwrap().is_none());
}

#[test]
fn frozen_leaves_alone_make_no_graph() {
    let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    a.set_requires_grad(false);
    b.set_requires_grad(false);
    assert!(matches!(loss(&a, &b).backward(false, &|| false), Err(Error::NoGraph)));
}

#[test]
fn a_quantized_leaf_gives_rounded_values_until_others_are_set() {
    let numbers: Vec<f32> = (0..64).map(|i| (i as f32).sin()).collect();
    let leaf = Arc::new(Leaf::new(Array::from_slice(&numbers, (2, 32), &Device::Cpu).unwrap()));
    let ones = || leaf.values().unwrap().ones_like().unwrap();
    let is_within = |tolerance: f32| {
        let got: Vec<f32> = leaf.values().unwrap().flatten_all().unwrap().to_vec1().unwrap();
        got.iter().zip(&numbers).all(|(g, w)| (g - w).abs() <= tolerance)
    };
    leaf.set_grad(Some(ones())).unwrap();
    let before = ops::sum(&Tensor::leaf(leaf.clone()), None, false).unwrap();
    leaf.quantize(Format::Q8_0).unwrap();
    assert!(is_within(5e-3) && !is_within(1e-6));
    assert!(leaf.grad().unwrap().is_none());
    assert!(matches!(before.backward(false, &|| false), Err(Error::StaleParameter { .. })));
    // a second call with the same format changes nothing; another format quantizes the rounded
    // values
    let version = leaf.version();
    leaf.quantize(Format::Q8_0).unwrap();
    assert_eq!(leaf.version(), version);
    leaf.quantize(Format::Q4_0).unwrap();
    assert!(leaf.version() > version && !is_within(5e-3) && is_within(0.15));
    assert!(leaf.move_to(&Device::Cpu, DType::F32).is_ok());
    assert!(matches!(leaf.move_to(&Device::Cpu, DType::F64), Err(Error::Quantized { .. })));
    leaf.set(ones()).unwrap();
    assert!(leaf.packed().is_none() && leaf.require_plain("training").is_ok());
    assert!(leaf.move_to(&Device::Cpu, DType::F64).is_ok());
    assert!(leaf.quantize(Format::Bf16).unwrap_err().to_string().contains("F64"));
}

#[test]
fn a_released_leaf_has_nothing_and_takes_nothing() {
    let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    loss(&a, &b).backward(false, &|| false).unwrap();
    let before = loss(&a, &b);
    a.release();
    assert!(matches!(a.values(), Err(Error::Released { .. })));
    assert!(a.grad().unwrap().is_none() && a.pending_bytes() == 0);
    assert!(matches!(a.set(b.values().unwrap()), Err(Error::Released { .. })));
    assert!(matches!(before.backward(false, &|| false), Err(Error::Released { .. })));
    assert!(b.require_not_released().is_ok() && a.require_not_released().is_err());
}

#[test]
fn a_change_of_a_leaf_that_was_frozen_makes_no_graph_stale() {
    let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    a.set_requires_grad(false);
    let loss = loss(&a, &b);
    a.set(Array::new(&[9.0, 9.0], &Device::Cpu).unwrap()).unwrap();
    loss.backward(false, &|| false).unwrap();
    // uses the values of the forward pass
    assert_eq!(values(&b.grad().unwrap().unwrap()), [1.0, 2.0]);
}
