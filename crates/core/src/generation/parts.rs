//! Splits the rows of a generation into batches of prompts of equal length, for models whose
//! results depend on padding in front of the prompt.

use super::prompts::{has_columns, with_rows, without_columns};
use super::steps::{Caching, Steps};
use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, Device, Result, Tensor};
use std::sync::Arc;
use xt_autograd::no_grad;

/// All rows of a generation: one batch, or one per prompt length.
pub struct Parts(Vec<Part>);

/// One batch of rows.
struct Part {
    /// The indices of the rows.
    rows: Vec<usize>,
    /// Columns of padding that are cut off, so that the model does not see them.
    cut: usize,
    /// The model calls of this batch.
    steps: Steps,
}

impl Parts {
    /// Prompts of `prompt` columns, which grow to `columns` columns, with `padding` columns in
    /// front of each, and `times` rows per prompt.
    pub fn new(
        model: Arc<AutoregressiveWrapper>,
        with: TokenTensors,
        (prompt, columns): (usize, usize),
        padding: &[usize],
        times: usize,
        device: &Device,
        caching: &Caching,
    ) -> Result<Self> {
        let mut cuts = vec![0];
        if model.net().padding_shows(&with) && !has_columns(&with) {
            cuts = padding.to_vec();
            cuts.sort_unstable();
            cuts.dedup();
        }
        let apart = cuts != [0];
        let part = |cut: usize| {
            let prompts: Vec<usize> =
                (0..padding.len()).filter(|i| !apart || padding[*i] == cut).collect();
            let own = prompts.iter().map(|i| padding[*i] - cut).collect();
            let with = match apart {
                true => {
                    no_grad(|| without_columns(&with_rows(&with, padding.len(), &prompts)?, cut))?
                }
                false => with.clone(),
            };
            let rows = prompts.iter().flat_map(|i| i * times..(i + 1) * times).collect();
            let sizes = (prompt - cut, columns - cut);
            let steps =
                Steps::new(model.clone(), with, sizes, own, times, device.clone(), caching.clone());
            Ok(Part { rows, cut, steps })
        };
        Ok(Self(cuts.into_iter().map(part).collect::<Result<_>>()?))
    }

    /// Sets the source of an encoder-decoder `model`: its encoder reads `tokens` at the first step.
    /// Such prompts have no mask, and so one part.
    pub fn read_source(
        &mut self,
        model: &Arc<XTransformer>,
        tokens: &Tensor,
        with: &SourceTensors,
    ) {
        for part in &mut self.0 {
            part.steps.read_source(model.clone(), tokens.clone(), with.clone());
        }
    }

    /// Logits of the next token of each row, (rows, num_tokens). `rows` contain the prompt and the
    /// tokens so far.
    pub fn logits(&mut self, rows: &[Vec<i64>], ctx: &Ctx) -> Result<Tensor> {
        if let [part] = self.0.as_mut_slice() {
            if part.cut == 0 {
                return part.steps.logits(rows, ctx);
            }
        }
        let mut all = vec![];
        // the index of each row in the concatenated logits
        let mut places = vec![0; rows.len()];
        let mut place = 0;
        for part in &mut self.0 {
            let own: Vec<Vec<i64>> =
                part.rows.iter().map(|row| rows[*row][part.cut..].to_vec()).collect();
            all.push(part.steps.logits(&own, ctx)?.array()?);
            for row in &part.rows {
                places[*row] = place;
                place += 1;
            }
        }
        let all = Array::cat(&all, 0)?;
        let places: Vec<i64> = places.into_iter().map(|place| place as i64).collect();
        let places = Array::from_vec(places, rows.len(), &all.device())?;
        Ok(Tensor::constant(all.index_select(&places, 0)?))
    }

    /// Whether all parts cache keys and values.
    pub fn keep(&self) -> bool {
        self.0.iter().all(|part| part.steps.keeps())
    }

    /// Row `i` now continues the former row `from[i]`, which belongs to the same prompt.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        for part in &mut self.0 {
            let place = |row: usize| part.rows.iter().position(|own| *own == row).unwrap_or(0);
            let own: Vec<usize> = part.rows.iter().map(|row| place(from[*row])).collect();
            part.steps.reorder(&own)?;
        }
        Ok(())
    }
}
