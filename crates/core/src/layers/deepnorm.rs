//! DeepNorm: initialisation and residual constants for very deep models.
//!
//! Source: DeepNet: Scaling Transformers to 1,000 Layers, <https://arxiv.org/abs/2203.00555>.

use crate::{Entry, Init};

/// The factor of the residual stream for a single stack of `depth` blocks: (2 depth)^(1/4).
pub fn alpha(depth: usize) -> f64 {
    (2.0 * depth as f64).powf(0.25)
}

/// The gain of the initialisation for a single stack of `depth` blocks: (8 depth)^(-1/4).
pub fn beta(depth: usize) -> f64 {
    (8.0 * depth as f64).powf(-0.25)
}

/// Sets the initialisation of the linear layers among `entries`: Xavier normal for weights, with
/// gain `beta` for the projections to values and outputs and for feed-forwards, and with gain 1
/// otherwise; 0 for biases.
pub fn initialise(entries: &[Entry], beta: f64) {
    for entry in entries.iter().filter(|e| is_linear(&e.name)) {
        let init = match entry.param.leaf().shape() {
            [outputs, inputs] => {
                let gain = if scaled(&entry.name) { beta } else { 1.0 };
                Init::Normal { std: gain * (2.0 / (inputs + outputs) as f64).sqrt() }
            }
            _ => Init::Constant(0.0),
        };
        entry.param.set_init(init);
    }
}

/// Whether the gain `beta` applies. Names are matched as in the Python package; `.to_v` also
/// matches `to_v_gate`.
fn scaled(name: &str) -> bool {
    [".ff.", ".to_v", ".to_out"].iter().any(|part| name.contains(part))
}

/// Whether an entry belongs to a linear layer, as opposed to norms, embeddings, recurrent units and
/// bare parameters.
fn is_linear(name: &str) -> bool {
    let Some((module, leaf)) = name.rsplit_once('.') else {
        return false;
    };
    let last = |count: usize| module.rsplit('.').take(count).collect::<Vec<_>>();
    let named = |names: &[&str]| last(1).first().is_some_and(|m| names.contains(m));
    let projection =
        named(&["to_q", "to_k", "to_v", "to_r", "to_out", "to_v_gate", "proj", "to_logits"])
            || named(&["project_emb", "project_in", "project_out"])
            || module.ends_with("to_out.0");
    let feedforward = module.ends_with("ff.0.0") || module.ends_with("ff.3");
    // `mlp.N.0` and the last layer, `mlp.N`, are linear; `mlp.N.1` is a norm
    let place = module.split_once("rel_pos.mlp.").map(|(_, place)| place);
    let mlp = place.is_some_and(|place| !place.contains('.') || place.ends_with(".0"));
    matches!(leaf, "weight" | "bias") && (projection || feedforward || mlp)
}
