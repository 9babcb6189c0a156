//! The rotary positions of a stack, whose self attentions may have different ones.

use super::{Rotary, Rotation};
use crate::needs::{Needs, Variant};
use crate::{DType, Error, Params, Result, Tensor};
use std::sync::Arc;
use xt_options::layers::StackOptions;
use xt_options::rotary_scaling::RotaryAngles;

/// The rotary positions of a stack: those of each self attention, or, where there is none, of each
/// cross attention.
#[derive(Default)]
pub struct RotaryLayers {
    /// The different kinds.
    kinds: Vec<Rotary>,
    /// The kind of each of these attentions; absent: no rotary positions.
    of_attention: Vec<Option<usize>>,
}

/// The tables of one call, one for each kind of [`RotaryLayers`].
#[derive(Default)]
pub struct Rotations<'a> {
    all: Vec<Arc<Rotation>>,
    of_attention: &'a [Option<usize>],
}

impl Rotations<'_> {
    /// The tables of the self attention number `index`; none if it has no rotary positions.
    pub fn of(&self, index: usize) -> Option<&Arc<Rotation>> {
        self.all.get((*self.of_attention.get(index)?)?)
    }

    /// The tables of the cross attention number `index`, whose angles are those of the self
    /// attention in the same block; none if it has no rotary positions.
    pub fn of_cross(&self, index: usize) -> Option<&Arc<Rotation>> {
        let own = self.of_attention.get(index).or(self.of_attention.last())?;
        self.all.get((*own)?)
    }
}

impl RotaryLayers {
    /// Registers the frequencies for this number of attentions: those of the first kind as
    /// `rotary_pos_emb`, those of others with a number behind.
    pub fn new(options: &StackOptions, attentions: usize, p: &mut Params) -> Self {
        let mut known: Vec<RotaryAngles> = Vec::new();
        let mut all = Self::default();
        for index in 0..attentions {
            let kind = options.rotary_angles(index).map(|angles| {
                known.iter().position(|other| *other == angles).unwrap_or_else(|| {
                    let place = known.len();
                    let more = if place == 0 { String::new() } else { format!("_{place}") };
                    let mut p = p.submodule(format!("rotary_pos_emb{more}"));
                    all.kinds.push(Rotary::new(options, &angles, &mut p));
                    known.push(angles);
                    place
                })
            });
            all.of_attention.push(kind);
        }
        all
    }

    /// Whether the angles of sequences of both lengths are the same.
    pub fn same_angles(&self, a: usize, b: usize) -> bool {
        self.kinds.iter().all(|kind| kind.same_angles(a, b))
    }

    /// Whether they decay over the distance.
    pub fn decays(&self) -> bool {
        self.kinds.iter().any(Rotary::decays)
    }

    /// The tables of `make` for all kinds.
    pub fn each(&self, make: impl Fn(&Rotary) -> Result<Rotation>) -> Result<Rotations<'_>> {
        let all = self.kinds.iter().map(|kind| Ok(make(kind)?.into()));
        let all = all.collect::<Result<_>>()?;
        Ok(Rotations { all, of_attention: &self.of_attention })
    }

    /// Whether no attention has rotary positions.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Checks that a context can have positions of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there are no rotary positions, or their angles depend on the length of
    /// the sequence, which the context does not share.
    pub fn check_context(&self) -> Result<()> {
        if self.kinds.is_empty() {
            return Error::shape(
                "context_pos needs the option `rotary_pos_emb` of the layers, in one of them at \
                 least (`rotary_layers`)",
            );
        }
        if self.kinds.iter().any(Rotary::depends_on_length) {
            return Error::shape(
                "context_pos does not go with `rotary_xpos` and scalings that depend on the length \
                 of the sequence",
            );
        }
        Ok(())
    }

    /// The tables for cross attention: queries at the positions of `own`, keys at `pos`, i64 `(j)`
    /// or `(batch, j)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a position is negative.
    pub fn beside<'a>(
        &self,
        own: &Rotations<'a>,
        pos: &Tensor,
        dtype: DType,
    ) -> Result<Rotations<'a>> {
        let both = self.kinds.iter().zip(&own.all);
        let all = both.map(|(kind, own)| Ok(own.beside(kind.of_positions(pos, dtype)?).into()));
        Ok(Rotations { all: all.collect::<Result<_>>()?, ..*own })
    }
}

impl Variant for RotaryLayers {
    fn needs(&self) -> Needs {
        self.kinds.iter().map(Variant::needs).fold(Needs::NONE, Needs::and)
    }
}
