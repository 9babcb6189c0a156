//! Damaged checkpoints: each is an error with a code, never a panic.

use crate::common::{build, gpt, json_of, layers, plain};
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use xt_core::{checkpoint, Device, Result};

/// The smallest possible model, so that many loads take little time.
fn bytes() -> Vec<u8> {
    let small = json!({ "dim": 2, "depth": 1, "heads": 1, "attn_dim_head": 1, "ff_mult": 1 });
    checkpoint::save(&build(&gpt(small, json!({ "num_tokens": 3, "max_seq_len": 2 })))).unwrap()
}

fn header_end(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

fn load(bytes: &[u8]) -> Result<()> {
    checkpoint::load(bytes, &Device::Cpu).map(|_| ())
}

fn code(bytes: &[u8]) -> &'static str {
    load(bytes).err().map_or("loaded", |e| e.code())
}

#[test]
fn a_truncated_file_is_an_error() {
    let whole = bytes();
    assert!(load(&whole).is_ok());
    for end in 0..whole.len() {
        assert_eq!(code(&whole[..end]), "invalid_checkpoint", "cut at {end} of {}", whole.len());
    }
    assert_eq!(code(&[whole.as_slice(), &[0]].concat()), "invalid_checkpoint", "a byte too many");
}

#[test]
fn flipped_bits_in_the_header_never_panic() {
    let whole = bytes();
    let mut codes: HashMap<&str, usize> = HashMap::new();
    for at in 0..header_end(&whole) {
        for bit in [0x01, 0x04, 0x20, 0x80] {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            *codes.entry(code(&flipped)).or_default() += 1;
        }
    }
    println!("{codes:?}");
    let known =
        ["loaded", "invalid_checkpoint", "invalid_state", "invalid_options", "not_available"];
    assert!(codes.keys().all(|c| known.contains(c)), "{codes:?}");
    // few flips keep the header readable: in a digit of the version, say
    assert!(codes["loaded"] * 10 < codes.values().sum::<usize>(), "{codes:?}");
}

#[test]
fn files_of_other_formats_are_errors() {
    for bytes in
        [&b""[..], b"hello", b"PK\x03\x04 a zip, as torch.save writes", &[0xff; 64], &[0; 64]]
    {
        assert_eq!(code(bytes), "invalid_checkpoint");
    }
}

/// The bytes of a valid checkpoint with another description of its model.
fn described_as(description: Option<&str>) -> Vec<u8> {
    let (tensors, mut metadata) = checkpoint::read(&bytes()).unwrap();
    metadata.remove("x-transformers");
    metadata.extend(description.map(|d| ("x-transformers".to_string(), d.to_string())));
    checkpoint::write(tensors, metadata).unwrap()
}

#[test]
fn an_invalid_model_description_is_an_error_with_a_reason() {
    let of = |spec: Json| spec.to_string();
    let net = || gpt(json!({}), json!({}));
    let cases = [
        ("not json".to_string(), "invalid_checkpoint", "damaged"),
        ("[]".into(), "invalid_checkpoint", "`class` and `options`"),
        (of(json!({ "class": "Decoder" })), "invalid_checkpoint", "`class` and `options`"),
        (of(json!({ "class": 3, "options": {} })), "invalid_checkpoint", "`class` and `options`"),
        (
            of(json!({ "class": "Decoder", "options": 3 })),
            "invalid_checkpoint",
            "`class` and `options`",
        ),
        (
            of(json!({ "class": "Decodre", "options": {} })),
            "invalid_options",
            "did you mean `Decoder`",
        ),
        (
            of(json!({ "class": "NonAutoregressiveWrapper", "options": {} })),
            "invalid_options",
            "net: is required",
        ),
        (of(json!({ "class": "Decoder", "options": {} })), "invalid_options", "dim: is required"),
        (of(layers("Decoder", json!({ "headz": 3 }))), "invalid_options", "did you mean `heads`"),
        (of(layers("Decoder", json!({}))), "invalid_state", "is missing"),
        (
            of(gpt(json!({}), json!({ "attn_layers": net() }))),
            "invalid_options",
            "got a TransformerWrapper",
        ),
        (of(gpt(json!({}), json!({ "attn_layers": { "$module": 7 } }))), "internal", "no module 7"),
        (
            of(gpt(json!({}), json!({ "num_tokens": 1u64 << 50 }))),
            "invalid_state",
            "token_emb.emb.weight",
        ),
        (of(layers("Decoder", json!({ "depth": 1u64 << 50 }))), "invalid_options", "depth"),
        ("[".repeat(100_000), "invalid_checkpoint", "damaged"),
        (
            format!(
                "{}1{}",
                r#"{"class":"Decoder","options":{"a":"#.repeat(100_000),
                "}}".repeat(100_000)
            ),
            "invalid_checkpoint",
            "damaged",
        ),
    ];
    for (description, want, words) in cases {
        let error = load(&described_as(Some(&description))).expect_err(words);
        let start: String = description.chars().take(200).collect();
        assert_eq!(error.code(), want, "{start}: {error}");
        assert!(error.to_string().contains(words), "{start}: {error}");
    }
    let message = load(&described_as(None)).unwrap_err().to_string();
    assert!(message.contains("does not say which model"), "{message}");
}

#[test]
fn tensors_that_do_not_match_the_model_are_errors() {
    let (tensors, metadata) =
        checkpoint::read(&checkpoint::save(&build(&plain())).unwrap()).unwrap();
    let rewritten = |tensors: &[(String, xt_core::Array)]| {
        checkpoint::write(tensors.to_vec(), metadata.clone()).unwrap()
    };
    assert!(load(&rewritten(&tensors)).is_ok());
    assert_eq!(code(&rewritten(&tensors[1..])), "invalid_state");
    let mut renamed = tensors.clone();
    renamed[0].0.push('x');
    assert_eq!(code(&rewritten(&renamed)), "invalid_state");
    let mut transposed = tensors.clone();
    let wide =
        transposed.iter().position(|(_, t)| t.rank() == 2 && t.dims()[0] != t.dims()[1]).unwrap();
    transposed[wide].1 = transposed[wide].1.t().unwrap();
    assert_eq!(code(&rewritten(&transposed)), "invalid_state");
    let described = json_of(&metadata["x-transformers"]);
    assert_eq!(described["class"], "AutoregressiveWrapper");
}
