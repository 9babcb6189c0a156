//! Beam search: extends the most likely open sequences of each prompt, and returns the best
//! finished ones.
//!
//! Source: Google's Neural Machine Translation System, <https://arxiv.org/abs/1609.08144>; the
//! length penalty is a plain power of the length.

use super::logits_table::LogitsTable;
use super::sampler::{no_token_left, read_logits};
use crate::{Result, Tensor};

/// The beams of all prompts. The beams of one prompt are consecutive rows.
pub struct Beams {
    prompts: Vec<PromptBeams>,
    /// Beams per prompt.
    num_beams: usize,
    /// Exponent of the length in the score.
    length_penalty: f64,
    /// Tokens that end a sequence.
    end_tokens: Vec<i64>,
    /// The greatest number of new tokens of a sequence.
    max_new_tokens: usize,
    /// The number of new tokens of the open sequences.
    length: usize,
}

/// The beams of one prompt.
struct PromptBeams {
    /// Log-probabilities of the open sequences in descending order; -inf for unused beams.
    open: Vec<f64>,
    /// New tokens and score of the finished sequences, the best first; at most one per beam.
    ended: Vec<(Vec<i64>, f64)>,
    /// Whether no open sequence can become better than the finished ones.
    done: bool,
}

/// An open sequence extended by a token.
#[derive(Clone, Copy)]
struct Candidate {
    /// Log-probability of the extended sequence.
    score: f64,
    /// Index of the open sequence among those of its prompt.
    beam: usize,
    /// The token.
    token: i64,
}

/// The next rows: row `i` is the former row `from[i]`, extended by `tokens[i]`.
pub struct NextRows {
    /// Index of the former row, for each row.
    pub from: Vec<usize>,
    /// The new token of each row.
    pub tokens: Vec<i64>,
}

impl Beams {
    /// `num_beams` beams for each of `prompts`. A sequence gets at most `max_new_tokens` new
    /// tokens; a token of `end_tokens` finishes it, and one of `in_prompt` in a prompt.
    pub fn new(
        prompts: &[&[i64]],
        num_beams: usize,
        length_penalty: f64,
        (end_tokens, in_prompt): (&[i64], &[i64]),
        max_new_tokens: usize,
    ) -> Self {
        let group = |prompt: &&[i64]| {
            // all rows of a prompt are equal at first, so only one of them is open
            let mut open = vec![f64::NEG_INFINITY; num_beams];
            open[0] = 0.0;
            // a prompt that has ended is not continued
            let done = prompt.iter().any(|token| in_prompt.contains(token));
            PromptBeams {
                open,
                ended: if done { vec![(vec![], 0.0); num_beams] } else { vec![] },
                done,
            }
        };
        let prompts = prompts.iter().map(group).collect();
        Self {
            prompts,
            num_beams,
            length_penalty,
            end_tokens: end_tokens.to_vec(),
            max_new_tokens,
            length: 0,
        }
    }

    /// Whether the search is over.
    pub fn done(&self) -> bool {
        self.length >= self.max_new_tokens || self.prompts.iter().all(|group| group.done)
    }

    /// Selects the beams to continue from `logits`, (rows, num_tokens). `filtered` tells whether
    /// the caller's filter was applied to them. `new` returns the new tokens of a row so far.
    ///
    /// # Errors
    /// The logits have the wrong shape or contain NaN, or a prompt has neither a possible next
    /// token nor a finished sequence.
    pub fn advance<'a>(
        &mut self,
        logits: &Tensor,
        filtered: bool,
        new: impl Fn(usize) -> &'a [i64],
    ) -> Result<NextRows> {
        let table = read_logits(logits, self.prompts.len() * self.num_beams, filtered, |_| false)?;
        self.length += 1;
        let (end_tokens, num_beams) = (&self.end_tokens, self.num_beams);
        let scores = Scores {
            penalty: self.length_penalty,
            length: self.length,
            max_new_tokens: self.max_new_tokens,
        };
        let mut advance = NextRows { from: vec![], tokens: vec![] };
        for (g, group) in self.prompts.iter_mut().enumerate() {
            let first = g * num_beams;
            let candidates = if group.done {
                vec![]
            } else {
                candidates(&table, first, &group.open, num_beams + end_tokens.len())
            };
            if candidates.is_empty() && !group.done && group.ended.is_empty() {
                return Err(no_token_left(first, filtered));
            }
            let mut next: Vec<Candidate> = Vec::with_capacity(num_beams);
            for (rank, candidate) in candidates.into_iter().enumerate() {
                if next.len() == num_beams {
                    break;
                }
                if !end_tokens.contains(&candidate.token) {
                    next.push(candidate);
                } else if rank < num_beams {
                    let tokens = [new(first + candidate.beam), &[candidate.token]].concat();
                    group.ended.push((tokens, scores.current(candidate.score)));
                }
            }
            // the vocabulary may be too small for so many beams: unused rows get a token, but a
            // score of -inf
            next.resize(num_beams, Candidate { score: f64::NEG_INFINITY, beam: 0, token: 0 });
            group.update(&next, num_beams, &scores);
            advance.from.extend(next.iter().map(|c| first + c.beam));
            advance.tokens.extend(next.iter().map(|c| c.token));
        }
        Ok(advance)
    }

    /// The `want` best sequences of each prompt, without the prompt; fewer if there are not so
    /// many. `new` returns the new tokens of an open row.
    pub fn best<'a>(&self, want: usize, new: impl Fn(usize) -> &'a [i64]) -> Vec<Vec<Vec<i64>>> {
        let scores = Scores {
            penalty: self.length_penalty,
            length: self.length,
            max_new_tokens: self.max_new_tokens,
        };
        let best = |(g, group): (usize, &PromptBeams)| {
            let mut all = group.ended.clone();
            if !group.done {
                let open =
                    group.open.iter().enumerate().filter(|(_, score)| **score > f64::NEG_INFINITY);
                all.extend(open.map(|(i, score)| {
                    (new(g * self.num_beams + i).to_vec(), scores.current(*score))
                }));
            }
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            all.into_iter().take(want).map(|(tokens, _)| tokens).collect()
        };
        self.prompts.iter().enumerate().map(best).collect()
    }
}

impl PromptBeams {
    /// Stores the open sequences, keeps the best finished ones, and marks the prompt as done once
    /// no open sequence can become better than the worst of these.
    fn update(&mut self, next: &[Candidate], num_beams: usize, scores: &Scores) {
        self.open = next.iter().map(|c| c.score).collect();
        self.ended.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.ended.truncate(num_beams);
        let likeliest = self.open.first().copied().unwrap_or(f64::NEG_INFINITY);
        let worst = self.ended.last().map_or(f64::NEG_INFINITY, |(_, score)| *score);
        self.done |= likeliest == f64::NEG_INFINITY
            || (self.ended.len() == num_beams && scores.best_possible(likeliest) <= worst);
    }
}

/// Computes scores, log-probability / length^penalty, and their bounds.
struct Scores {
    penalty: f64,
    length: usize,
    max_new_tokens: usize,
}

impl Scores {
    /// The score of a sequence of the current length.
    fn current(&self, log_probability: f64) -> f64 {
        log_probability / (self.length.max(1) as f64).powf(self.penalty)
    }

    /// An upper bound of the final score of an open sequence: log-probabilities can only decrease.
    fn best_possible(&self, log_probability: f64) -> f64 {
        let length = if self.penalty > 0.0 { self.max_new_tokens } else { self.length + 1 };
        log_probability / (length.max(1) as f64).powf(self.penalty)
    }
}

/// The `most` most likely extensions of each open sequence, in descending order over all of them.
/// The rows of the sequences begin at `first`.
fn candidates(table: &LogitsTable, first: usize, open: &[f64], most: usize) -> Vec<Candidate> {
    let mut all = vec![];
    let mut row = vec![];
    for (beam, score) in open.iter().enumerate().filter(|(_, score)| **score > f64::NEG_INFINITY) {
        table.copy_row(first + beam, &mut row);
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if top == f64::NEG_INFINITY {
            continue;
        }
        let log_sum = top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        let mut order: Vec<usize> = (0..row.len()).collect();
        if most < order.len() {
            order.select_nth_unstable_by(most, |a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
            order.truncate(most);
        }
        let possible = order.into_iter().filter(|i| row[*i] > f64::NEG_INFINITY);
        all.extend(possible.map(|i| Candidate {
            score: score + row[i] - log_sum,
            beam,
            token: i as i64,
        }));
    }
    all.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(a.beam.cmp(&b.beam)).then(a.token.cmp(&b.token))
    });
    all
}
