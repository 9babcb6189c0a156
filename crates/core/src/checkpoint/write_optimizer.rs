//! Serialises the state of an optimizer to a PyTorch file, which
//! `torch.load(path, weights_only=True)` reads, and `load_state_dict` of PyTorch's optimizer of the
//! same name accepts.

use super::element::Element;
use super::write_pickle::{pickle, Node, StoredTensor};
use super::write_zip::ZipWriter;
use crate::training::OptimizerKind;
use crate::{Array, Device, Error, Result, Tensor};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use xt_kernels::memory;

/// The folder of the records; PyTorch accepts any name.
const FOLDER: &str = "archive";

/// Settings that only PyTorch's optimizers have, with their default values.
const COMMON: [(&str, Option<bool>); 3] =
    [("maximize", Some(false)), ("foreach", None), ("differentiable", Some(false))];
/// Further such settings of Adam and AdamW.
const OF_ADAM: [(&str, Option<bool>); 2] = [("amsgrad", Some(false)), ("capturable", Some(false))];

/// Settings of Muon that are about its groups for AdamW.
const OF_ADAMW_GROUPS: [&str; 2] = ["use_muon", "betas"];

/// Bytes reserved for the header of a record and the padding before its content.
const RECORD: usize = 256;

/// Serialises the state: `named` are the tensors `INDEX.FIELD`, `groups` the settings of each group
/// as a JSON array, including the indices of its parameters.
///
/// # Errors
/// `out_of_memory` if memory does not suffice for the file.
pub fn write_optimizer(
    kind: OptimizerKind,
    named: Vec<(String, Tensor)>,
    groups: &Json,
) -> Result<Vec<u8>> {
    let mut state: BTreeMap<i64, Vec<(Node, Node)>> = BTreeMap::new();
    let mut arrays = Vec::new();
    require_known_in_python(kind, groups)?;
    for (name, tensor) in named {
        let unknown = || Error::Internal(format!("`{name}` is no state of an optimizer"));
        let (index, field) = name.split_once('.').ok_or_else(unknown)?;
        if !kind.counts_steps() && field == "step" {
            continue;
        }
        let array =
            xt_kernels::ops::layout::contiguous(&tensor.array()?)?.to_device(&Device::Cpu)?;
        let storage = Element::storage_of(array.dtype()).ok_or_else(unknown)?;
        let stored = StoredTensor {
            key: arrays.len().to_string(),
            kind: storage,
            shape: array.dims().to_vec(),
        };
        let fields = state.entry(index.parse().map_err(|_| unknown())?).or_default();
        fields.push((Node::Text(field.into()), Node::Tensor(stored)));
        arrays.push(array);
    }
    let state =
        state.into_iter().map(|(index, fields)| (Node::Int(index), Node::Dict(fields))).collect();
    let groups = groups
        .as_array()
        .map_or(Vec::new(), |groups| groups.iter().map(|g| group(kind, g)).collect());
    let root = Node::Dict(vec![
        (Node::Text("state".into()), Node::Dict(state)),
        (Node::Text("param_groups".into()), Node::List(groups)),
    ]);
    write(&pickle(&root), &arrays)
}

/// Returns an error for groups that PyTorch's optimizer of this kind does not have.
fn require_known_in_python(kind: OptimizerKind, groups: &Json) -> Result<()> {
    let of_adamw = |group: &Json| group.get("use_muon") == Some(&Json::Bool(false));
    let has_some = groups.as_array().is_some_and(|groups| groups.iter().any(of_adamw));
    if kind != OptimizerKind::Muon || !has_some {
        return Ok(());
    }
    Err(Error::Unsupported(
        "PyTorch's Muon has no groups for AdamW (`use_muon: false`): save this state as safetensors, \
         without a name that ends in .pt, .pth, .bin or .ckpt"
            .into(),
    ))
}

/// Writes the records in PyTorch's order.
fn write(pickle: &[u8], arrays: &[Array]) -> Result<Vec<u8>> {
    let bytes =
        arrays.iter().map(|array| array.elem_count() as u64 * array.dtype().size_in_bytes() as u64);
    let size = bytes.sum::<u64>() + (pickle.len() + RECORD * (arrays.len() + 4)) as u64;
    // while the file is built, one tensor at a time is copied too
    memory::check("the file of the optimizer's state", size)?;
    let mut zip = ZipWriter::with_capacity(size as usize)?;
    zip.add(&format!("{FOLDER}/data.pkl"), pickle);
    zip.add(&format!("{FOLDER}/byteorder"), b"little");
    for (i, array) in arrays.iter().enumerate() {
        array.with_bytes(|values| zip.add(&format!("{FOLDER}/data/{i}"), values))?;
    }
    zip.add(&format!("{FOLDER}/version"), b"3\n");
    Ok(zip.finish())
}

/// The settings of a group.
fn group(kind: OptimizerKind, settings: &Json) -> Node {
    let text = |name: &str| Node::Text(name.into());
    let is_known =
        |name: &String| kind != OptimizerKind::Muon || !OF_ADAMW_GROUPS.contains(&name.as_str());
    let own = settings.as_object().into_iter().flatten().filter(|(name, _)| is_known(name));
    let mut pairs: Vec<(Node, Node)> =
        own.map(|(name, value)| (text(name), setting(name, value))).collect();
    if matches!(kind, OptimizerKind::Lion | OptimizerKind::Muon) {
        return Node::Dict(pairs); // lion-pytorch and PyTorch's Muon have no other settings
    }
    if kind == OptimizerKind::Adafactor {
        pairs.push((text("foreach"), Node::None));
        pairs.push((text("maximize"), Node::Bool(false)));
        return Node::Dict(pairs);
    }
    let adam = OF_ADAM.iter().filter(|_| kind != OptimizerKind::Sgd);
    let more = COMMON.iter().chain(adam).chain(&[("fused", None)]);
    let flag = |value: &Option<bool>| value.map_or(Node::None, Node::Bool);
    pairs.extend(more.map(|(name, value)| (text(name), flag(value))));
    if kind != OptimizerKind::Sgd {
        pairs.push((text("decoupled_weight_decay"), Node::Bool(kind == OptimizerKind::AdamW)));
    }
    Node::Dict(pairs)
}

/// The value of a setting.
fn setting(name: &str, value: &Json) -> Node {
    match value {
        Json::Bool(b) => Node::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Node::Int(n),
            None => Node::Float(n.as_f64().unwrap_or_default()),
        },
        Json::String(s) => Node::Text(s.clone()),
        Json::Array(items) => {
            let items = items.iter().map(|item| setting("", item)).collect();
            // PyTorch expects pairs such as `betas` as tuples
            if name == "params" {
                Node::List(items)
            } else {
                Node::Tuple(items)
            }
        }
        Json::Null | Json::Object(_) => Node::None,
    }
}
