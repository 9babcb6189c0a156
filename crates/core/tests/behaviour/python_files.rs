//! Files written by Python (test/checkpoints): their contents, and which are rejected.

use crate::common::array_values;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::path::PathBuf;
use xt_core::checkpoint::{self, File, Range, Reader, Settings};
use xt_core::{DType, Error, Result, Tensor};

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../test/checkpoints").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json(name: &str) -> Json {
    serde_json::from_slice(&bytes(name)).unwrap()
}

fn refusal(name: &str) -> Error {
    checkpoint::read(&bytes(name)).err().unwrap_or_else(|| panic!("{name} was read"))
}

/// Reads as from a stream: the size is known late or never, and bytes are delivered as requested.
fn stream(bytes: &[u8]) -> Result<File> {
    let mut reader = Reader::new(Settings::default());
    let mut position = 0;
    loop {
        if reader.needs_size() {
            reader.set_size(bytes.len() as u64);
            position = 0;
        }
        let Some(Range { offset, length }) = reader.next() else { return reader.finish() };
        assert!(
            offset >= position || bytes.starts_with(b"PK"),
            "backwards: {offset} after {position}"
        );
        position = offset;
        let from = (offset as usize).min(bytes.len());
        reader.feed(&bytes[from..(from + length as usize).min(bytes.len())])?;
    }
}

fn dims(json: &Json) -> Vec<usize> {
    json.as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect()
}

fn number(json: &Json) -> f64 {
    json.as_f64().unwrap_or_else(|| f64::from(u8::from(json.as_bool().unwrap())))
}

#[test]
fn views_types_and_shapes_are_those_in_python() {
    let want = json("views.json");
    for name in ["views.pt", "views.safetensors"] {
        for file in
            [checkpoint::read_file(&bytes(name), false).unwrap(), stream(&bytes(name)).unwrap()]
        {
            assert_eq!(file.tensors.len(), want.as_object().unwrap().len());
            for (name, tensor) in &file.tensors {
                assert_eq!(tensor.dims(), dims(&want[name]["shape"]), "{name}");
                let data: Vec<f64> =
                    want[name]["data"].as_array().unwrap().iter().map(number).collect();
                assert_eq!(array_values(&tensor.array().unwrap()), data, "{name}");
                let kind = tensor.scalar_type().unwrap().name();
                let expected = match name.as_str() {
                    "i64" | "i32" | "i16" | "i8" => "i64",
                    "f64" | "f16" | "bf16" | "u8" | "bool" => name,
                    _ => "f32",
                };
                assert_eq!(kind, expected, "{name}");
            }
        }
    }
}

#[test]
fn half_precision_is_widened_on_request() {
    for name in ["views.pt", "views.safetensors"] {
        let file = checkpoint::read_file(&bytes(name), true).unwrap();
        for wide in ["f16", "bf16"] {
            let (_, tensor) = file.tensors.iter().find(|(name, _)| name == wide).unwrap();
            assert_eq!(tensor.scalar_type().unwrap().name(), "f32");
        }
        let (_, f64) = file.tensors.iter().find(|(name, _)| name == "f64").unwrap();
        assert_eq!(f64.scalar_type().unwrap().name(), "f64");
    }
}

#[test]
fn every_way_to_save_a_state_dict_gives_the_same_tensors() {
    let want = checkpoint::read(&bytes("model.safetensors")).unwrap().0;
    for (name, prefix) in [
        ("model.pt", ""),
        ("protocol4.pt", ""),
        ("nested.pt", ""),
        ("parallel.pt", "module."),
        ("autoregressive.pt", "net."),
    ] {
        let mut got = checkpoint::read(&bytes(name)).unwrap().0;
        got.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(got.len(), want.len(), "{name}");
        for ((got_name, got), (want_name, want)) in got.iter().zip(&want) {
            assert_eq!(*got_name, format!("{prefix}{want_name}"), "{name}");
            assert_eq!(array_values(got), array_values(want), "{name}: {want_name}");
        }
    }
    let parameter = checkpoint::read(&bytes("parameter.pt")).unwrap().0;
    assert_eq!((parameter.len(), parameter[0].0.as_str()), (1, "parameter"));
}

#[test]
fn a_key_selects_one_of_several_state_dicts() {
    let of = |key: Option<&str>| {
        checkpoint::read_with(
            &bytes("two.pt"),
            Settings { key: key.map(str::to_string), ..Settings::default() },
        )
    };
    let message = of(None).err().unwrap().to_string();
    assert!(
        message.contains("option `key`: `model` (tensors: 18), `ema` (tensors: 18)"),
        "{message}"
    );
    let message = of(Some("other")).err().unwrap().to_string();
    assert!(
        message.contains(
            "no dict of tensors named `other`; it has: `model` (tensors: 18), `ema` (tensors: 18)"
        ),
        "{message}"
    );
    let sum = |file: File| -> f64 {
        file.tensors.iter().flat_map(|(_, t)| array_values(&t.array().unwrap())).map(f64::abs).sum()
    };
    assert_eq!(sum(of(Some("ema")).unwrap()), 0.0);
    assert!(sum(of(Some("model")).unwrap()) > 1.0);
}

#[test]
fn rejected_files_say_why_and_what_to_do() {
    let cases = [
        ("old.pt", "from before version 1.6"),
        ("old.pt", "torch.save(torch.load(path, map_location=\"cpu\", weights_only=True), path)"),
        ("hostile.pt", ".system`"),
        ("hostile.pt", "Nothing in the file was executed"),
        ("whole.pt", "x_transformers.x_transformers.TransformerWrapper"),
        ("whole.pt", "torch.save(model.state_dict(), path)"),
        ("packed.pt", "is compressed in this zip file"),
        ("big-endian.pt", "`big` endian"),
        ("missing.pt", "with tensor `bias` is missing"),
        ("other.zip", "none that torch.save has made"),
    ];
    for (name, words) in cases {
        let error = refusal(name);
        assert_eq!(error.code(), "invalid_checkpoint", "{name}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

#[test]
fn an_unsupported_type_is_not_reported_as_damage() {
    let error = refusal("complex.pt");
    assert_eq!(error.code(), "not_available");
    assert!(
        error.to_string().contains("tensor `odd` has the type torch.ComplexFloatStorage"),
        "{error}"
    );
}

#[test]
fn a_truncated_file_names_the_tensor() {
    let whole = bytes("model.safetensors");
    for file in [
        checkpoint::read(&whole[..whole.len() - 5]).map(|_| ()),
        stream(&whole[..whole.len() - 5]).map(|_| ()),
    ] {
        let message = file.unwrap_err().to_string();
        assert!(message.contains("in the middle of tensor `token_emb.emb.weight`"), "{message}");
    }
    let message = stream(&whole[..100]).err().unwrap().to_string();
    assert!(message.contains("after 100 bytes, in the middle of its header"), "{message}");
    let message = stream(&[&whole[..], b"x"].concat()).err().unwrap().to_string();
    assert!(message.contains("goes on after its last tensor"), "{message}");
    let whole = bytes("model.pt");
    for end in [30, 1000, whole.len() - 1] {
        let message = checkpoint::read(&whole[..end]).err().unwrap().to_string();
        assert!(
            message.contains(&format!("cut short or damaged: it has {end} bytes")),
            "{message}"
        );
    }
    for (end, name) in
        [(3000, "token_emb.emb.weight"), (5000, "attn_layers.layers.0.1.to_v.weight")]
    {
        for file in [checkpoint::read(&whole[..end]).map(|_| ()), stream(&whole[..end]).map(|_| ())]
        {
            let message = file.unwrap_err().to_string();
            let words = format!("it ends after {end} bytes, and tensor `{name}`, at the latest");
            assert!(message.contains(&words), "{message}");
        }
    }
}

#[test]
fn long_tensors_are_read_in_chunks_that_may_split_values() {
    let long: Vec<f64> = (0..1_600_000).map(f64::from).collect();
    let named = vec![(
        "a".into(),
        crate::common::float(&[1.0, 2.0, 3.0], &[3]).to_dtype(DType::U8).unwrap(),
    )];
    let wide = crate::common::float(&long, &[800, 2000]).to_dtype(DType::F64).unwrap();
    let mut bytes = checkpoint::write(named, HashMap::new()).unwrap();
    // built by hand: safetensors itself sorts wide types first
    let header = r#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F64","shape":[800,2000],"data_offsets":[3,12800003]}}"#;
    bytes.splice(
        ..bytes.len() - 3,
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat(),
    );
    bytes.extend(long.iter().flat_map(|x| x.to_le_bytes()));
    for file in [checkpoint::read_file(&bytes, false).unwrap(), stream(&bytes).unwrap()] {
        assert_eq!(array_values(&file.tensors[0].1.array().unwrap()), [1.0, 2.0, 3.0]);
        assert_eq!(array_values(&file.tensors[1].1.array().unwrap()), array_values(&wide));
    }
    let message = stream(&bytes[..bytes.len() - 1]).err().unwrap().to_string();
    assert!(message.contains("in the middle of tensor `b`"), "{message}");
}

fn with_header(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn invalid_headers_name_the_tensor_and_allocate_nothing() {
    let x = |rest: &str| format!(r#"{{"x":{{"dtype":"F32",{rest}}}}}"#);
    let cases = [
        (x(r#""shape":[2],"data_offsets":[0,4]"#), 4, "tensor `x` of shape [2] and type F32 should have 8 bytes"),
        (x(r#""shape":[1],"data_offsets":[4,8]"#), 8, "tensor `x` does not begin where it should"),
        (x(r#""shape":[1],"data_offsets":[8,4]"#), 8, "tensor `x`"),
        (x(r#""shape":[1000000000000],"data_offsets":[0,4000000000000]"#), 8, "in the middle of tensor `x`"),
        (x(r#""shape":[4294967296,4294967296,4],"data_offsets":[0,0]"#), 0, "should have more than can be bytes"),
        (x(r#""shape":[4611686018427387904],"data_offsets":[0,18446744073709551615]"#), 0, "tensor `x`"),
        (x(r#""shape":[-1],"data_offsets":[0,4]"#), 4, "header of"),
        (x(r#""shape":[1],"data_offsets":[0,4]"#).replace("F32", "F31"), 4, "tensor `x` has the type F31, which is unknown"),
        (r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#.into(), 2, "two tensors named `x`"),
        (r#"{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#.into(), 3, "tensor `y` overlaps x"),
        (format!("{}1", r#"{"a":"#.repeat(100_000)), 0, "header of"),
    ];
    for (header, data, words) in cases {
        let error = checkpoint::read(&with_header(&header, data)).expect_err(words);
        assert_eq!(error.code(), "invalid_checkpoint", "{words}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(stream(&with_header(&header, data)).is_err(), "{words}");
    }
    let message = checkpoint::read(&u64::MAX.to_le_bytes()).unwrap_err().to_string();
    assert!(message.contains("more than any has"), "{message}");
}

#[test]
fn unsupported_types_of_safetensors_are_named() {
    for (dtype, size) in [("C64", 8), ("F4", 1), ("F6_E2M3", 1), ("F6_E3M2", 1)] {
        let header =
            format!(r#"{{"x":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{size}]}}}}"#);
        let error = checkpoint::read(&with_header(&header, size)).unwrap_err();
        assert_eq!(error.code(), "not_available", "{dtype}");
        assert!(error
            .to_string()
            .contains(&format!("tensor `x` has the type {dtype}, which is not supported")));
    }
}

/// Names, shapes and values, exact to the bit.
fn contents(file: &File) -> Vec<(String, Vec<usize>, Vec<u64>)> {
    let bits = |tensor: &Tensor| {
        array_values(&tensor.array().unwrap()).into_iter().map(f64::to_bits).collect()
    };
    file.tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.dims().to_vec(), bits(tensor)))
        .collect()
}

/// Reads damaged bytes in both ways; an error has a known code. A file with checksums either fails
/// or has its original contents.
fn check_damaged(bytes: &[u8], what: &str, whole: Option<&File>) {
    for file in [checkpoint::read_file(bytes, true), stream(bytes)] {
        match file {
            Err(e) => {
                let codes = ["invalid_checkpoint", "not_available", "out_of_memory"];
                assert!(codes.contains(&e.code()), "{what}: {e}");
            }
            Ok(file) if what.ends_with(".pt") => {
                assert_eq!(Some(contents(&file)), whole.map(contents), "{what}");
            }
            Ok(_) => {}
        }
    }
}

#[test]
fn damage_anywhere_in_a_file_is_an_error() {
    for name in [
        "small.pt",
        "views.pt",
        "parameter.pt",
        "types.pt",
        "attributes.pt",
        "views.safetensors",
        "old.pt",
    ] {
        let whole = bytes(name);
        let file = stream(&whole).ok();
        for at in 0..whole.len() {
            check_damaged(&whole[..at], name, file.as_ref());
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= change;
                check_damaged(&damaged, name, file.as_ref());
            }
        }
    }
}

/// Pseudo-random numbers that are the same in every run.
fn pseudo_random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn several_damages_at_once_are_errors_too() {
    let mut state = 1;
    for name in ["small.pt", "nested.pt", "protocol4.pt", "views.safetensors"] {
        let whole = bytes(name);
        let file = stream(&whole).ok();
        for _ in 0..3000 {
            let mut damaged = whole.clone();
            for _ in 0..1 + pseudo_random(&mut state) % 8 {
                let (at, from) =
                    (pseudo_random(&mut state) as usize, pseudo_random(&mut state) as usize);
                let last = whole.len() - 4;
                match pseudo_random(&mut state) % 4 {
                    0 => damaged[at % last] = pseudo_random(&mut state) as u8,
                    1 => damaged.copy_within(from % last..from % last + 4, at % last),
                    2 => damaged[at % last] = 0xff,
                    _ => damaged[at % last] = 0,
                }
            }
            check_damaged(&damaged, name, file.as_ref());
        }
    }
}
