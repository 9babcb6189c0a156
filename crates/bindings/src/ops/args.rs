//! The arguments of operations.

use crate::{Error, Result};
use serde::Deserialize;

/// The union of the arguments of all operations; each operation reads its own.
#[derive(Deserialize)]
pub(super) struct OpArgs {
    pub(super) shape: Option<Vec<u64>>,
    pub(super) dtype: Option<String>,
    pub(super) device: Option<String>,
    pub(super) dim: Option<usize>,
    pub(super) dims: Option<Vec<usize>>,
    pub(super) keepdim: Option<bool>,
    pub(super) scalar: Option<Scalar>,
    pub(super) value: Option<Scalar>,
    pub(super) start: Option<f64>,
    pub(super) end: Option<f64>,
    pub(super) step: Option<f64>,
    pub(super) low: Option<i64>,
    pub(super) high: Option<i64>,
    pub(super) ignore_index: Option<i64>,
    pub(super) label_smoothing: Option<f64>,
    pub(super) min: Option<Scalar>,
    pub(super) max: Option<Scalar>,
    pub(super) p: Option<Scalar>,
    pub(super) correction: Option<f64>,
    pub(super) diagonal: Option<i64>,
    pub(super) k: Option<usize>,
    pub(super) descending: Option<bool>,
    pub(super) thres: Option<f64>,
    pub(super) min_p_pow: Option<f64>,
    pub(super) min_p_ratio: Option<f64>,
}

/// A number. JSON has no NaN and infinities, so these are strings.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Number(f64),
    Named(String),
}

impl Scalar {
    /// The number.
    pub(super) fn value(&self) -> Result<f64> {
        match self {
            Self::Number(value) => Ok(*value),
            Self::Named(name) => {
                name.parse().map_err(|_| Error::Internal(format!("`{name}` is no number")))
            }
        }
    }
}

/// The argument `value`, or an error that `name` is missing.
pub(super) fn need<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| Error::Internal(format!("{name} is missing")))
}

/// Converts lengths of axes to `usize`; an error if one does not fit.
pub(super) fn sizes(wide: &[u64]) -> Result<Vec<usize>> {
    let too_long =
        |d: &u64| Error::Shape(format!("an axis of {d} is longer than what can be addressed here"));
    wide.iter().map(|d| usize::try_from(*d).map_err(|_| too_long(d))).collect()
}
