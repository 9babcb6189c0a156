//! Files of PyTorch with more than plain weights (test/checkpoints/kinds.py): which tensors are the
//! weights, every type of value, and what is not supported.

use crate::common::array_values;
use serde_json::Value as Json;
use std::path::PathBuf;
use xt_core::checkpoint::{self, File, Settings};
use xt_core::{Error, Result};

pub fn recorded(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../test/checkpoints").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read(name: &str, key: Option<&str>) -> Result<File> {
    checkpoint::read_with(
        &recorded(name),
        Settings { key: key.map(str::to_string), ..Settings::default() },
    )
}

fn refusal(name: &str, key: Option<&str>) -> Error {
    read(name, key).err().unwrap_or_else(|| panic!("{name} {key:?} was read"))
}

fn values(file: &File) -> Vec<(&str, Vec<f64>)> {
    file.tensors
        .iter()
        .map(|(name, t)| (name.as_str(), array_values(&t.array().unwrap())))
        .collect()
}

const WEIGHT: [f64; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
const BIAS: [f64; 2] = [-1.0, 0.5];

fn small() -> Vec<(&'static str, Vec<f64>)> {
    vec![("weight", WEIGHT.to_vec()), ("bias", BIAS.to_vec())]
}

#[test]
fn the_weights_are_found_where_they_are_unambiguous() {
    for (name, key) in [
        ("beside.pt", None),
        ("usual.pt", None),
        ("unchecked.pt", None),
        ("unchecked.pt", Some("")),
        ("usual.pt", Some("state_dict")),
        ("unusual.pt", Some("backbone")),
        ("outer.pt", Some("backbone")),
        ("deep.pt", Some("0.a.b.c")),
    ] {
        assert_eq!(values(&read(name, key).unwrap()), small(), "{name} {key:?}");
    }
    let file = read("compiled.pt", None).unwrap();
    assert_eq!(values(&file)[1], ("_orig_mod.module.bias", BIAS.to_vec()));
    assert_eq!(values(&read("tensor.pt", None).unwrap()), [("0", WEIGHT.to_vec())]);
    let places = [("0", WEIGHT.to_vec()), ("1", BIAS.to_vec())];
    assert_eq!(values(&read("tuple.pt", None).unwrap()), places);
    assert_eq!(values(&read("list.pt", None).unwrap()), [("0", vec![1.0; 3])]);
    // a tensor beside the dict of weights, such as the loss, is not a weight
    let file = read("nanogpt.pt", None).unwrap();
    assert!(
        file.tensors.len() > 10 && file.tensors[0].0 == "token_emb.emb.weight",
        "{}",
        file.tensors[0].0
    );
    // a key selects its value even where it would not be chosen without one
    assert_eq!(values(&read("outer.pt", Some("")).unwrap()), [("mean", vec![0.0])]);
    assert_eq!(values(&read("beside.pt", Some("nested.a.0.0.b")).unwrap()), [("0", vec![1.0; 2])]);
}

#[test]
fn ambiguous_files_are_an_error_with_the_number_of_tensors() {
    for (name, words) in [
        ("two.pt", "option `key`: `model` (tensors: 18), `ema` (tensors: 18)"),
        ("unusual.pt", "option `key`: `stats` (tensors: 1), `backbone` (tensors: 2)"),
        ("outer.pt", "`backbone` (tensors: 2); `` is the outer dict itself (tensors: 1)"),
        ("deep.pt", "deeper within: choose them by the option `key`: `0.a.b.c` (tensors: 2)"),
    ] {
        let error = refusal(name, None);
        assert_eq!(error.code(), "invalid_checkpoint", "{name}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
    for key in ["0.a", "0.a.b.c.weight.x", "1.a.b.c", "0.a.b.c.", "x", "0..a"] {
        let message = refusal("deep.pt", Some(key)).to_string();
        assert!(message.contains(&format!("no dict of tensors named `{key}`")), "{message}");
    }
}

#[test]
fn attributes_of_tensors_and_parameters_are_ignored() {
    let mut want = small();
    want.extend([("buffer", vec![3.0]), ("frozen", vec![4.0])]);
    assert_eq!(values(&read("attributes.pt", None).unwrap()), want);
}

#[test]
fn every_type_has_the_values_that_python_sees() {
    let want: Json = serde_json::from_slice(&recorded("types.json")).unwrap();
    let number = |x: &Json| x.as_f64().unwrap_or_else(|| x.as_str().unwrap().parse().unwrap());
    for name in ["types.pt", "types.safetensors"] {
        let file = read(name, None).unwrap();
        assert_eq!(file.tensors.len(), want.as_object().unwrap().len(), "{name}");
        for (key, tensor) in &file.tensors {
            let want: Vec<f64> = want[key].as_array().unwrap().iter().map(number).collect();
            let got = array_values(&tensor.array().unwrap());
            // serde_json reads numbers to the last bit, beyond the precision of f32
            let bits = |x: f64| {
                if key.starts_with("float8") {
                    u64::from((x as f32).to_bits())
                } else {
                    x.to_bits()
                }
            };
            let same = |(a, b): (&f64, &f64)| bits(*a) == bits(*b) || (a.is_nan() && b.is_nan());
            assert!(
                got.len() == want.len() && got.iter().zip(&want).all(same),
                "{name}: {key} {got:?} {want:?}"
            );
            let kind = if key.starts_with("float8") { "f32" } else { "i64" };
            assert_eq!(tensor.scalar_type().unwrap().name(), kind, "{name}: {key}");
        }
    }
    for name in ["large.pt", "large.safetensors"] {
        let error = refusal(name, None);
        assert_eq!(error.code(), "not_available");
        assert!(error.to_string().contains("tensor `large` has values from 2^63 on"), "{error}");
    }
}

#[test]
fn unsupported_tensors_are_errors_that_name_their_kind() {
    for (key, words) in [
        ("neg", "is negated lazily (save it with .resolve_neg())"),
        ("conj", "is conjugated lazily (save it with .resolve_conj())"),
        ("complex", "has the type torch.ComplexFloatStorage"),
        ("half_complex", "has the type torch.complex32"),
        ("sparse", "is sparse"),
        ("compressed", "is sparse"),
        ("quantized", "is quantized"),
        ("meta", "has no values (its device is `meta`)"),
        ("nested", "is nested"),
        ("bits", "has the type torch.bits8"),
        ("packed", "has the type torch.float4_e2m1fn_x2"),
        ("shared", "shares its values with one of another type"),
    ] {
        let error = refusal("strange.pt", Some(key));
        assert_eq!(error.code(), "not_available", "{key}: {error}");
        let words = format!("tensor `x` {words}, which is not supported");
        assert!(error.to_string().contains(&words), "{key}: {error}");
    }
}

/// The last position of these bytes in a file.
fn last(file: &[u8], wanted: &[u8]) -> usize {
    file.windows(wanted.len()).rposition(|part| part == wanted).unwrap()
}

#[test]
fn a_changed_value_is_found_by_its_checksum() {
    let whole = recorded("attributes.pt");
    let at = last(&whole, &4.0f32.to_le_bytes());
    let mut changed = whole.clone();
    changed[at] ^= 1;
    let error = checkpoint::read(&changed).unwrap_err();
    assert_eq!(error.code(), "invalid_checkpoint");
    assert!(
        error.to_string().contains("tensor `frozen` is not as it was written: its CRC-32 differs"),
        "{error}"
    );
    let mut changed = whole.clone();
    let at = last(&whole, b"cpu");
    changed[at] = b'C';
    let error = checkpoint::read(&changed).unwrap_err().to_string();
    assert!(error.contains("data.pkl is not as it was written"), "{error}");
    // torch.serialization.set_crc32_options(False) leaves checksums out
    let mut unchecked = recorded("unchecked.pt");
    let at = last(&unchecked, &0.5f32.to_le_bytes());
    unchecked[at + 3] ^= 0x80;
    assert_eq!(array_values(&checkpoint::read(&unchecked).unwrap().0[1].1), [-1.0, -0.5]);
}

#[test]
fn records_that_overlap_or_contradict_their_header_are_errors() {
    let whole = recorded("small.pt");
    // the directory entry of the last storage: size at 24, offset at 42, name at 46
    let entry = last(&whole, b"small/data/1") - 46;
    for (at, change) in [(20, 4), (24, 4), (42, 64), (42, 1)] {
        let mut changed = whole.clone();
        changed[entry + at] ^= change;
        let error = checkpoint::read(&changed).unwrap_err();
        assert_eq!(error.code(), "invalid_checkpoint", "{at}");
    }
    let mut moved = whole.clone();
    let first = last(&whole, b"small/data/0") - 46;
    moved.copy_within(first + 42..first + 46, entry + 42);
    let message = checkpoint::read(&moved).unwrap_err().to_string();
    assert!(message.contains("this zip file is damaged: record `small/data/"), "{message}");
}
