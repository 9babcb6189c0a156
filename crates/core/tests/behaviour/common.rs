//! Small models, and calls of them; small leaves, and steps of an optimizer.

use crate::device::device;
use serde_json::{json, Value as Json};
use std::ops::Range;
use std::sync::Arc;
use xt_core::training::Optimizer;
use xt_core::{checkpoint, Args, Array, Ctx, DType, Leaf, Model, Result, Rng, Tensor, Value};

/// `base` with the entries of `more`.
pub fn with(mut base: Json, more: Json) -> Json {
    let map = base.as_object_mut().unwrap();
    map.extend(more.as_object().unwrap().clone());
    base
}

pub fn spec(class: &str, options: Json) -> Json {
    json!({ "class": class, "options": options })
}

/// Layers of width 16 with two heads of 8, two blocks deep.
pub fn layers(class: &str, more: Json) -> Json {
    spec(class, with(json!({ "dim": 16, "depth": 2, "heads": 2, "attn_dim_head": 8 }), more))
}

/// A model over 17 tokens, at most 12 at once.
pub fn transformer(layers: Json, more: Json) -> Json {
    spec(
        "TransformerWrapper",
        with(json!({ "num_tokens": 17, "max_seq_len": 12, "attn_layers": layers }), more),
    )
}

pub fn gpt(more_layers: Json, more: Json) -> Json {
    transformer(layers("Decoder", more_layers), more)
}

pub fn autoregressive(net: Json, more: Json) -> Json {
    spec("AutoregressiveWrapper", with(json!({ "net": net }), more))
}

/// A plain GPT wrapped with its loss.
pub fn plain() -> Json {
    autoregressive(gpt(json!({}), json!({})), json!({}))
}

pub fn build(spec: &Json) -> Arc<Model> {
    seeded(spec, 1)
}

/// A model whose initial values are drawn with this seed.
pub fn seeded(spec: &Json, seed: u64) -> Arc<Model> {
    let model = Model::from_spec(spec, seed).unwrap();
    model.move_to(&device()).unwrap();
    model
}

pub fn ids(values: &[i64], dims: &[usize]) -> Tensor {
    Tensor::constant(Array::from_vec(values.to_vec(), dims, &device()).unwrap())
}

/// Seeded token ids from 0 to 16.
pub fn tokens(batch: usize, n: usize, seed: u64) -> Tensor {
    let drawn = Rng::new(seed, 0).stream().below(17, batch * n);
    ids(&drawn.into_iter().map(|t| t as i64).collect::<Vec<_>>(), &[batch, n])
}

/// Seeded normal numbers, f32.
pub fn normal(dims: &[usize], seed: u64) -> Tensor {
    Tensor::constant(float(&Rng::new(seed, 0).stream().normal(dims.iter().product()), dims))
}

pub fn float(values: &[f64], dims: &[usize]) -> Array {
    Array::from_vec(values.to_vec(), dims, &device()).unwrap().to_dtype(DType::F32).unwrap()
}

pub fn mask(bits: &[u8], dims: &[usize]) -> Tensor {
    Tensor::boolean(Array::from_vec(bits.to_vec(), dims, &device()).unwrap())
}

/// Calls `method`; tensors among the arguments are written `{"$tensor": i}`. `number` seeds the
/// random numbers of the call.
pub fn call_numbered(
    model: &Model,
    method: &str,
    args: Json,
    tensors: &[Tensor],
    number: u64,
) -> Result<Value> {
    let rng = Rng::new(3, number);
    model.call(method, &Args::new(model.class(), args, tensors)?, &Ctx::new(&rng, &|| false))
}

/// `forward` of the first tensor, with the other arguments in `named`.
pub fn forward_with(model: &Model, tensors: &[Tensor], named: Json) -> Result<Value> {
    call_numbered(model, "forward", json!([{ "$tensor": 0 }, named]), tensors, 1)
}

pub fn forward(model: &Model, x: &Tensor) -> Tensor {
    forward_numbered(model, x, 1)
}

pub fn forward_numbered(model: &Model, x: &Tensor, number: u64) -> Tensor {
    tensor(
        call_numbered(model, "forward", json!([{ "$tensor": 0 }]), std::slice::from_ref(x), number)
            .unwrap(),
    )
}

pub fn tensor(value: Value) -> Tensor {
    match value {
        Value::Tensor(tensor) => tensor,
        _ => panic!("the call gives no single tensor"),
    }
}

pub fn array_values(array: &Array) -> Vec<f64> {
    array.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub fn values(tensor: &Tensor) -> Vec<f64> {
    array_values(&tensor.array().unwrap())
}

pub fn parameter(model: &Model, name: &str) -> Vec<f64> {
    array_values(&model.entry(name).unwrap().param.values().unwrap())
}

/// The gradients of all parameters by name, after which there are none.
pub fn taken_gradients(model: &Model) -> Vec<(String, Vec<f64>)> {
    let entries = model.entries().iter();
    entries
        .filter_map(|entry| {
            let leaf = entry.param.leaf();
            let grad = array_values(&leaf.grad().unwrap()?);
            leaf.set_grad(None).unwrap();
            Some((entry.name.clone(), grad))
        })
        .collect()
}

pub fn set(model: &Model, name: &str, values: &[f64]) {
    let leaf = model.entry(name).unwrap().param.leaf().clone();
    let dims = leaf.shape().to_vec();
    leaf.set(float(values, &dims)).unwrap();
}

/// Sets every element of a parameter.
pub fn fill(model: &Model, name: &str, value: f64) {
    let count: usize = model.entry(name).unwrap().param.leaf().shape().iter().product();
    set(model, name, &vec![value; count]);
}

/// Seeded normal numbers, f64.
pub fn random(shape: &[usize], seed: u64) -> Array {
    let values = Rng::new(seed, 0).stream().normal(shape.iter().product());
    Array::from_vec(values, shape, &device()).unwrap()
}

/// A leaf of each shape, with seeded values.
pub fn leaves_of(shapes: &[&[usize]]) -> Vec<Arc<Leaf>> {
    (0..).zip(shapes).map(|(i, shape)| Arc::new(Leaf::new(random(shape, i)))).collect()
}

/// The seeded gradient of a leaf in a step.
pub fn gradient_of(shape: &[usize], index: usize, step: u64) -> Array {
    random(shape, 100 + 10 * step + index as u64)
}

/// Steps with seeded gradients, with these settings for each group.
pub fn step_through(
    optimizer: &mut Optimizer,
    leaves: &[Arc<Leaf>],
    steps: Range<u64>,
    groups: &[Json],
) {
    for step in steps {
        for (i, leaf) in leaves.iter().enumerate() {
            let shape = leaf.shape().to_vec();
            leaf.set_grad(Some(gradient_of(&shape, i, step))).unwrap();
        }
        optimizer.step(groups, &|| false).unwrap();
        optimizer.zero_grad().unwrap();
    }
}

/// The state of an optimizer, written to a file and read from there.
pub fn reread(state: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let bytes = checkpoint::write_tensors(state, Default::default()).unwrap();
    let read = checkpoint::read(&bytes).unwrap().0;
    read.into_iter().map(|(name, array)| (name, Tensor::constant(array))).collect()
}

pub fn leaf_values(leaf: &Leaf) -> Vec<f64> {
    array_values(&leaf.values().unwrap())
}

pub fn all_values(leaves: &[Arc<Leaf>]) -> Vec<Vec<f64>> {
    leaves.iter().map(|leaf| leaf_values(leaf)).collect()
}

/// Twice the same leaves, with gradients of a quarter: one where the factor is left to the step,
/// one where it is applied.
pub fn clipped_and_scaled(shapes: &[&[usize]]) -> [Vec<Arc<Leaf>>; 2] {
    let both = [leaves_of(shapes), leaves_of(shapes)];
    for (i, shape) in shapes.iter().enumerate() {
        for leaves in &both {
            leaves[i].set_grad(Some(gradient_of(shape, i, 0))).unwrap();
            leaves[i].scale_grad(0.25);
        }
        both[1][i].grad().unwrap(); // the factor is applied
    }
    both
}

/// A square matrix with `value` on its diagonal.
pub fn diagonal(size: usize, value: f64) -> Vec<f64> {
    (0..size * size).map(|i| if i % (size + 1) == 0 { value } else { 0.0 }).collect()
}

#[track_caller]
pub fn close(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * (1.0 + w.abs()), "entry {i}: got {g}, want {w}");
    }
}

/// Fails unless `share` of `count` independent draws is within five standard errors of `p`. By
/// chance that fails once in two million times; the draws are seeded.
#[track_caller]
pub fn share_is(share: f64, p: f64, count: usize) {
    let error = (p * (1.0 - p) / count as f64).sqrt();
    assert!((share - p).abs() <= 5.0 * error + 1e-12, "a share of {share} in {count}, not {p}");
}

pub fn json_of(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// Gives `to` the values of the parameters of `from`, which must have all of its names.
pub fn copy_weights(from: &Model, to: &Model) {
    for entry in to.entries() {
        let source = from.entry(&entry.name).unwrap();
        entry.param.leaf().set(source.param.values().unwrap()).unwrap();
    }
}
