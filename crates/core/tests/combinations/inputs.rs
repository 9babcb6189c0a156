//! The tensors of a call, by the names of its arguments.

use crate::case::Case;
use crate::common::{ids, mask, normal};
use serde_json::{json, Map, Value as Json};
use xt_autograd::ops;
use xt_core::{DType, Tensor};

pub const BATCH: usize = 2;
pub const N: usize = 6;
pub const DIM: usize = 16;
/// The number of vectors prepended to a sequence.
const FRONT: usize = 2;
const CONTEXT: usize = 5;
const MEMS: usize = 3;

/// Named arguments and their tensors.
#[derive(Clone)]
pub struct Inputs {
    named: Map<String, Json>,
    pub tensors: Vec<Tensor>,
    dtype: DType,
}

impl Inputs {
    /// `positional` come first.
    pub fn new(positional: Vec<Tensor>, dtype: DType) -> Self {
        Self { named: Map::new(), tensors: positional, dtype }
    }

    pub fn add(&mut self, name: &str, tensor: Tensor) {
        self.named.insert(name.into(), json!({ "$tensor": self.tensors.len() }));
        self.tensors.push(tensor);
    }

    pub fn flag(&mut self, name: &str, value: Json) {
        self.named.insert(name.into(), value);
    }

    pub fn floats(&self, dims: &[usize], seed: u64) -> Tensor {
        ops::cast(&normal(dims, seed), self.dtype, false).unwrap()
    }

    pub fn named(&self) -> Json {
        Json::Object(self.named.clone())
    }

    /// The masks of an encoder's source. They do not cover prepended vectors, except masks over
    /// pairs, which do.
    pub fn add_source(&mut self, case: &Case, n: usize) {
        let whole = n + if case.has("src_prepend_embeds") { FRONT } else { 0 };
        for name in case.call.keys() {
            match name.as_str() {
                "mask" => self.add("mask", real(n, 0, 0)),
                "attn_mask_2" => self.add("attn_mask", pairs(whole, &[])),
                "attn_mask_4" => self.add("attn_mask", pairs(whole, &[BATCH, 1])),
                _ => {}
            }
        }
    }

    /// The arguments of the call for a sequence of `n` embeddings with `width` features each.
    pub fn add_call(&mut self, case: &Case, n: usize, width: usize) {
        let front = if case.has("prepend_embeds") { FRONT } else { 0 };
        let whole = n + front;
        if case.cross_attends() {
            self.add("context", self.floats(&[BATCH, CONTEXT, DIM], 11));
            if case.turns_context() {
                self.add("context_pos", ids(&[4, 1, 0, 7, 2], &[CONTEXT]));
            }
            // otherwise the mask of the queries would be used for the context
            let masks = ["context_mask", "mask", "prepend_mask"];
            if masks.iter().any(|name| case.has(name)) {
                self.add("context_mask", real(CONTEXT, 0, 1));
            }
        }
        if case.option("embed_num_tokens").is_some() {
            let kinds: Vec<i64> = (0..BATCH * n).map(|i| (i % 3) as i64).collect();
            self.flag("embed_ids", json!({ "kind": { "$tensor": self.tensors.len() } }));
            self.tensors.push(ids(&kinds, &[BATCH, n]));
        }
        for name in case.call.keys() {
            match name.as_str() {
                "mask" if front > 0 && case.has("prepend_mask") => self.add("mask", real(n, 0, 0)),
                "prepend_mask" if front > 0 => {
                    self.add("prepend_mask", mask(&[1, 0, 1, 1], &[BATCH, FRONT]))
                }
                "mask" => self.add("mask", real(whole, front, 0)),
                "self_attn_context_mask" if front > 0 && case.has("prepend_mask") => {
                    self.add("self_attn_context_mask", real(n, 0, 1))
                }
                "self_attn_context_mask" => {
                    self.add("self_attn_context_mask", real(whole, front, 1))
                }
                "attn_mask_2" => self.add("attn_mask", pairs(whole, &[])),
                "attn_mask_3" => self.add("attn_mask", pairs(whole, &[1])),
                "attn_mask_4" => self.add("attn_mask", pairs(whole, &[BATCH, 1])),
                "mem_masks" if case.has("mems") => {}
                "mems" | "mem_masks" => {
                    let first = self.tensors.len();
                    let count = case.self_attentions();
                    (0..count).for_each(|i| {
                        self.tensors.push(self.floats(&[BATCH, MEMS, DIM], 20 + i as u64))
                    });
                    let list: Vec<Json> =
                        (first..first + count).map(|i| json!({ "$tensor": i })).collect();
                    self.flag("mems", json!(list));
                    if case.has("mem_masks") {
                        let masks = self.tensors.len();
                        let bits = |i: usize| [1, (i % 2) as u8, 1, 0, 1, 1];
                        (0..count).for_each(|i| {
                            self.tensors.push(mask(&bits(i), &[BATCH, MEMS]));
                        });
                        let list: Vec<Json> =
                            (masks..masks + count).map(|i| json!({ "$tensor": i })).collect();
                        self.flag("mem_masks", json!(list));
                    }
                }
                "pos" => self.add("pos", ids(&(0..n as i64).rev().collect::<Vec<_>>(), &[n])),
                "pos_embeds" => self.add("pos", self.floats(&[n, width], 12)),
                "prepend_embeds" => {
                    self.add("prepend_embeds", self.floats(&[BATCH, FRONT, width], 13))
                }
                "sum_embeds" => self.add("sum_embeds", self.floats(&[BATCH, n, width], 14)),
                name if name.starts_with("return_") || name.starts_with("excise_") => {
                    self.flag(name, json!(true))
                }
                _ => {}
            }
        }
    }
}

/// Whether position `i` of a row is real. Every third position is padding, from an offset that
/// depends on the row, but never the first `always` ones and the next; no two neighbours are
/// padding.
fn is_real(row: usize, i: usize, always: usize, from: usize) -> bool {
    i <= always || (i - always + row + from) % 3 != 2
}

fn real(n: usize, always: usize, from: usize) -> Tensor {
    let bits: Vec<u8> = (0..BATCH)
        .flat_map(|row| (0..n).map(move |i| u8::from(is_real(row, i, always, from))))
        .collect();
    mask(&bits, &[BATCH, n])
}

/// Whether position `i` of the sequence is masked as a key in a row.
pub fn is_hidden(case: &Case, row: usize, i: usize) -> bool {
    let from = if case.has("self_attn_context_mask") { 1 } else { 0 };
    !is_real(row, i, 0, from)
}

/// Every position attends to the first, itself, and two thirds of the others.
fn pairs(n: usize, front: &[usize]) -> Tensor {
    let dims = [front, &[n, n]].concat();
    let allowed = |k: usize| {
        let (sheet, i, j) = (k / (n * n), k / n % n, k % n);
        j == 0 || i == j || !(sheet + i + 2 * j).is_multiple_of(3)
    };
    let bits: Vec<u8> = (0..dims.iter().product()).map(|k| u8::from(allowed(k))).collect();
    mask(&bits, &dims)
}
