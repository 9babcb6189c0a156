//! Rows rotated so that each begins with its first real token.

use crate::generation::{
    check_columns, fill_padding, has_per_column_tensors, rotate_columns, span_columns,
};
use crate::ids::require_bool;
use crate::models::TokenTensors;
use crate::{Array, Device, Error, Result, Tensor};
use xt_autograd::ops;

/// The values of a mask over all tokens, row by row, without the `prefix` columns of prepended
/// embeddings.
pub fn token_mask(mask: &Tensor, batch: usize, prefix: usize, n: usize) -> Result<Vec<u8>> {
    let all = mask_values(mask, batch, prefix + n)?;
    Ok(all.chunks_exact(prefix + n).flat_map(|row| &row[prefix..]).copied().collect())
}

/// The values of a mask over all tokens, row by row.
///
/// # Errors
///
/// [`Error::Shape`] if the mask is not bool or not `(batch, n)`.
fn mask_values(mask: &Tensor, batch: usize, n: usize) -> Result<Vec<u8>> {
    require_bool(mask, "mask")?;
    if mask.dims() != [batch, n] {
        return Error::shape(format!(
            "mask must be bool of shape {:?}, one for each token, got {:?}",
            [batch, n],
            mask.dims()
        ));
    }
    Ok(mask.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// The number of positions by which each row is rotated to the left, so that its first real token
/// comes first. Padding then follows the tokens, where it does not affect their results.
pub fn leading_padding(real: Option<&[u8]>, batch: usize, n: usize) -> Vec<usize> {
    match real {
        None => vec![0; batch],
        Some(real) => {
            real.chunks_exact(n).map(|row| row.iter().position(|r| *r != 0).unwrap_or(0)).collect()
        }
    }
}

/// Rotates each row of `all` to the left by its entry of `leading`, or back to the right.
pub fn rotate_rows<T>(all: &mut [T], leading: &[usize], back: bool) {
    let width = all.len() / leading.len().max(1);
    for (row, by) in all.chunks_exact_mut(width.max(1)).zip(leading) {
        match back {
            true => row.rotate_right(*by),
            false => row.rotate_left(*by),
        }
    }
}

/// The tensors that accompany the tokens, with masks, positions and ids of kinds rotated like the
/// rows. Positions and ids of kinds get a column for the last token too.
///
/// # Errors
///
/// [`Error::Shape`] if a mask does not fit, or if other tensors with one column per token would
/// have to be rotated.
pub fn rotated_tensors(
    with: &TokenTensors,
    (leading, real): (&[usize], Option<&[u8]>),
    prefix: usize,
    n: usize,
) -> Result<TokenTensors> {
    let mut with = with.clone();
    let rotated = leading.iter().any(|by| *by > 0);
    if rotated && has_per_column_tensors(&with) {
        return Error::shape(
            "position embeddings, sum_embeds and attn_mask do not go with tokens that are padded on \
             the left: pad them on the right",
        );
    }
    check_columns(&with, leading.len(), &[n, n - 1])?;
    span_columns(&mut with, 0, n)?;
    if let Some(real) = real {
        let last = |row: &[u8]| row.iter().rposition(|r| *r != 0).map_or(0, |last| last + 1);
        let tokens = real.chunks_exact(n).zip(leading).map(|(row, first)| *first..last(row));
        fill_padding(&mut with, &tokens.collect::<Vec<_>>())?;
    }
    let back: Vec<usize> = leading.iter().map(|by| n - by).collect();
    if rotated {
        rotate_columns(&mut with, &back)?;
    }
    let rotate_mask = |mask: &Tensor| -> Result<Tensor> {
        let mut bits = mask_values(mask, leading.len(), prefix + n)?;
        for (row, by) in bits.chunks_exact_mut(prefix + n).zip(leading) {
            row[prefix..].rotate_left(*by);
        }
        let array = Array::from_vec(bits, (leading.len(), prefix + n), &Device::Cpu)?
            .to_device(&mask.device())?;
        Ok(Tensor::boolean(array))
    };
    let layers = &mut with.layers;
    layers.mask = layers.mask.as_ref().map(rotate_mask).transpose()?;
    layers.self_attn_context_mask =
        layers.self_attn_context_mask.as_ref().map(rotate_mask).transpose()?;
    // the mask also serves as the mask of a context of equal length; groups cut `mask`, so the
    // whole mask is kept as `context_mask`
    if let (Some(context), None, Some(mask)) = (&layers.context, &layers.context_mask, &layers.mask)
    {
        if context.rank() == 3 && context.dim(1) == prefix + n - 1 {
            layers.context_mask = Some(ops::narrow(mask, 1, 0, prefix + n - 1)?);
        }
    }
    Ok(with)
}
