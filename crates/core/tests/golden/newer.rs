//! Recordings of x-transformers 2 in the words of 1.9.2. The norms of 2.x have no bias, and by
//! default one parameter that is added to 1; the last norm belongs to the layers; logits have no
//! bias, and tied ones a factor. See test/x-transformers-2/README.md.

use super::case;
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use xt_core::{Array, Device, Result};
use xt_kernels::ops::elementwise::affine;

/// The cases whose options are known here.
const CASES: [&str; 16] = [
    "average-pool-embed",
    "cls-token",
    "cls-tokens-mask",
    "decoder",
    "embed-num-tokens",
    "encoder-mask",
    "ff-relu-squared",
    "ff-swiglu-no-bias",
    "num-output-heads",
    "prepend-mask",
    "seq-start-pos",
    "squeeze-out-last-dim",
    "tie-embedding",
    "tie-embedding-scale",
    "vit",
    "vit-register-tokens",
];

/// Whether there is a translation of this case.
pub fn knows(case: &str) -> bool {
    CASES.contains(&case)
}

/// All differences from the recording.
pub fn run(meta: &Json, bytes: &[u8], device: &Device) -> Result<Vec<String>> {
    let (mut meta, arrays) = translated(meta, case::read(bytes, device)?)?;
    if meta["case"] == "seq-start-pos" {
        // what is before the start of a row sees no key
        meta["rows_from"] = json!([0, 4]);
    }
    case::differences(&meta, arrays, device)
}

/// The case and its arrays. The names of parameters without a recorded gradient, which 2.x does not
/// have, are in the field `unrecorded`.
fn translated(meta: &Json, data: HashMap<String, Array>) -> Result<(Json, HashMap<String, Array>)> {
    let mut meta = meta.clone();
    for spec in meta["models"].as_object_mut().unwrap().values_mut() {
        spec["kwargs"] = options(spec["class"].as_str().unwrap(), &spec["kwargs"]);
    }
    let (mut all, mut unrecorded) = (HashMap::new(), Vec::new());
    for (name, array) in data {
        for (name, array) in entries(&name, array)? {
            if let Some(bias) = name.strip_prefix("grad.").filter(|n| n.ends_with("=0")) {
                unrecorded.push(bias.trim_end_matches("=0").to_string());
            } else {
                all.insert(name, array);
            }
        }
    }
    meta["unrecorded"] = json!(unrecorded);
    Ok((meta, all))
}

fn options(class: &str, given: &Json) -> Json {
    let mut options = given.clone();
    if class == "TransformerWrapper" {
        options["logits_bias"] = json!(false);
        if given["tie_embedding"] == json!(true) && given.get("tie_embedding_scale").is_none() {
            let dim = given["attn_layers"]["kwargs"]["dim"].as_f64().unwrap();
            options["tie_embedding_scale"] = json!(dim.powf(-0.5));
        }
    }
    options
}

/// An array under the name that it has in 1.9.2. A norm has a bias of 0 besides, whose gradient is
/// marked by `=0` after the name.
fn entries(name: &str, array: Array) -> Result<Vec<(String, Array)>> {
    let Some((part, parameter)) =
        name.split_once('.').filter(|(p, _)| ["param", "grad"].contains(p))
    else {
        return Ok(vec![(name.into(), array)]);
    };
    let parameter =
        parameter.replace(".ff.2.", ".ff.3.").replace("attn_layers.final_norm.", "norm.");
    if parameter == "pos_embedding" {
        // 1.9.2 has one position more than there are patches
        let more = Array::zeros((1, 1, array.dims()[2]), array.dtype(), &array.device())?;
        return Ok(vec![(format!("{part}.{parameter}"), Array::cat(&[array, more], 1)?)]);
    }
    let Some(norm) = parameter.strip_suffix(".gamma") else {
        return Ok(vec![(format!("{part}.{parameter}"), array)]);
    };
    // norms outside of the layers are not added to 1
    let outside = norm == "post_emb_norm" || norm.starts_with("patch_to_embedding.");
    let is_gradient = part == "grad";
    let bias = Array::zeros(array.dims(), array.dtype(), &array.device())?;
    let weight = if is_gradient || outside { array } else { affine(&array, 1.0, 1.0)? };
    let mark = if is_gradient { "=0" } else { "" };
    Ok(vec![(format!("{part}.{norm}.weight"), weight), (format!("{part}.{norm}.bias{mark}"), bias)])
}
