//! Embeddings of kinds of tokens, which are added to those of the tokens.
//!
//! Source: the segments of BERT, <https://arxiv.org/abs/1810.04805>.

use crate::ids::{first_outside, wrong_ids};
use crate::layers::Embedding;
use crate::{DType, Error, Init, Params, Result, Tensor};
use std::num::NonZeroUsize;
use xt_autograd::ops;

/// A table of embeddings by name.
pub struct KindEmbeddings(Vec<Kind>);

struct Kind {
    name: String,
    count: usize,
    table: Embedding,
}

impl Kind {
    /// The error that names the first id without an embedding; none if all have one.
    fn out_of_range(&self, ids: &Tensor) -> Option<Error> {
        let (id, at) = first_outside(ids, self.count, None)?;
        let (name, count, last) = (&self.name, self.count, self.count - 1);
        Some(Error::Shape(format!(
            "embed_ids.{name} has the id {id} at {at:?}, but `embed_num_tokens.{name}` is {count}: \
             ids go from 0 to {last}"
        )))
    }
}

impl KindEmbeddings {
    /// Registers a table `(count, dim)` for each name.
    pub fn new(counts: &[(String, NonZeroUsize)], dim: usize, p: &Params) -> Self {
        let kind = |(name, count): &(String, NonZeroUsize)| {
            let mut place = p.submodule(format!("embeds.{name}_embed"));
            let table = Embedding::new(count.get(), dim, Init::Normal { std: 1.0 }, &mut place);
            Kind { name: name.clone(), count: count.get(), table }
        };
        Self(counts.iter().map(kind).collect())
    }

    /// `x`, `(batch, n, dim)`, and the vectors of `ids`, i64 `(n)` or `(batch, n)` by name.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a name or its ids are missing, unknown, or do not fit.
    pub fn add(&self, x: Tensor, ids: &[(String, Tensor)]) -> Result<Tensor> {
        self.check_names(ids)?;
        let [batch, n] = [x.dim(0), x.dim(1)];
        let mut x = x;
        // in the order of the option, whatever that of the call: sums depend on it
        for kind in &self.0 {
            let Some((name, ids)) = ids.iter().find(|(name, _)| *name == kind.name) else {
                continue;
            };
            let fits = ids.dims() == [n] || ids.dims() == [1, n] || ids.dims() == [batch, n];
            if !fits || ids.dtype() != DType::I64 {
                let what = format!("embed_ids.{name}");
                return wrong_ids(&what, &format!("({n}) or ({batch}, {n})"), ids);
            }
            let found = kind.table.forward(ids);
            let found = found.map_err(|error| kind.out_of_range(ids).unwrap_or(error))?;
            x = ops::add(&x, &found)?;
        }
        Ok(x)
    }

    fn check_names(&self, ids: &[(String, Tensor)]) -> Result<()> {
        let known = |name: &str| self.0.iter().any(|kind| kind.name == name);
        if let Some((name, _)) = ids.iter().find(|(name, _)| !known(name)) {
            return Error::shape(format!(
                "embed_ids has '{name}', which is not in the option `embed_num_tokens`"
            ));
        }
        let given = |kind: &Kind| ids.iter().any(|(name, _)| *name == kind.name);
        match self.0.iter().find(|kind| !given(kind)) {
            Some(kind) => Error::shape(format!(
                "embed_ids must have '{}', as the option `embed_num_tokens`",
                kind.name
            )),
            None => Ok(()),
        }
    }
}
