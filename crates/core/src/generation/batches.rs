//! Splits the rows of a generation into batches of prompts of equal length, for models whose
//! results depend on padding in front of the prompt.

use super::prompts::{drop_columns, select_rows};
use super::step_runner::{Caching, Columns, StepRunner};
use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, Device, Result, Tensor};
use std::sync::Arc;
use xt_autograd::no_grad;

/// All rows of a generation: one batch, or one per prompt length.
pub struct Batches(Vec<Batch>);

/// One batch of rows.
struct Batch {
    /// The indices of the rows.
    rows: Vec<usize>,
    /// Columns of padding that are cut off, so that the model does not see them.
    cut: usize,
    /// The model calls of this batch.
    runner: StepRunner,
}

impl Batches {
    /// Prompts that grow as `columns` says, with `padding` columns in front of each, and
    /// `rows_per_prompt` rows per prompt.
    pub fn new(
        model: Arc<AutoregressiveWrapper>,
        with: TokenTensors,
        columns: Columns,
        padding: &[usize],
        rows_per_prompt: usize,
        device: &Device,
        caching: &Caching,
    ) -> Result<Self> {
        let mut cuts = vec![0];
        if model.net().affected_by_padding(&with) {
            cuts = padding.to_vec();
            cuts.sort_unstable();
            cuts.dedup();
        }
        let grouped = cuts != [0];
        let batch = |cut: usize| {
            let prompts: Vec<usize> =
                (0..padding.len()).filter(|i| !grouped || padding[*i] == cut).collect();
            let own = prompts.iter().map(|i| padding[*i] - cut).collect();
            let with = match grouped {
                true => no_grad(|| {
                    let own = select_rows(&with, padding.len(), &prompts)?;
                    drop_columns(&own, cut, columns.prompt)
                })?,
                false => with.clone(),
            };
            let rows = prompts
                .iter()
                .flat_map(|i| i * rows_per_prompt..(i + 1) * rows_per_prompt)
                .collect();
            let Columns { prompt, total, window } = columns;
            let columns = Columns { prompt: prompt - cut, total: total - cut, window };
            let runner = StepRunner::new(
                model.clone(),
                with,
                columns,
                own,
                rows_per_prompt,
                device.clone(),
                caching.clone(),
            );
            Ok(Batch { rows, cut, runner })
        };
        Ok(Self(cuts.into_iter().map(batch).collect::<Result<_>>()?))
    }

    /// Sets the source of an encoder-decoder `model`: its encoder reads `tokens` at the first step.
    /// Such prompts have no mask, and so one batch.
    pub fn read_source(
        &mut self,
        model: &Arc<XTransformer>,
        tokens: &Tensor,
        with: &SourceTensors,
    ) {
        for batch in &mut self.0 {
            batch.runner.read_source(model.clone(), tokens.clone(), with.clone());
        }
    }

    /// Logits of the next token of each row, (rows, num_tokens). `rows` contain the prompt and the
    /// tokens so far.
    pub fn logits(&mut self, rows: &[Vec<i64>], ctx: &Ctx) -> Result<Tensor> {
        if let [batch] = self.0.as_mut_slice() {
            if batch.cut == 0 {
                return batch.runner.logits(rows, ctx);
            }
        }
        let mut all = vec![];
        // the index of each row in the concatenated logits
        let mut order = vec![0; rows.len()];
        let mut place = 0;
        for batch in &mut self.0 {
            let own: Vec<Vec<i64>> =
                batch.rows.iter().map(|row| rows[*row][batch.cut..].to_vec()).collect();
            all.push(batch.runner.logits(&own, ctx)?.array()?);
            for row in &batch.rows {
                order[*row] = place;
                place += 1;
            }
        }
        let all = Array::cat(&all, 0)?;
        let order: Vec<i64> = order.into_iter().map(|place| place as i64).collect();
        let order = Array::from_vec(order, rows.len(), &all.device())?;
        Ok(Tensor::constant(all.index_select(&order, 0)?))
    }

    /// Whether all batches cache keys and values.
    pub fn has_cache(&self) -> bool {
        self.0.iter().all(|batch| batch.runner.has_cache())
    }

    /// Row `i` now continues the former row `from[i]`, which belongs to the same prompt.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        for batch in &mut self.0 {
            let place = |row: usize| batch.rows.iter().position(|own| *own == row).unwrap_or(0);
            let own: Vec<usize> = batch.rows.iter().map(|row| place(from[*row])).collect();
            batch.runner.reorder(&own)?;
        }
        Ok(())
    }
}
