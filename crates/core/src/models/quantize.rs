//! Quantization of the weights of linear layers, for inference.

use super::Model;
use crate::{Entry, Error, Format, Result};
use xt_options::{nearest, Problems};

/// The quantization format with this name.
///
/// # Errors
///
/// [`Error::Options`] if there is no such format.
pub fn parse_format(name: &str) -> Result<Format> {
    if let Some(format) = Format::ALL.into_iter().find(|format| format.name() == name) {
        return Ok(format);
    }
    let names = Format::ALL.map(Format::name);
    let mut problems = Problems::default();
    problems.add("format", format!("there is no format `{name}`"));
    if let Some(problem) = problems.0.first_mut() {
        problem.did_you_mean = nearest(name, names);
        problem.allowed = Some(names.join(", "));
    }
    Err(Error::Options { class: "quantize".into(), problems })
}

impl Model {
    /// Quantizes the weights of the linear layers whose row length `format` supports, until other
    /// weights are loaded. Models that share these weights are affected too.
    ///
    /// # Errors
    ///
    /// If the format cannot represent a weight or memory is insufficient. Formats and memory are
    /// checked before anything is quantized.
    pub fn quantize(&self, format: Format) -> Result<()> {
        let weights: Vec<_> = self.entries.iter().filter(|entry| fits(entry, format)).collect();
        for Entry { name, param, .. } in &weights {
            param
                .leaf()
                .check_quantize(format)
                .map_err(|error| Error::Shape(format!("`{name}`: {error}")))?;
        }
        let pending =
            weights.iter().map(|entry| entry.param.leaf().pending_bytes()).max().unwrap_or(0);
        let packed = weights
            .iter()
            .map(|entry| format.bytes(entry.param.leaf().shape().iter().product()) as u64);
        // pending weights take 3 times their f32 bytes: they are drawn as f64
        let needed = packed.fold(pending.saturating_mul(3), u64::saturating_add);
        xt_kernels::memory::check(&format!("this {}", self.class()), needed)?;
        weights.iter().try_for_each(|entry| Ok(entry.param.leaf().quantize(format)?))
    }

    /// The format of the quantized weights; the first one if there are several, `None` if no weight
    /// is quantized.
    pub fn quantization(&self) -> Option<Format> {
        let packed = self.entries.iter().find_map(|entry| entry.param.leaf().packed());
        packed.map(|packed| packed.format())
    }
}

/// Whether an entry is the weight of a linear layer whose row length `format` supports.
fn fits(Entry { param, .. }: &Entry, format: Format) -> bool {
    param.is_linear_weight()
        && param.leaf().shape().last().is_some_and(|width| format.supports_width(*width))
}
