//! Checks of token ids, masks and vectors that callers pass, with error messages that suggest a
//! fix.

use crate::{DType, Device, Error, Result, Tensor};

/// The name of the element type as it is shown to users; `?` if it has none.
pub fn dtype_name(x: &Tensor) -> &'static str {
    x.scalar_type().map_or("?", |kind| kind.name())
}

/// Returns the error for ids with a wrong element type or shape. `what` names the ids, `wanted`
/// describes the expected shape.
pub fn wrong_ids<T>(what: &str, wanted: &str, x: &Tensor) -> Result<T> {
    let remedy = match (x.dtype(), x.rank()) {
        (DType::I64, 1) => ": one row is `[ids]` of an array, `ids.reshape([1, -1])` of a tensor",
        (DType::I64, _) => "",
        _ => ": make them with `{ dtype: 'i64' }`, or convert them with `.to('i64')`",
    };
    Error::shape(format!(
        "{what} must be i64 of shape {wanted}, got {} of shape {:?}{remedy}",
        dtype_name(x),
        x.dims()
    ))
}

/// Returns an error that names the first id that is neither in the vocabulary nor equal to
/// `ignored`, or `None` if all ids are valid, or cannot be read. `ids` is i64 of any shape.
pub fn out_of_vocabulary(ids: &Tensor, num_tokens: usize, ignored: Option<i64>) -> Option<Error> {
    let (id, at) = first_outside(ids, num_tokens, ignored)?;
    Some(unknown_id(id, &at, num_tokens))
}

/// The first of the `ids`, i64 of any shape, that is neither in `0..count` nor equal to `ignored`,
/// and its index. `None` if there is none, or if they cannot be read.
pub fn first_outside(
    ids: &Tensor,
    count: usize,
    ignored: Option<i64>,
) -> Option<(i64, Vec<usize>)> {
    let array = ids.array().ok()?.to_device(&Device::Cpu).ok()?;
    let values = array.flatten_all().ok()?.to_vec1::<i64>().ok()?;
    let at = values.iter().position(|id| Some(*id) != ignored && !in_vocabulary(*id, count))?;
    Some((values[at], multi_index(at, ids.dims())))
}

/// Whether an id is in the vocabulary, that is, in `0..num_tokens`.
pub fn in_vocabulary(id: i64, num_tokens: usize) -> bool {
    usize::try_from(id).is_ok_and(|id| id < num_tokens)
}

/// The error for an id that is not in the vocabulary. `index` is its position in its tensor.
pub fn unknown_id(id: i64, index: &[usize], num_tokens: usize) -> Error {
    let hint =
        if id < 0 { ". Padding needs an id of the vocabulary too: a `mask` hides it" } else { "" };
    let last = num_tokens.saturating_sub(1);
    Error::Shape(format!(
        "token id {id} at {index:?} is not in the vocabulary: `num_tokens` is {num_tokens}, so ids go from 0 to {last}{hint}"
    ))
}

/// Converts the flat index `at` into an index per axis of a row-major tensor of shape `dims`.
fn multi_index(mut at: usize, dims: &[usize]) -> Vec<usize> {
    let mut indices: Vec<usize> = dims
        .iter()
        .rev()
        .map(|size| {
            let index = at % (*size).max(1);
            at /= (*size).max(1);
            index
        })
        .collect();
    indices.reverse();
    indices
}

/// Checks that `mask` is boolean.
///
/// # Errors
///
/// [`Error::Shape`] if it has another element type.
pub fn require_bool(mask: &Tensor, name: &str) -> Result<()> {
    if mask.is_boolean() {
        return Ok(());
    }
    Error::shape(format!(
        "{name} must be bool, got {}: compare it (`mask.ne(0)`), convert it with `.to('bool')`, or make it with \
         `tensor([[1, 1, 0]], {{ dtype: 'bool' }})`",
        dtype_name(mask)
    ))
}

/// Checks that `x` has the element type of the weights.
///
/// # Errors
///
/// [`Error::Shape`] if the types differ.
pub fn require_type(x: &Tensor, name: &str, weights: DType) -> Result<()> {
    if x.dtype() == weights {
        return Ok(());
    }
    let wanted = weights.as_str();
    Error::shape(format!(
        "{name} is {}, the weights are {wanted}: convert it with `.to('{wanted}')`",
        dtype_name(x)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;

    #[test]
    fn the_first_id_outside_is_named_with_its_place() {
        let ids = Tensor::constant(
            Array::from_vec(vec![1i64, 2, 3, -100, 11, 0], (2, 3), &Device::Cpu).unwrap(),
        );
        let message = |ignored| out_of_vocabulary(&ids, 11, ignored).map(|error| error.to_string());
        assert!(message(None)
            .unwrap()
            .starts_with("token id -100 at [1, 0] is not in the vocabulary"));
        assert!(message(Some(-100))
            .unwrap()
            .starts_with("token id 11 at [1, 1] is not in the vocabulary"));
        assert!(out_of_vocabulary(&ids, 12, Some(-100)).is_none());
    }
}
