//! One recorded run of training steps: losses, gradient norms and final weights.

use super::case::{read, renamed};
use super::compare::{difference, values};
use serde_json::{json, Map, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::training::{clip_grad_norm, Optimizer, OptimizerKind};
use xt_core::{Args, Array, Ctx, Device, EntryKind, Leaf, Model, Result, Rng, Tensor, Value};
use xt_kernels::ops::layout::narrow;

/// The floor of the tolerance, as in the fixtures.
const FLOOR: f64 = 0.01;

/// All differences from the recording.
pub fn run(meta: &Json, bytes: &[u8], device: &Device) -> Result<Vec<String>> {
    let data = read(bytes, device)?;
    let model = Model::from_spec(&renamed(&meta["model"]), 1)?;
    model.move_to(device)?;
    let start: Vec<_> = part(&data, "start.").collect();
    model.load_state(&start, true)?;
    let parameters: Vec<Arc<Leaf>> = model
        .entries()
        .iter()
        .filter(|e| e.kind == EntryKind::Parameter)
        .map(|e| e.param.leaf().clone())
        .collect();
    let (groups, ordered) = groups(meta, &parameters);
    let counts = groups.iter().map(|(n, _)| *n).collect();
    let mut optimizer = Optimizer::new(
        OptimizerKind::parse(meta["optimizer"]["name"].as_str().unwrap())?,
        ordered,
        counts,
    )?;
    let mut wrong = Vec::new();
    let tol = meta["tolerance"]["loss"].as_f64().unwrap();
    let mut check = |what: String, got: f64, want: &Json| {
        let want = want.as_f64().unwrap();
        let off = (got - want).abs() / (tol * want.abs().max(FLOOR));
        if off.is_nan() || off > 1.0 {
            wrong.push(format!("{what}: got {got}, expected {want}"));
        }
    };
    for step in 0..meta["steps"].as_u64().unwrap() as usize {
        let loss = accumulated_loss(&model, meta, &data["in.batch"], step)?;
        check(format!("loss of step {step}"), loss, &meta["loss"][step]);
        let norm = clip_grad_norm(
            &parameters,
            meta["clip_grad_norm"].as_f64().unwrap_or(f64::INFINITY),
            &|| false,
        )?;
        check(format!("gradient norm of step {step}"), norm, &meta["grad_norm"][step]);
        let settings: Vec<Json> =
            groups.iter().map(|(_, s)| with_lr(s, &meta["lr"][step])).collect();
        optimizer.step(&settings, &|| false)?;
        optimizer.zero_grad()?;
    }
    let tol = meta["tolerance"]["end"].as_f64().unwrap();
    for (name, want) in part(&data, "end.") {
        wrong.extend(difference(&name, &model.entry(&name)?.param.values()?, &want, tol, FLOOR));
    }
    Ok(wrong)
}

fn part<'a>(
    data: &'a HashMap<String, Array>,
    prefix: &'a str,
) -> impl Iterator<Item = (String, Array)> + 'a {
    data.iter().filter_map(move |(k, v)| k.strip_prefix(prefix).map(|k| (k.to_string(), v.clone())))
}

/// The number of parameters and the settings of each group.
type Groups = Vec<(usize, Map<String, Json>)>;

/// The groups, and the parameters in their order.
fn groups(meta: &Json, parameters: &[Arc<Leaf>]) -> (Groups, Vec<Arc<Leaf>>) {
    let mut settings = meta["optimizer"].as_object().unwrap().clone();
    settings.remove("name");
    let Some(dims) = settings.remove("no_decay_below_dims").and_then(|d| d.as_u64()) else {
        return (vec![(parameters.len(), settings)], parameters.to_vec());
    };
    let (decayed, plain): (Vec<_>, Vec<_>) =
        parameters.iter().cloned().partition(|p| p.shape().len() >= dims as usize);
    let mut without = settings.clone();
    without.insert("weight_decay".into(), json!(0.0));
    (vec![(decayed.len(), settings), (plain.len(), without)], [decayed, plain].concat())
}

fn with_lr(settings: &Map<String, Json>, lr: &Json) -> Json {
    let mut settings = settings.clone();
    settings.insert("lr".into(), lr.clone());
    Json::Object(settings)
}

/// Forward and backward over the batches of a step; returns the mean loss.
fn accumulated_loss(model: &Model, meta: &Json, batches: &Array, step: usize) -> Result<f64> {
    let count = meta["accumulate"].as_u64().unwrap() as usize;
    let mut total = 0.0;
    for i in 0..count {
        let batch = [Tensor::constant(
            narrow(&narrow(batches, 0, step, 1)?.squeeze(0)?, 0, i, 1)?.squeeze(0)?,
        )];
        let rng = Rng::new(1, 5000 + (step * count + i) as u64);
        let args = Args::new("forward", json!([{ "$tensor": 0 }]), &batch)?;
        let Value::Tensor(loss) = model.call("forward", &args, &Ctx::new(&rng, &|| false))? else {
            panic!("no loss")
        };
        let loss = ops::affine(&loss, 1.0 / count as f64, 0.0)?;
        loss.backward(false, &|| false)?;
        total += values(&loss.array()?)[0];
    }
    Ok(total)
}
