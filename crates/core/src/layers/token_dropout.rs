//! Random dropout of context positions for cross attention in training.
//!
//! Source: Perceiver AR, <https://arxiv.org/abs/2202.07765>.

use crate::{Array, Ctx, Device, Error, Result, Tensor};
use xt_autograd::ops;

/// Keeps a random share `1 - p` of the positions of the context, `(batch, n, dim)`, and of its
/// mask, bool, `(batch, n)`. Positions that the mask excludes are dropped first. Returns the
/// shortened context and mask.
///
/// # Errors
///
/// [`Error::Shape`] if the mask does not fit the context.
pub fn drop_tokens(
    context: Option<Tensor>,
    mask: Option<Tensor>,
    p: f64,
    ctx: &Ctx,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let Some(context) = context else {
        return Ok((None, mask));
    };
    let (batch, n, dim) = (context.dim(0), context.dim(1), context.dim(2));
    let real: Option<Vec<u8>> = match &mask {
        Some(mask) if mask.dims() == [batch, n] => {
            Some(mask.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
        }
        Some(mask) => {
            return Error::shape(format!(
                "context_mask has shape {:?}, context {:?}",
                mask.dims(),
                context.dims()
            ))
        }
        None => None,
    };
    let keep = (((1.0 - p) * n as f64) as usize).clamp(1.min(n), n);
    let noise = ctx.rng.stream().normal(batch * n);
    let (mut chosen, mut kept) =
        (Vec::with_capacity(batch * keep), Vec::with_capacity(batch * keep));
    for row in 0..batch {
        let is_real = |i: usize| real.as_ref().is_none_or(|m| m[row * n + i] != 0);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| {
            is_real(*b).cmp(&is_real(*a)).then(noise[row * n + b].total_cmp(&noise[row * n + a]))
        });
        // no more than this many real positions of the row stay allowed
        let most = ((0..n).filter(|i| is_real(*i)).count() as f64 * (1.0 - p)).ceil() as usize;
        for (rank, i) in order.into_iter().take(keep).enumerate() {
            chosen.push((row * n + i) as i64);
            kept.push(u8::from(is_real(i) && rank < most));
        }
    }
    let device = context.device();
    let ids =
        Tensor::constant(Array::from_vec(chosen, (batch, keep), &Device::Cpu)?.to_device(&device)?);
    let part = ops::embedding(&ops::reshape(&context, &[batch * n, dim])?, &ids)?;
    let mask = match mask {
        Some(_) => Some(Tensor::boolean(
            Array::from_vec(kept, (batch, keep), &Device::Cpu)?.to_device(&device)?,
        )),
        None => None,
    };
    Ok((Some(part), mask))
}
