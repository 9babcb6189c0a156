//! Written tensors are read back exactly, or writing is an error.

use crate::common::{array_values, autoregressive, build, float, gpt};
use crate::device::device;
use serde_json::json;
use std::collections::HashMap;
use xt_core::{checkpoint, Array, Error, Result, ScalarType, Tensor};
use xt_kernels::ops::layout::narrow;

fn tensor(values: &[f64], shape: &[usize], kind: ScalarType) -> Tensor {
    let array = float(values, shape).to_dtype(kind.dtype()).unwrap();
    if kind == ScalarType::Bool {
        Tensor::boolean(array)
    } else {
        Tensor::constant(array)
    }
}

fn write(named: &[(&str, &Tensor)]) -> Result<Vec<u8>> {
    let named = named.iter().map(|(name, t)| (name.to_string(), (*t).clone())).collect();
    checkpoint::write_tensors(named, HashMap::from([("format".into(), "pt".into())]))
}

fn refused(result: Result<Vec<u8>>, words: &str) {
    match result {
        Err(Error::Shape(message)) => assert!(message.contains(words), "{message}"),
        other => panic!("{words}: {:?}", other.map(|bytes| bytes.len())),
    }
}

#[test]
fn every_type_and_shape_round_trips() {
    for (_, kind) in ScalarType::NAMES {
        for shape in [&[][..], &[1], &[0], &[2, 0, 3], &[1, 2, 1, 1, 1, 1, 1, 1, 1, 2]] {
            let count = shape.iter().product();
            let values: Vec<f64> = (0..count).map(|i| (i % 2) as f64).collect();
            let bytes = write(&[("x", &tensor(&values, shape, kind))]).unwrap();
            let file = checkpoint::read_file(&bytes, false).unwrap();
            let (name, back) = &file.tensors[0];
            assert_eq!((name.as_str(), back.scalar_type(), back.dims()), ("x", Some(kind), shape));
            assert_eq!(array_values(&back.array().unwrap()), values);
        }
    }
}

#[test]
fn strided_views_with_offsets_are_written_as_their_values() {
    let whole = float(&(0..24).map(f64::from).collect::<Vec<_>>(), &[2, 3, 4]);
    let views = [
        narrow(&whole, 0, 1, 1).unwrap(),
        narrow(&whole, 2, 1, 2).unwrap(),
        whole.t().unwrap(),
        narrow(&whole, 1, 1, 1).unwrap().broadcast_as(&[2, 5, 4][..]).unwrap(),
    ];
    for view in views {
        let bytes = write(&[("x", &Tensor::constant(view.clone()))]).unwrap();
        let back = checkpoint::read_file(&bytes, false).unwrap().tensors[0].1.array().unwrap();
        assert_eq!((back.dims(), array_values(&back)), (view.dims(), array_values(&view)));
    }
}

#[test]
fn the_same_tensors_give_the_same_bytes_with_aligned_values() {
    let kinds = ScalarType::NAMES.map(|(name, kind)| (name, tensor(&[1.0], &[1], kind)));
    let metadata =
        || HashMap::from(["c", "a", "b", "d"].map(|key| (key.to_string(), key.to_string())));
    let write =
        |named: Vec<(String, Tensor)>| checkpoint::write_tensors(named, metadata()).unwrap();
    let named: Vec<_> = kinds.iter().map(|(name, t)| (name.to_string(), t.clone())).collect();
    let reversed: Vec<_> = named.iter().rev().cloned().collect();
    let bytes = write(named);
    assert_eq!(bytes, write(reversed));
    let header: serde_json::Value = serde_json::from_slice(
        &bytes[8..8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize],
    )
    .unwrap();
    for (name, tensor) in &kinds {
        let start = header[name]["data_offsets"][0].as_u64().unwrap();
        assert_eq!(start % tensor.dtype().size_in_bytes() as u64, 0, "{name}");
    }
}

#[test]
fn invalid_names_are_errors() {
    let one = tensor(&[1.0], &[1], ScalarType::F32);
    refused(write(&[("__metadata__", &one)]), "`__metadata__`");
    refused(write(&[("a", &one), ("b", &one), ("a", &one)]), "two tensors have the name `a`");
    refused(write(&[(&"x".repeat(100_000_001), &one)]), "several files");
    for name in ["", "a\0b", "\u{1f916}", "\"\\\n", "__metadata__ ", "__proto__"] {
        let bytes = write(&[(name, &one)]).unwrap();
        assert_eq!(checkpoint::read_file(&bytes, false).unwrap().tensors[0].0, name);
    }
}

#[test]
fn a_file_without_tensors_and_metadata_is_valid() {
    let bytes = checkpoint::write(Vec::<(String, Array)>::new(), HashMap::new()).unwrap();
    let file = checkpoint::read_file(&bytes, false).unwrap();
    assert_eq!((file.tensors.len(), file.metadata.len()), (0, 0));
}

#[test]
fn numbers_in_the_options_of_a_model_round_trip_exactly() {
    for rate in
        [0.1 + 0.2, 1.0 / 3.0, 5e-324, 0.999_999_999_999_999_9, 2.0_f64.powi(-40) / 3.0, 0.1 + 0.7]
    {
        let options = json!({ "emb_dropout": rate, "emb_frac_gradient": rate });
        let model = build(&autoregressive(gpt(json!({ "ff_dropout": rate }), options), json!({})));
        let loaded = checkpoint::load(&checkpoint::save(&model).unwrap(), &device()).unwrap();
        assert_eq!(loaded.spec().to_string(), model.spec().to_string());
        assert_eq!(loaded.spec()["options"]["net"]["options"]["emb_dropout"].as_f64(), Some(rate));
    }
}
