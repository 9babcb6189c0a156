//! Tests of declarations, defaults, problems and conflicts of all options.

mod conflicts;
mod declarations;
mod heads;
mod reading;
mod sets;

use crate::{parse, Options, Problem, Problems};
use serde_json::{json, Map, Value};

/// The entries of `required`, overridden by those of `own`.
fn with(required: Value, own: Value) -> Value {
    let both = [required, own].into_iter().flat_map(|value| value.as_object().cloned().unwrap());
    Value::Object(both.collect::<Map<_, _>>())
}

fn layers(own: Value) -> Value {
    with(json!({ "dim": 64, "depth": 2, "attn_dim_head": 32 }), own)
}

fn x_transformer(own: Value) -> Value {
    let required = json!({
        "dim": 32, "enc_num_tokens": 10, "enc_max_seq_len": 8, "enc_depth": 1,
        "dec_num_tokens": 10, "dec_max_seq_len": 8, "dec_depth": 1,
    });
    with(required, own)
}

/// The problems of `value`.
fn problems<T: Options>(value: Value) -> Vec<Problem> {
    parse::<T>(&value).err().unwrap_or_default().0
}

fn paths<T: Options>(value: Value) -> Vec<String> {
    problems::<T>(value).into_iter().map(|problem| problem.path).collect()
}

/// Reads a struct from `value`, without checking its combinations.
fn read<T: Options>(value: Value) -> T {
    T::read(value.as_object().unwrap(), "", &mut Problems::default()).unwrap()
}
