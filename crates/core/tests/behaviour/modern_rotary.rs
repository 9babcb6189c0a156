//! Options of rotary positions that the Python package of version 1.9.2 does not have: a self
//! attention against single steps in f64, with the angles that each option's formula gives.

use crate::common::{
    build, close, forward, forward_with, gpt, ids, layers, normal, parameter, random, tensor,
    tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::f64::consts::PI;
use std::sync::Arc;
use xt_core::Model;
use xt_kernels::ops::elementwise::affine;

const DIM: usize = 16;
const HEADS: usize = 2;
const WIDTH: usize = 8;
const N: usize = 9;

/// A vector for each position.
type Rows = Vec<Vec<f64>>;

/// How an attention rotates.
struct Turns {
    /// The angle per position of each pair.
    angles: Vec<f64>,
    /// Factor of rotated features.
    factor: f64,
    interleaved: bool,
    values: bool,
    /// The first head that rotates.
    first_head: usize,
    /// The positions; none: the places in the sequence.
    positions: Option<Vec<i64>>,
}

impl Turns {
    fn plain(angles: Vec<f64>) -> Self {
        let (interleaved, values) = (false, false);
        Self { angles, factor: 1.0, interleaved, values, first_head: 0, positions: None }
    }

    fn apply(&self, rows: &Rows, head: usize) -> Rows {
        if head < self.first_head {
            return rows.clone();
        }
        let half = self.angles.len();
        let turned = |(place, row): (usize, &Vec<f64>)| {
            let mut y = row.clone();
            let position = self.positions.as_ref().map_or(place as i64, |all| all[place]);
            for (pair, angle) in self.angles.iter().enumerate() {
                let (a, b) =
                    if self.interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + half) };
                let (sin, cos) = (position as f64 * angle).sin_cos();
                y[a] = self.factor * (row[a] * cos - row[b] * sin);
                y[b] = self.factor * (row[b] * cos + row[a] * sin);
            }
            y
        };
        rows.iter().enumerate().map(turned).collect()
    }
}

fn decoder(options: &Json) -> Arc<Model> {
    let rotary = json!({ "rotary_pos_emb": true, "custom_layers": ["a"] });
    let model = build(&layers("Decoder", with(rotary, options.clone())));
    for (seed, entry) in model.entries().iter().enumerate() {
        if !entry.name.starts_with("rotary") {
            let values = random(entry.param.leaf().shape(), seed as u64 + 5);
            entry.param.leaf().set(affine(&values, 0.5, 0.1).unwrap()).unwrap();
        }
    }
    model
}

/// `x` times the rows `from..from + width` of a weight.
fn project(model: &Model, name: &str, x: &Rows, from: usize, width: usize) -> Rows {
    let weight = parameter(model, &format!("layers.0.1.{name}.weight"));
    let of = |row: &Vec<f64>, o: usize| {
        let w = &weight[o * row.len()..(o + 1) * row.len()];
        w.iter().zip(row).map(|(w, x)| w * x).sum()
    };
    x.iter().map(|row| (from..from + width).map(|o| of(row, o)).collect()).collect()
}

/// `x` plus a causal attention to it after a LayerNorm.
fn explicit(model: &Model, x: &Rows, turns: &Turns) -> Rows {
    let (weight, bias) =
        (parameter(model, "layers.0.0.0.weight"), parameter(model, "layers.0.0.0.bias"));
    let norm = |row: &Vec<f64>| -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / DIM as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / DIM as f64;
        let by = (variance + 1e-5).sqrt();
        (0..DIM).map(|i| (row[i] - mean) / by * weight[i] + bias[i]).collect()
    };
    let normed: Rows = x.iter().map(norm).collect();
    let mut joined: Rows = vec![Vec::new(); N];
    for head in 0..HEADS {
        let part = |name| project(model, name, &normed, head * WIDTH, WIDTH);
        let (q, k) = (turns.apply(&part("to_q"), head), turns.apply(&part("to_k"), head));
        let v = if turns.values { turns.apply(&part("to_v"), head) } else { part("to_v") };
        for (i, row) in joined.iter_mut().enumerate() {
            let dot = |j: usize| q[i].iter().zip(&k[j]).map(|(a, b)| a * b).sum::<f64>();
            let exp: Vec<f64> = (0..=i).map(|j| (dot(j) / (WIDTH as f64).sqrt()).exp()).collect();
            let total: f64 = exp.iter().sum();
            let sum = |f: usize| exp.iter().zip(&v).map(|(w, v)| w / total * v[f]).sum::<f64>();
            row.extend((0..WIDTH).map(sum));
        }
    }
    let y = project(model, "to_out", &joined, 0, DIM);
    x.iter().zip(y).map(|(x, y)| x.iter().zip(y).map(|(x, y)| x + y).collect()).collect()
}

fn assert_turns(options: Json, turns: Turns) {
    let (model, x) = (decoder(&options), normal(&[1, N, DIM], 1));
    let rows: Rows = values(&x).chunks(DIM).map(<[f64]>::to_vec).collect();
    close(&values(&forward(&model, &x)), &explicit(&model, &rows, &turns).concat(), 3e-5);
}

#[test]
fn rotary_given_pos_takes_the_positions_of_the_call() {
    let places: Vec<i64> = (0..N as i64).map(|place| 3 * place + 1 + place % 2).collect();
    let (x, named) = (normal(&[1, N, DIM], 1), json!({ "pos": { "$tensor": 1 } }));
    let rows: Rows = values(&x).chunks(DIM).map(<[f64]>::to_vec).collect();
    let model = decoder(&keys_only(json!({ "rotary_given_pos": true })));
    let turns = Turns { positions: Some(places.clone()), ..Turns::plain(series(1e4, 8, 4)) };
    let want = explicit(&model, &rows, &turns).concat();
    for dims in [vec![N], vec![1, N]] {
        let pos = ids(&places, &dims);
        let got = forward_with(&model, &[x.clone(), pos], named.clone()).unwrap();
        close(&values(&tensor(got)), &want, 3e-5);
    }
    let without = decoder(&keys_only(json!({})));
    let refused = forward_with(&without, &[x, ids(&places, &[N])], named).err().unwrap();
    assert!(refused.to_string().contains("pos needs the option `rotary_given_pos`"), "{refused}");
}

/// The usual angles of this many pairs over `dim` features.
fn series(base: f64, dim: usize, pairs: usize) -> Vec<f64> {
    (0..pairs).map(|pair| 1.0 / base.powf((2 * pair) as f64 / dim as f64)).collect()
}

/// `options` of rotary positions that do not turn the values.
fn keys_only(options: Json) -> Json {
    with(json!({ "rotary_values": false }), options)
}

#[test]
fn rotary_values_and_rotary_base() {
    assert_turns(json!({}), Turns { values: true, ..Turns::plain(series(1e4, 8, 4)) });
    assert_turns(keys_only(json!({})), Turns::plain(series(1e4, 8, 4)));
    assert_turns(keys_only(json!({ "rotary_base": 30.0 })), Turns::plain(series(30.0, 8, 4)));
}

#[test]
fn rotary_partial_factor_and_rotary_interleaved() {
    let half = keys_only(json!({ "rotary_partial_factor": 0.5 }));
    assert_turns(half.clone(), Turns::plain(series(1e4, 4, 2)));
    for values in [false, true] {
        let options = with(half.clone(), json!({ "rotary_interleaved": true }));
        let turns = Turns { interleaved: true, values, ..Turns::plain(series(1e4, 4, 2)) };
        assert_turns(with(options, json!({ "rotary_values": values })), turns);
    }
}

#[test]
fn rotate_num_heads_counts_from_the_last_head() {
    let turns = Turns { first_head: 1, values: true, ..Turns::plain(series(1e4, 8, 4)) };
    assert_turns(json!({ "rotate_num_heads": 1 }), turns);
}

#[test]
fn rotary_interpolation_factor_and_rotary_base_rescale_factor() {
    let slower = series(1e4, 8, 4).iter().map(|angle| angle / 2.5).collect();
    assert_turns(keys_only(json!({ "rotary_interpolation_factor": 2.5 })), Turns::plain(slower));
    let base = 1e4 * 3f64.powf(8.0 / 6.0);
    let rescaled = keys_only(json!({ "rotary_base_rescale_factor": 3.0 }));
    assert_turns(rescaled, Turns::plain(series(base, 8, 4)));
}

#[test]
fn rotary_given_pos_goes_on_behind_memory_tokens() {
    let rotary = json!({ "rotary_pos_emb": true, "rotary_given_pos": true });
    let model = build(&gpt(rotary, json!({ "num_memory_tokens": 2 })));
    let x = tokens(1, 5, 1);
    let plain = forward(&model, &x);
    for (pos, same) in [([0, 1, 2, 3, 4], true), ([3, 0, 1, 2, 3], false)] {
        let named = json!({ "pos": { "$tensor": 1 } });
        let given = forward_with(&model, &[x.clone(), ids(&pos, &[1, 5])], named).unwrap();
        assert_eq!(values(&tensor(given)) == values(&plain), same);
    }
}

fn scaled(scaling: Json) -> Json {
    keys_only(json!({ "rotary_base": 100.0, "rotary_scaling": scaling }))
}

#[test]
fn rotary_scaling_with_rope_type_linear_and_proportional_and_factor() {
    let quarter: Vec<f64> = series(100.0, 8, 4).iter().map(|angle| angle / 4.0).collect();
    let linear = json!({ "rope_type": "linear", "factor": 4.0 });
    assert_turns(scaled(linear), Turns::plain(quarter.clone()));
    // half of the pairs, counted over the whole head, stand still
    let kept = vec![quarter[0], quarter[1], 0.0, 0.0];
    let proportional = scaled(json!({ "rope_type": "proportional", "factor": 4.0 }));
    let half = json!({ "rotary_partial_factor": 0.5 });
    assert_turns(with(proportional, half), Turns::plain(kept));
}

#[test]
fn rotary_scaling_dynamic_raises_the_base_beyond_the_length_in_training() {
    let of = |original: usize| {
        let length = json!({ "original_max_position_embeddings": original });
        scaled(with(json!({ "rope_type": "dynamic", "factor": 2.0 }), length))
    };
    assert_turns(of(N), Turns::plain(series(100.0, 8, 4)));
    let base = 100.0 * (2.0 * N as f64 / 4.0 - 1.0).powf(8.0 / 6.0);
    assert_turns(of(4), Turns::plain(series(base, 8, 4)));
}

#[test]
fn rotary_scaling_llama3_with_low_freq_factor_high_freq_factor_and_original_max_position_embeddings(
) {
    let (factor, low, high, original) = (4.0, 0.5, 2.0, 12.0);
    let angle = |f: &f64| {
        let wave = 2.0 * PI / f;
        if wave < original / high {
            *f
        } else if wave > original / low {
            f / factor
        } else {
            let smooth = (original / wave - low) / (high - low);
            (1.0 - smooth) * f / factor + smooth * f
        }
    };
    let options = json!({
        "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
        "original_max_position_embeddings": 12,
    });
    let angles: Vec<f64> = series(100.0, 8, 4).iter().map(angle).collect();
    let plain = series(100.0, 8, 4);
    assert!(angles[0] < plain[0] && angles[0] > plain[0] / 4.0 && angles[3] == plain[3] / 4.0);
    assert_turns(scaled(options), Turns::plain(angles));
}

#[test]
fn rotary_scaling_yarn_with_beta_fast_beta_slow_truncate_attention_factor_mscale_and_mscale_all_dim(
) {
    let (factor, original): (f64, f64) = (4.0, 64.0);
    let feature = |turns: f64| 8.0 * (original / (2.0 * PI * turns)).ln() / (2.0 * 100f64.ln());
    for truncate in [true, false] {
        let (mut low, mut high) = (feature(4.0), feature(1.25));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let angle = |(pair, f): (usize, &f64)| {
            let ramp = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            f / factor * ramp + f * (1.0 - ramp)
        };
        let angles = series(100.0, 8, 4).iter().enumerate().map(angle).collect();
        let options = json!({
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": 64,
            "beta_fast": 4.0, "beta_slow": 1.25, "truncate": truncate,
        });
        let usual = Turns { factor: 0.1 * factor.ln() + 1.0, ..Turns::plain(angles) };
        let given = |more: Json| scaled(with(options.clone(), more));
        let of = |factor: f64| Turns { factor, ..Turns::plain(usual.angles.clone()) };
        assert_turns(given(json!({ "attention_factor": 1.5 })), of(1.5));
        let scales = json!({ "mscale": 2.0, "mscale_all_dim": 0.5 });
        let ratio = (0.2 * factor.ln() + 1.0) / (0.05 * factor.ln() + 1.0);
        assert_turns(given(scales), of(ratio));
        assert_turns(given(json!({})), usual);
    }
}

#[test]
fn rotary_scaling_longrope_has_short_factor_and_long_factor() {
    let (short, long) = ([1.0, 1.5, 2.0, 3.0], [1.5, 2.0, 4.0, 8.0]);
    for (original, divisors) in [(N, short), (N - 1, long)] {
        let options = json!({
            "rope_type": "longrope", "factor": 4.0, "short_factor": short, "long_factor": long,
            "original_max_position_embeddings": original,
        });
        let angles = series(100.0, 8, 4).iter().zip(divisors).map(|(f, by)| f / by).collect();
        let factor = (1.0 + 4f64.ln() / (original as f64).ln()).sqrt();
        assert_turns(scaled(options), Turns { factor, ..Turns::plain(angles) });
    }
}

#[test]
fn rotary_layers_rotary_base_and_rotary_scaling_by_self_attention() {
    // one self attention at a time counts: the output projections of the others are 0
    let linear = json!({ "rope_type": "linear", "factor": 3.0 });
    let all = json!({
        "custom_layers": ["a", "a", "a"], "rotary_values": false,
        "rotary_layers": [true, false, true], "rotary_base": [100.0, 100.0, 20.0],
        "rotary_scaling": [null, null, linear],
    });
    let still = vec![0.0; 4];
    let thirds = series(20.0, 8, 4).iter().map(|angle| angle / 3.0).collect();
    for (index, angles) in [series(100.0, 8, 4), still, thirds].into_iter().enumerate() {
        let (model, x) = (decoder(&all), normal(&[1, N, DIM], 1));
        for other in (0..3).filter(|other| *other != index) {
            crate::common::fill(&model, &format!("layers.{other}.1.to_out.weight"), 0.0);
        }
        let alone = decoder(&json!({}));
        for entry in alone.entries().iter().filter(|entry| entry.name.starts_with("layers")) {
            let name = entry.name.replacen("layers.0", &format!("layers.{index}"), 1);
            let values = model.entry(&name).unwrap().param.values().unwrap();
            entry.param.leaf().set(values).unwrap();
        }
        let rows: Rows = values(&x).chunks(DIM).map(<[f64]>::to_vec).collect();
        let want = explicit(&alone, &rows, &Turns::plain(angles)).concat();
        close(&values(&forward(&model, &x)), &want, 3e-5);
    }
}

#[test]
fn rel_pos_scale_multiplies_the_biases() {
    let output = |scale: Json, bias: f64| {
        let options = with(json!({ "rel_pos_bias": true, "depth": 1 }), scale);
        let model = build(&layers("Decoder", options));
        let biases: Vec<f64> = (0..64).map(|i| bias * (i % 7) as f64).collect();
        crate::common::set(&model, "rel_pos.relative_attention_bias.weight", &biases);
        values(&forward(&model, &normal(&[1, N, DIM], 1)))
    };
    let plain = output(json!({}), 1.0);
    close(&output(json!({ "rel_pos_scale": 1.0 }), 8f64.sqrt()), &plain, 1e-5);
    assert_ne!(output(json!({ "rel_pos_scale": 1.0 }), 1.0), plain);
}

#[test]
fn given_positions_may_be_far_away() {
    let model = decoder(&keys_only(json!({ "rotary_given_pos": true })));
    let x = normal(&[1, 3, DIM], 1);
    let at = |places: &[i64]| {
        let named = json!({ "pos": { "$tensor": 1 } });
        forward_with(&model, &[x.clone(), ids(places, &[3])], named).map(tensor)
    };
    // a table of all positions before these would not fit into memory
    let far = values(&at(&[0, 1 << 40, i64::MAX]).unwrap());
    assert!(far.iter().all(|number| number.is_finite()));
    assert!(at(&[0, -1, 2]).err().unwrap().to_string().contains("negative"));
}

/// With groups of heads that share keys, whole groups are rotated, so that distances alone count.
#[test]
fn rotate_num_heads_rotates_the_keys_of_the_rotated_queries() {
    let options = |kv_heads: usize, some: usize| {
        json!({
            "rotary_pos_emb": true, "rotary_values": false, "rotary_given_pos": true, "heads": 4,
            "attn_dim_head": 8, "attn_kv_heads": kv_heads, "rotate_num_heads": some,
        })
    };
    let x = normal(&[1, 4, DIM], 1);
    for (kv_heads, some) in [(4, 1), (2, 2), (1, 4)] {
        let model = build(&layers("Decoder", options(kv_heads, some)));
        let at = |from: i64| {
            let named = json!({ "pos": { "$tensor": 1 } });
            let pos = ids(&[from, from + 1, from + 2, from + 3], &[4]);
            values(&tensor(forward_with(&model, &[x.clone(), pos], named).unwrap()))
        };
        close(&at(10), &at(0), 2e-5);
    }
    let error = Model::from_spec(&layers("Decoder", options(2, 1)), 1).err().unwrap();
    assert!(error.to_string().contains("whole groups"), "{error}");
}

#[test]
fn widths_that_do_not_fit_are_refused() {
    let refused = |options: Json, part: &str| {
        let all = with(json!({ "rotary_pos_emb": true }), options);
        let message = Model::from_spec(&layers("Decoder", all), 1).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(json!({ "rotary_partial_factor": 0.01 }), "rotary_partial_factor: must leave 2");
    refused(json!({ "attn_dim_head": 1_000_000_000_000_u64 }), "must leave 2");
    let odd = json!({ "attn_dim_head": 64, "rotary_emb_dim": 33, "attn_value_dim_head": 33 });
    refused(odd, "attn_value_dim_head");
}
