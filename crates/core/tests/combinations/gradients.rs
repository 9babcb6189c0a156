//! Gradients against central differences, in f64. Dropout stays on; the call number fixes what it
//! drops.

use crate::case::Case;
use crate::common::{array_values, values};
use crate::device::device;
use crate::inputs::Inputs;
use crate::run::{clear, forward, objective, parameters, trained};
use xt_core::{Array, DType, Leaf, Rng};

/// How many entries of a model are compared.
const ENTRIES: usize = 8;

/// Adds `by` to entry `index` of a leaf.
fn nudge(leaf: &Leaf, index: usize, by: f64) {
    let mut moved = array_values(&leaf.values().unwrap());
    moved[index] += by;
    leaf.set(Array::from_vec(moved, leaf.shape(), &device()).unwrap()).unwrap();
}

/// Whether finite differences do not apply to a parameter, as the reference scales its gradient on
/// purpose.
fn has_scaled_gradient(case: &Case, name: &str) -> bool {
    let parts =
        ["token_emb.", "pos_emb.", "embeds.", "post_emb_norm.", "to_self_cond.", "null_embed"];
    let embedding = parts.iter().any(|part| name.contains(part));
    embedding && case.option("emb_frac_gradient").is_some()
}

/// The model is in f64.
pub fn agree_with_differences(
    case: &Case,
    positional: usize,
    make: &dyn Fn(&Case, DType) -> Inputs,
) {
    let inputs = make(case, DType::F64);
    let total = || objective(&forward(case, &inputs, positional), trained(case));
    clear(case);
    let graph = total();
    if !graph.requires_grad() {
        return;
    }
    graph.backward(false, &|| false).unwrap();
    let all: Vec<_> =
        parameters(case).into_iter().filter(|e| !has_scaled_gradient(case, &e.name)).collect();
    let entries: Vec<_> =
        all.into_iter().filter(|e| e.param.leaf().grad().unwrap().is_some()).collect();
    let rng = Rng::new(7, entries.len() as u64);
    for k in 0..ENTRIES.min(2 * entries.len()) {
        let entry = &entries[rng.stream().below(entries.len() as u64, 1)[0] as usize];
        let leaf = entry.param.leaf();
        let grad = array_values(&leaf.grad().unwrap().unwrap());
        let largest =
            (0..grad.len()).fold(0, |m, i| if grad[i].abs() > grad[m].abs() { i } else { m });
        let any = rng.stream().below(grad.len() as u64, 1)[0] as usize;
        let index = if k % 2 == 0 { largest } else { any };
        // normalised embeddings are very small at first
        let spread =
            array_values(&leaf.values().unwrap()).iter().map(|v| v.abs()).fold(0.0, f64::max);
        let unit = if spread > 0.0 { spread.min(1.0) } else { 1.0 };
        let at = |by: f64| {
            nudge(leaf, index, by);
            let value = xt_core::no_grad(|| values(&total())[0]);
            nudge(leaf, index, -by);
            value
        };
        let middle = at(0.0);
        // the central difference, and the difference of the one-sided slopes
        let slopes = |step: f64| {
            let (above, below) = (at(step), at(-step));
            ((above - below) / (2.0 * step), ((above + below - 2.0 * middle) / step).abs())
        };
        let (got, (wide, wide_bend), (narrow, bend)) =
            (grad[index], slopes(1e-4 * unit), slopes(1e-5 * unit));
        let scale = 1e-6 / unit + 1e-4 * got.abs();
        let near = |want: f64| (got - want).abs() <= scale;
        // a maximum or a sparse top k has kinks: the differences of two steps, or of both sides,
        // disagree however small the step
        let kink =
            (wide - narrow).abs() > 0.1 * scale || (bend > 0.1 * scale && bend > 0.5 * wide_bend);
        assert!(
            near(wide) || near(narrow) || kink,
            "{}[{index}]: {got}, not {narrow} ({wide})",
            entry.name
        );
    }
    clear(case);
}
