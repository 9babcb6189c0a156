//! Gradients against central differences, for any operation.

use std::sync::Arc;
use xt_autograd::{ops, Array, Device, Leaf, Result, Tensor};
use xt_kernels::philox::Stream;

/// An operation on some tensors.
pub type Op = fn(&[Tensor]) -> Result<Tensor>;

/// A name, the shapes of the inputs, and the operation.
pub type Case = (&'static str, &'static [&'static [usize]], Op);

/// Seeded normal numbers, f64.
pub fn normal(dims: &[usize], seed: u64) -> Array {
    let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
    Array::from_vec(values, dims, &Device::Cpu).unwrap()
}

pub fn array(values: &[f64], dims: &[usize]) -> Array {
    Array::from_vec(values.to_vec(), dims, &Device::Cpu).unwrap()
}

pub fn ids(values: &[i64], dims: &[usize]) -> Tensor {
    Tensor::constant(Array::from_vec(values.to_vec(), dims, &Device::Cpu).unwrap())
}

/// A tensor that collects a gradient, and its leaf.
pub fn leaf(values: Array) -> (Tensor, Arc<Leaf>) {
    let leaf = Arc::new(Leaf::new(values));
    (Tensor::leaf(leaf.clone()), leaf)
}

pub fn values(array: &Array) -> Vec<f64> {
    array.to_dtype(xt_autograd::DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub fn grad(leaf: &Leaf) -> Vec<f64> {
    values(&leaf.grad().unwrap().expect("a gradient"))
}

pub fn backward(loss: &Tensor) -> Result<()> {
    loss.backward(false, &|| false)
}

pub fn total(x: &Tensor) -> Tensor {
    ops::sum(x, None, false).unwrap()
}

/// Memory layout of inputs and gradients.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// Row-major.
    Plain,
    /// Inputs and the incoming gradient are transposed views.
    Transposed,
    /// The incoming gradient is one number broadcast with strides of 0.
    Broadcast,
}

const LAYOUTS: [Layout; 3] = [Layout::Plain, Layout::Transposed, Layout::Broadcast];

fn transpose_last(x: &Tensor) -> Tensor {
    match x.rank() {
        0 | 1 => x.clone(),
        rank => ops::transpose(x, rank - 2, rank - 1).unwrap(),
    }
}

/// The scalar whose gradient is taken: a weighted sum of the output of `op`.
fn objective(inputs: &[Tensor], op: Op, layout: Layout) -> Tensor {
    let transposed = matches!(layout, Layout::Transposed);
    let inputs: Vec<Tensor> =
        inputs.iter().map(|x| if transposed { transpose_last(x) } else { x.clone() }).collect();
    let y = op(&inputs).unwrap();
    match layout {
        Layout::Broadcast => total(&y),
        Layout::Plain => total(&ops::mul(&y, &Tensor::constant(normal(y.dims(), 99))).unwrap()),
        Layout::Transposed => {
            let y = transpose_last(&y);
            total(&ops::mul(&y, &Tensor::constant(normal(y.dims(), 99))).unwrap())
        }
    }
}

/// Compares the gradients of `op` with central differences, for inputs of any sign.
pub fn check_all(cases: &[Case]) {
    check_over(cases, |x| x);
}

/// The same for inputs that `domain` maps into the domain of the operation.
pub fn check_over(cases: &[Case], domain: fn(Array) -> Array) {
    for (name, shapes, op) in cases {
        for layout in LAYOUTS {
            // for a transposed layout, leaves are stored transposed so that their views have the
            // requested shapes
            let stored = |x: Array| match layout {
                Layout::Transposed => xt_kernels::ops::layout::contiguous(
                    &transpose_last(&Tensor::constant(x)).array().unwrap(),
                )
                .unwrap(),
                Layout::Plain | Layout::Broadcast => x,
            };
            let input = |(i, dims): (usize, &&[usize])| stored(domain(normal(dims, i as u64 + 1)));
            let inputs: Vec<Array> = shapes.iter().enumerate().map(input).collect();
            check(&format!("{name}, {layout:?}"), &inputs, *op, layout);
        }
    }
}

fn check(name: &str, inputs: &[Array], op: Op, layout: Layout) {
    let leaves: Vec<Arc<Leaf>> = inputs.iter().map(|x| Arc::new(Leaf::new(x.clone()))).collect();
    let tensors: Vec<Tensor> = leaves.iter().map(|l| Tensor::leaf(l.clone())).collect();
    backward(&objective(&tensors, op, layout)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let step = 1e-5;
    for (i, leaf) in leaves.iter().enumerate() {
        assert_eq!(
            leaf.grad().unwrap().expect("a gradient").dims(),
            inputs[i].dims(),
            "{name}, input {i}"
        );
        let got = grad(leaf);
        for (k, got) in got.iter().enumerate() {
            let at = |d: f64| {
                let mut moved = values(&inputs[i]);
                moved[k] += d;
                let mut constants: Vec<Tensor> =
                    inputs.iter().cloned().map(Tensor::constant).collect();
                constants[i] = Tensor::constant(array(&moved, inputs[i].dims()));
                values(&objective(&constants, op, layout).array().unwrap())[0]
            };
            let want = (at(step) - at(-step)) / (2.0 * step);
            // the rounding error is about 1e-16 / step of the objective, the truncation error about
            // step squared
            assert!(
                (got - want).abs() <= 1e-6 * (1.0 + want.abs()),
                "{name}, input {i}, entry {k}: {got}, not {want}"
            );
        }
    }
}
