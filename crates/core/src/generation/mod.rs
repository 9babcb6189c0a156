//! Generation of sequences, token by token.

mod batches;
mod beams;
mod columns;
mod filters;
mod gumbel;
mod logits_table;
mod penalties;
mod prompts;
mod sampler;
mod step_runner;

pub use columns::{check_columns, fill_padding, rotate_columns, span_columns};
pub use filters::{top_a, top_k, top_p};
pub use gumbel::{gumbel_argmax, gumbel_noise, likelihood};
pub use prompts::{has_per_column_tensors, select_rows};
pub use step_runner::Caching;

use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, DType, Device, Error, Result, Rng, Tensor};
use batches::Batches;
use beams::Beams;
use penalties::Repetition;
use prompts::Prompts;
use std::sync::Arc;
use step_runner::Columns;
use xt_options::generation::{BeamOptions, SamplingOptions};

/// Call number of the random stream of a generation with its own seed; counted calls never reach
/// it.
const SEEDED_CALL: u64 = u64::MAX;

/// A generation in progress.
pub struct Generation {
    batches: Batches,
    /// How tokens are drawn and when a row ends.
    sampling: SamplingOptions,
    /// Beam search, instead of sampling.
    beams: Option<Beams>,
    /// The repetition penalty, if any.
    repetition: Option<Repetition>,
    /// The random numbers of a generation with its own seed.
    rng: Option<Rng>,
    /// The input of the model: for each row, padding, prompt and the tokens chosen so far.
    rows: Vec<Vec<i64>>,
    /// Tokens that end a row.
    end_tokens: Vec<i64>,
    /// For each row, the column of its first end token.
    ended: Vec<Option<usize>>,
    /// Columns of the prompts, including padding.
    prompt: usize,
    /// How many more tokens to generate.
    remaining: usize,
    /// Whether the result has no batch axis.
    unbatched: bool,
    /// Fills the result after the end of a row.
    pad_value: i64,
    /// The device of the tokens.
    device: Device,
}

/// Returns an error if memory does not suffice for all tokens of a generation without end tokens,
/// which always runs to its full length.
pub fn check_length(start: &Tensor, seq_len: usize, sampling: &SamplingOptions) -> Result<()> {
    let rows = start.elem_count().max(1) / start.dims().last().copied().unwrap_or(1).max(1);
    if sampling.ends().is_empty() {
        xt_kernels::memory::alloc::check_wide(&[rows as u64, seq_len as u64], DType::I64)?;
    }
    Ok(())
}

/// How long a generation becomes, and how much of it the model sees.
#[derive(Clone, Copy)]
pub struct Extent {
    /// The number of tokens to generate.
    pub seq_len: usize,
    /// Whether the model sees the last tokens alone that its window holds.
    pub restricted: bool,
}

impl Generation {
    /// Starts a generation of `extent.seq_len` tokens after `start`, i64, (n) or (batch, n). A mask
    /// in `with` tells which tokens of `start` are real; each row continues after its last real
    /// token.
    ///
    /// # Errors
    /// `start`, or a tensor in `with`, does not fit the model, or memory does not suffice.
    pub fn new(
        model: Arc<AutoregressiveWrapper>,
        start: &Tensor,
        extent: Extent,
        sampling: SamplingOptions,
        beams: &BeamOptions,
        mut with: TokenTensors,
        caching: Caching,
    ) -> Result<Self> {
        let (seq_len, net) = (extent.seq_len, model.net());
        if let Some(count) = net.end_of_positions().filter(|_| !extent.restricted) {
            return Error::shape(format!(
                "restrict_to_max_seq_len: false does not go with learned absolute positions, of \
                 which there are {count}: build the model with positions of its layers, and \
                 `use_abs_pos_emb: false`"
            ));
        }
        let window = if extent.restricted { net.window() } else { usize::MAX };
        let prompts = Prompts::read(start, model.net().num_tokens(), &mut with)?;
        let (end_tokens, in_prompt) = (sampling.ends(), sampling.ends_of_prompts());
        let wanted = sampling.num_return_sequences.get();
        let unbatched = prompts.unbatched && wanted == 1;
        let rows_per_prompt = if beams.are_on() { beams.num_beams.get() } else { wanted };
        check_memory(&prompts, rows_per_prompt, model.net().outputs(), &with)?;
        let beams = beams.are_on().then(|| {
            let ends = (&end_tokens[..], &in_prompt[..]);
            Beams::new(&prompts.real(), rows_per_prompt, beams.length_penalty, ends, seq_len)
        });
        let (prompt, pad_value, device) =
            (start.dim(start.rank() - 1), model.pad_value(), start.device());
        let columns = Columns { prompt, total: prompt.saturating_add(seq_len), window };
        let batches = Batches::new(
            model,
            with,
            columns,
            &prompts.padding,
            rows_per_prompt,
            &device,
            &caching,
        )?;
        let (rows, padding) = prompts.repeated(rows_per_prompt);
        let end = |(row, from): (&Vec<i64>, &usize)| {
            row[*from..].iter().position(|t| in_prompt.contains(t)).map(|i| from + i)
        };
        let ended = rows.iter().zip(&padding).map(end).collect();
        Ok(Self {
            batches,
            beams,
            repetition: Repetition::new(&rows, &padding, sampling.repetition_penalty),
            rng: sampling.seed.map(|seed| Rng::new(seed.0, SEEDED_CALL)),
            sampling,
            rows,
            end_tokens,
            ended,
            prompt,
            remaining: seq_len,
            unbatched,
            pad_value,
            device,
        })
    }

    /// Sets the source of an encoder-decoder `model`: its encoder reads `tokens` at the first step.
    pub fn with_source(
        mut self,
        model: Arc<XTransformer>,
        tokens: Tensor,
        with: SourceTensors,
    ) -> Self {
        self.batches.read_source(&model, &tokens, &with);
        self
    }

    /// Whether keys and values of the columns so far are cached for the next step.
    pub fn is_cached(&self) -> bool {
        self.batches.has_cache()
    }

    /// Whether all tokens have been generated.
    pub fn done(&self) -> bool {
        self.remaining == 0
    }

    /// Logits of the next token, (rows, num_tokens), after the repetition penalty. Each prompt has
    /// one row per beam, or per sequence to return.
    pub fn logits(&mut self, ctx: &Ctx) -> Result<Tensor> {
        let logits = self.batches.logits(&self.rows, ctx)?;
        self.repetition.as_ref().map_or(Ok(logits.clone()), |repetition| repetition.apply(&logits))
    }

    /// Chooses the next token of every row from `logits`, (rows, num_tokens). `filtered` tells
    /// whether the caller's filter was applied to them.
    ///
    /// Returns the tokens, with `pad_value` for rows that had ended before; with beams, those of
    /// the open sequences. `None` if the generation is over.
    pub fn accept(
        &mut self,
        logits: &Tensor,
        filtered: bool,
        rng: &Rng,
    ) -> Result<Option<Vec<i64>>> {
        if self.done() {
            return Ok(None);
        }
        if self.beams.is_some() {
            self.advance(logits, filtered)?;
        } else {
            let rng = self.rng.as_ref().unwrap_or(rng);
            let drawn = sampler::draw(logits, &self.ended, filtered, &self.sampling, rng)?;
            self.push(&drawn);
        }
        let column = self.rows.first().map_or(0, Vec::len) - 1;
        Ok(Some((0..self.rows.len()).map(|row| self.token(row, column)).collect()))
    }

    /// Appends a token to each row. The generation is over when all rows have ended.
    fn push(&mut self, drawn: &[i64]) {
        for (i, ((row, token), ended)) in
            self.rows.iter_mut().zip(drawn).zip(&mut self.ended).enumerate()
        {
            match *ended {
                // repeats the end token: the model may not know the padding value
                Some(end) => row.push(row[end]),
                None => {
                    *ended = self.end_tokens.contains(token).then_some(row.len());
                    row.push(*token);
                    self.repetition.iter_mut().for_each(|repetition| repetition.add(i, *token));
                }
            }
        }
        self.remaining =
            if self.ended.iter().all(Option::is_some) { 0 } else { self.remaining - 1 };
    }

    /// One step of beam search.
    fn advance(&mut self, logits: &Tensor, filtered: bool) -> Result<()> {
        let Some(beams) = &mut self.beams else { return Ok(()) };
        let (rows, prompt) = (&self.rows, self.prompt);
        let next = beams.advance(logits, filtered, |row| &rows[row][prompt..])?;
        let longer = |(from, token): (&usize, &i64)| [rows[*from].as_slice(), &[*token]].concat();
        let rows = next.from.iter().zip(&next.tokens).map(longer).collect();
        let done = beams.done();
        self.batches.reorder(&next.from)?;
        if let Some(repetition) = &mut self.repetition {
            repetition.reorder(&next.from);
            next.tokens.iter().enumerate().for_each(|(row, token)| repetition.add(row, *token));
        }
        self.rows = rows;
        self.remaining = if done { 0 } else { self.remaining - 1 };
        Ok(())
    }

    /// The token of a row in a column; `pad_value` after the end of the row.
    fn token(&self, row: usize, column: usize) -> i64 {
        match self.ended[row] {
            Some(end) if self.beams.is_none() && column > end => self.pad_value,
            _ => self.rows[row][column],
        }
    }

    /// The new tokens, i64: (count), or (rows, count) if the prompt has a batch axis or several
    /// sequences are to be returned.
    pub fn tokens(&self) -> Result<Tensor> {
        let made = self.rows.first().map_or(0, Vec::len) - self.prompt;
        let rows: Vec<Vec<i64>> = match &self.beams {
            None => {
                let columns = self.prompt..self.prompt + made;
                (0..self.rows.len())
                    .map(|row| columns.clone().map(|c| self.token(row, c)).collect())
                    .collect()
            }
            Some(beams) => self.best(beams, made)?,
        };
        let count = rows.first().map_or(0, Vec::len);
        let dims = if self.unbatched { vec![count] } else { vec![rows.len(), count] };
        Ok(Tensor::constant(Array::from_vec(rows.concat(), dims, &self.device)?))
    }

    /// The best sequences of a beam search after `made` steps, padded to the length of the longest
    /// one.
    fn best(&self, beams: &Beams, made: usize) -> Result<Vec<Vec<i64>>> {
        let wanted = self.sampling.num_return_sequences.get();
        let found = beams.best(wanted, |row| &self.rows[row][self.prompt..]);
        let count = found.iter().flatten().map(Vec::len).max().unwrap_or(0).max(made.min(1));
        let padded = |mut tokens: Vec<i64>| {
            tokens.resize(count, self.pad_value);
            tokens
        };
        // a prompt that is not continued returns copies of the empty sequence
        let too_few =
            |group: &Vec<Vec<i64>>| group.len() < wanted && !group.iter().all(Vec::is_empty);
        if let Some((prompt, group)) = found.iter().enumerate().find(|(_, group)| too_few(group)) {
            return Error::shape(format!(
                "num_return_sequences is {wanted}, and there are only {} different sequences for prompt {prompt}: ask \
                 for fewer, or for more tokens",
                group.len()
            ));
        }
        let several = |mut group: Vec<Vec<i64>>| {
            group.resize(wanted, vec![]);
            group.into_iter().map(padded)
        };
        Ok(found.into_iter().flat_map(several).collect())
    }
}

/// Returns an error if memory does not suffice for `rows_per_prompt` rows per prompt with `outputs`
/// logits each.
fn check_memory(
    prompts: &Prompts,
    rows_per_prompt: usize,
    outputs: usize,
    with: &TokenTensors,
) -> Result<()> {
    let layers = &with.layers;
    let tensors = [
        &with.pos,
        &with.prepend_embeds,
        &with.sum_embeds,
        &layers.context,
        &layers.context_pos,
        &layers.mask,
        &layers.context_mask,
        &layers.self_attn_context_mask,
    ];
    let lists = layers.mems.iter().chain(&layers.mem_masks);
    let lists = lists.chain(with.embed_ids.iter().map(|(_, ids)| ids));
    let beside: usize = tensors.into_iter().flatten().chain(lists).map(Tensor::elem_count).sum();
    let (batch, columns) = (prompts.rows.len(), prompts.rows.first().map_or(0, Vec::len));
    // ids, two copies of the logits, the tensors of `with`, and some bytes for the row itself
    let each = columns + 2 * outputs + beside / batch.max(1) + 16;
    Ok(xt_kernels::memory::alloc::check_wide(
        &[batch as u64, rows_per_prompt as u64, each as u64],
        DType::F64,
    )?)
}
