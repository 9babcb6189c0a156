//! Beam search: of each prompt the likeliest open sequences go on, and the likeliest ended ones are the result.
//!
//! Source: Google's Neural Machine Translation System, <https://arxiv.org/abs/1609.08144>, with the plain power of the
//! length as its penalty.

use super::sampler::{nothing_left, numbers};
use super::table::Table;
use crate::{Result, Tensor};

/// The beams of all prompts; those of one prompt are rows that stand together.
pub struct Beams {
    groups: Vec<Group>,
    /// Beams of each prompt.
    count: usize,
    length_penalty: f64,
    ends: Vec<i64>,
    /// New tokens that a sequence may have, and those that open ones have.
    longest: usize,
    length: usize,
}

/// The beams of one prompt.
struct Group {
    /// Log-probabilities of the open sequences, the likeliest first; -inf where there is none.
    open: Vec<f64>,
    /// New tokens and score of the sequences that have ended, the best first, as many as there are beams.
    ended: Vec<(Vec<i64>, f64)>,
    /// No open one can become better than those that have ended.
    done: bool,
}

/// An open sequence and a token behind it.
#[derive(Clone, Copy)]
struct Candidate {
    score: f64,
    beam: usize,
    token: i64,
}

/// What becomes of the rows: row i is row `from[i]` with `tokens[i]` behind it.
pub struct Advance {
    pub from: Vec<usize>,
    pub tokens: Vec<i64>,
}

impl Beams {
    /// `count` beams for each of `prompts` that get at most `longest` tokens, one of `ends` being the last.
    pub fn new(prompts: &[&[i64]], count: usize, length_penalty: f64, ends: &[i64], longest: usize) -> Self {
        let group = |prompt: &&[i64]| {
            // the rows of one prompt are alike at first: one of them is open
            let mut open = vec![f64::NEG_INFINITY; count];
            open[0] = 0.0;
            // a prompt that has ended gets nothing more
            let done = prompt.iter().any(|token| ends.contains(token));
            Group { open, ended: if done { vec![(vec![], 0.0); count] } else { vec![] }, done }
        };
        let groups = prompts.iter().map(group).collect();
        Self { groups, count, length_penalty, ends: ends.to_vec(), longest, length: 0 }
    }

    /// Whether nothing can change any more.
    pub fn done(&self) -> bool {
        self.length >= self.longest || self.groups.iter().all(|group| group.done)
    }

    /// Chooses the beams that go on, given the logits of `rows`, (rows, num_tokens), at which a filter of the caller's has been where they
    /// are `filtered`; `new` gives the new tokens of a row.
    pub fn advance<'a>(
        &mut self,
        logits: &Tensor,
        filtered: bool,
        new: impl Fn(usize) -> &'a [i64],
    ) -> Result<Advance> {
        let table = numbers(logits, self.groups.len() * self.count, filtered, |_| false)?;
        self.length += 1;
        let (ends, count) = (&self.ends, self.count);
        let bound = Bound { penalty: self.length_penalty, length: self.length, longest: self.longest };
        let mut advance = Advance { from: vec![], tokens: vec![] };
        for (g, group) in self.groups.iter_mut().enumerate() {
            let first = g * count;
            let candidates =
                if group.done { vec![] } else { candidates(&table, first, &group.open, count + ends.len()) };
            if candidates.is_empty() && !group.done && group.ended.is_empty() {
                return Err(nothing_left(first, filtered));
            }
            let mut next: Vec<Candidate> = Vec::with_capacity(count);
            for (rank, candidate) in candidates.into_iter().enumerate() {
                if next.len() == count {
                    break;
                }
                if !ends.contains(&candidate.token) {
                    next.push(candidate);
                } else if rank < count {
                    let tokens = [new(first + candidate.beam), &[candidate.token]].concat();
                    group.ended.push((tokens, bound.now(candidate.score)));
                }
            }
            // a vocabulary may be too small for so many beams; a token that is never an answer keeps the rows alike
            next.resize(count, Candidate { score: f64::NEG_INFINITY, beam: 0, token: 0 });
            group.settle(&next, count, &bound);
            advance.from.extend(next.iter().map(|c| first + c.beam));
            advance.tokens.extend(next.iter().map(|c| c.token));
        }
        Ok(advance)
    }

    /// The `want` best sequences of each prompt, its new tokens; fewer than that where there are none. `new` gives the new
    /// tokens of an open row.
    pub fn best<'a>(&self, want: usize, new: impl Fn(usize) -> &'a [i64]) -> Vec<Vec<Vec<i64>>> {
        let bound = Bound { penalty: self.length_penalty, length: self.length, longest: self.longest };
        let best = |(g, group): (usize, &Group)| {
            let mut all = group.ended.clone();
            if !group.done {
                let open = group.open.iter().enumerate().filter(|(_, score)| **score > f64::NEG_INFINITY);
                all.extend(open.map(|(i, score)| (new(g * self.count + i).to_vec(), bound.now(*score))));
            }
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            all.into_iter().take(want).map(|(tokens, _)| tokens).collect()
        };
        self.groups.iter().enumerate().map(best).collect()
    }
}

impl Group {
    /// Takes over the open sequences, and ends once none of them can become better than the ended ones.
    fn settle(&mut self, next: &[Candidate], count: usize, bound: &Bound) {
        self.open = next.iter().map(|c| c.score).collect();
        self.ended.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.ended.truncate(count);
        let likeliest = self.open.first().copied().unwrap_or(f64::NEG_INFINITY);
        let worst = self.ended.last().map_or(f64::NEG_INFINITY, |(_, score)| *score);
        self.done |=
            likeliest == f64::NEG_INFINITY || (self.ended.len() == count && bound.reachable(likeliest) <= worst);
    }
}

/// From log-probabilities to scores: the length counts.
struct Bound {
    penalty: f64,
    length: usize,
    longest: usize,
}

impl Bound {
    /// The score of a sequence of the present length.
    fn now(&self, log_probability: f64) -> f64 {
        log_probability / (self.length.max(1) as f64).powf(self.penalty)
    }

    /// The best score that an open sequence may end with: log-probabilities only fall.
    fn reachable(&self, log_probability: f64) -> f64 {
        let length = if self.penalty > 0.0 { self.longest } else { self.length + 1 };
        log_probability / (length.max(1) as f64).powf(self.penalty)
    }
}

/// The `most` likeliest continuations of each open sequence whose rows begin at `first`, the likeliest of all first.
fn candidates(table: &Table, first: usize, open: &[f64], most: usize) -> Vec<Candidate> {
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
        all.extend(possible.map(|i| Candidate { score: score + row[i] - log_sum, beam, token: i as i64 }));
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.beam.cmp(&b.beam)).then(a.token.cmp(&b.token)));
    all
}
