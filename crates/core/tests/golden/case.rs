//! One recorded case: build the models, make the calls, compare outputs and gradients.

use super::compare::difference;
use serde_json::{json, Value as Json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::generation::{top_a, top_k, top_p};
use xt_core::{
    checkpoint, Args, Array, Ctx, Device, EntryKind, Leaf, Model, Result, Rng, Tensor, Value,
};

/// The contents of the file by part: `param`, `in`, `out`, `cot`, `grad`, `grad_in`.
struct Data(HashMap<String, Array>);

impl Data {
    fn part(&self, prefix: &str) -> BTreeMap<String, Array> {
        let inside =
            |(k, v): (&String, &Array)| k.strip_prefix(prefix).map(|k| (k.to_string(), v.clone()));
        self.0.iter().filter_map(inside).collect()
    }
}

/// All differences from the recording.
pub fn run(meta: &Json, bytes: &[u8], device: &Device) -> Result<Vec<String>> {
    let data = Data(read(bytes, device)?);
    let models = models(meta, &data, device)?;
    let inputs = inputs(meta, &data);
    let outputs = outputs(meta, &models, &inputs)?;
    let (tol, want) = (&meta["tolerance"], data.part("out."));
    let number = |key: &str| tol[key].as_f64().unwrap();
    let mut wrong = Vec::new();
    let (got_names, want_names): (BTreeSet<_>, BTreeSet<_>) =
        (outputs.keys().collect(), want.keys().collect());
    if got_names != want_names {
        wrong.push(format!("outputs {got_names:?}, expected {want_names:?}"));
    }
    for (name, want) in &want {
        if let Some(got) = outputs.get(name) {
            let got = got.array()?;
            wrong.extend(difference(name, &got, want, number("out"), number("out_floor")));
        }
    }
    if let Some(objective) = meta["objective"].as_array() {
        backward(objective, &outputs, &data.part("cot."))?;
        let tolerance = (number("grad"), number("grad_floor"));
        wrong.extend(gradients(&data, &models, &inputs, tolerance));
    }
    Ok(wrong)
}

/// The arrays of a file, on `device`.
pub fn read(bytes: &[u8], device: &Device) -> Result<HashMap<String, Array>> {
    let arrays = checkpoint::read(bytes)?.0.into_iter();
    arrays.map(|(name, array)| Ok((name, array.to_device(device)?))).collect()
}

fn models(meta: &Json, data: &Data, device: &Device) -> Result<BTreeMap<String, Arc<Model>>> {
    let specs = meta["models"].as_object().unwrap();
    let mut models = BTreeMap::new();
    for (name, spec) in specs {
        let model = Model::from_spec(&renamed(spec), 1)?;
        let prefix = if specs.len() == 1 { "param.".to_string() } else { format!("param.{name}.") };
        let state: Vec<(String, Array)> = data.part(&prefix).into_iter().collect();
        model.move_to(device)?;
        model.load_state(&state, true)?;
        model.train(false);
        models.insert(name.clone(), model);
    }
    Ok(models)
}

/// The fixtures say `kwargs` where checkpoints say `options`.
pub fn renamed(spec: &Json) -> Json {
    let options: serde_json::Map<String, Json> = spec["kwargs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.clone(), if v.get("class").is_some() { renamed(v) } else { v.clone() }))
        .collect();
    json!({ "class": spec["class"], "options": options })
}

fn inputs(meta: &Json, data: &Data) -> BTreeMap<String, Tensor> {
    let needs_grad = !meta["objective"].is_null();
    let tensor = |name: &str, array: Array| {
        if meta["tensors"][format!("in.{name}")]["dtype"] == "bool" {
            Tensor::boolean(array)
        } else if needs_grad && array.dtype().is_float() && !name.starts_with("aux.") {
            Tensor::leaf(Arc::new(Leaf::new(array)))
        } else {
            Tensor::constant(array)
        }
    };
    data.part("in.").into_iter().map(|(name, array)| (name.clone(), tensor(&name, array))).collect()
}

type Outputs = BTreeMap<String, Tensor>;

fn outputs(
    meta: &Json,
    models: &BTreeMap<String, Arc<Model>>,
    inputs: &BTreeMap<String, Tensor>,
) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    for (number, call) in meta["calls"].as_array().unwrap().iter().enumerate() {
        let mut tensors = Vec::new();
        let mut args: Vec<Json> = call["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| resolve(a, inputs, &outputs, &mut tensors))
            .collect();
        args.push(resolve(&call["kwargs"], inputs, &outputs, &mut tensors));
        let value = match call["function"].as_str() {
            Some(function) => filter(function, &tensors[0], &call["kwargs"])?.into(),
            None => {
                let model = &models[call["model"].as_str().unwrap()];
                let args = Args::new(model.class(), Json::Array(args), &tensors)?;
                let rng = Rng::new(1, 1000 + number as u64);
                model.call(call["method"].as_str().unwrap(), &args, &Ctx::new(&rng, &|| false))?
            }
        };
        store(&call["returns"], value, &mut outputs);
    }
    Ok(outputs)
}

/// Resolves `{"$in": NAME}` and `{"$out": NAME}` to references to tensors, in objects and arrays
/// too.
fn resolve(
    v: &Json,
    inputs: &BTreeMap<String, Tensor>,
    outputs: &Outputs,
    tensors: &mut Vec<Tensor>,
) -> Json {
    let mut add = |t: &Tensor| {
        tensors.push(t.clone());
        json!({ "$tensor": tensors.len() - 1 })
    };
    if let Some(name) = v.get("$in").and_then(Json::as_str) {
        return add(&inputs[name]);
    }
    if let Some(name) = v.get("$out").and_then(Json::as_str) {
        return match name.strip_suffix('*') {
            None => add(&outputs[name]),
            Some(list) => {
                let item = |i: usize| outputs.get(&format!("{list}{i}"));
                (0..).map_while(item).map(&mut add).collect()
            }
        };
    }
    // a filter is given by its name
    if let Some(function) = v.get("$function") {
        return function.clone();
    }
    match v {
        Json::Object(map) => {
            map.iter().map(|(k, v)| (k.clone(), resolve(v, inputs, outputs, tensors))).collect()
        }
        other => other.clone(),
    }
}

fn filter(name: &str, logits: &Tensor, kwargs: &Json) -> Result<Tensor> {
    let number = |key: &str, default: f64| kwargs[key].as_f64().unwrap_or(default);
    match name {
        "top_k" => top_k(logits, number("thres", 0.9)),
        "top_p" => top_p(logits, number("thres", 0.9)),
        _ => top_a(logits, number("min_p_pow", 2.0), number("min_p_ratio", 0.02)),
    }
}

/// Stores a result under the names that the recording uses.
fn store(names: &Json, value: Value, outputs: &mut Outputs) {
    match (names, value) {
        (Json::Null, _) => {}
        (Json::Array(names), Value::List(values)) => {
            names.iter().zip(values).for_each(|(name, value)| store(name, value, outputs));
        }
        (Json::String(name), value) => store_named(name, value, outputs),
        (names, _) => panic!("the call does not return what {names} names"),
    }
}

fn store_named(name: &str, value: Value, outputs: &mut Outputs) {
    match value {
        Value::Null => {}
        Value::Tensor(tensor) => {
            outputs.insert(name.to_string(), tensor);
        }
        Value::List(values) => {
            let list = name.strip_suffix('*').expect("a list");
            values
                .into_iter()
                .enumerate()
                .for_each(|(i, v)| store_named(&format!("{list}{i}"), v, outputs));
        }
        Value::Fields(fields) => {
            let base = name.strip_suffix('@').expect("intermediates");
            for (field, value) in fields {
                let Value::List(values) = value else { panic!("{field} is no list") };
                for (i, value) in values.into_iter().enumerate() {
                    match value {
                        Value::Fields(maps) => {
                            maps.into_iter().for_each(|(m, v)| {
                                store_named(&format!("{base}{m}.{i}"), v, outputs)
                            });
                        }
                        value => store_named(&format!("{base}{field}.{i}"), value, outputs),
                    }
                }
            }
        }
    }
}

fn backward(
    objective: &[Json],
    outputs: &Outputs,
    cotangents: &BTreeMap<String, Array>,
) -> Result<()> {
    let mut total: Option<Tensor> = None;
    for part in objective {
        let name = part["out"].as_str().unwrap();
        let term = match cotangents.get(name) {
            None => outputs[name].clone(),
            Some(weight) => ops::sum(
                &ops::mul(&outputs[name], &Tensor::constant(weight.clone()))?,
                None,
                false,
            )?,
        };
        total = Some(match total {
            None => term,
            Some(sum) => ops::add(&sum, &term)?,
        });
    }
    Ok(total.unwrap().backward(false, &|| false)?)
}

fn gradients(
    data: &Data,
    models: &BTreeMap<String, Arc<Model>>,
    inputs: &BTreeMap<String, Tensor>,
    (tol, floor): (f64, f64),
) -> Vec<String> {
    let mut got = BTreeMap::new();
    for (name, model) in models {
        let prefix = if models.len() == 1 { String::new() } else { format!("{name}.") };
        let tied = model.tied();
        for entry in model
            .entries()
            .iter()
            .filter(|e| e.kind == EntryKind::Parameter && !tied.contains_key(e.name.as_str()))
        {
            got.extend(
                entry.param.leaf().grad().unwrap().map(|g| (format!("{prefix}{}", entry.name), g)),
            );
        }
    }
    let mut wrong = compare_all("grad.", &got, &data.part("grad."), tol, floor);
    let got = inputs
        .iter()
        .filter_map(|(name, t)| Some((name.clone(), t.as_leaf()?.grad().unwrap()?)))
        .collect();
    wrong.extend(compare_all("grad_in.", &got, &data.part("grad_in."), tol, floor));
    wrong
}

fn compare_all(
    part: &str,
    got: &BTreeMap<String, Array>,
    want: &BTreeMap<String, Array>,
    tol: f64,
    floor: f64,
) -> Vec<String> {
    let (got_names, want_names): (BTreeSet<_>, BTreeSet<_>) =
        (got.keys().collect(), want.keys().collect());
    let mut wrong = Vec::new();
    if got_names != want_names {
        wrong.push(format!(
            "{part}: {:?} differ",
            got_names.symmetric_difference(&want_names).collect::<Vec<_>>()
        ));
    }
    for (name, want) in want {
        wrong.extend(
            got.get(name).and_then(|g| difference(&format!("{part}{name}"), g, want, tol, floor)),
        );
    }
    wrong
}
