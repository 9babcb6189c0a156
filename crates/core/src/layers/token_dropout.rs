//! Random dropout of context positions for cross attention in training.
//!
//! Source: Perceiver AR, <https://arxiv.org/abs/2202.07765>.

use crate::{Array, Ctx, Device, Error, Result, Tensor};
use xt_autograd::ops;

/// The context of cross attentions, as much of it as is left.
#[derive(Clone, Default)]
pub struct Context {
    /// `(batch, n, dim)`.
    pub x: Option<Tensor>,
    /// bool, `(batch, n)`: the real positions.
    pub mask: Option<Tensor>,
    /// i64 `(n)` or `(batch, n)`: its rotary positions.
    pub pos: Option<Tensor>,
}

/// Keeps a random share `1 - p` of the positions of the context. Those that the mask excludes are
/// dropped first.
///
/// # Errors
///
/// [`Error::Shape`] if the mask does not fit the context.
pub fn drop_tokens(from: Context, p: f64, ctx: &Ctx) -> Result<Context> {
    let Context { x: Some(context), mask, pos } = from else {
        return Ok(from);
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
    let pos = pos.map(|pos| -> Result<Tensor> {
        let rows = ops::reshape(&ops::broadcast_to(&pos, &[batch, n])?, &[batch * n])?;
        let flat = ids.array()?.flatten_all()?;
        let chosen = rows.array()?.index_select(&flat, 0)?.reshape((batch, keep))?;
        Ok(Tensor::constant(chosen))
    });
    Ok(Context { x: Some(part), mask, pos: pos.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn positions_stay_with_their_rows_of_the_context() {
        let (batch, n) = (2, 10);
        let numbers: Vec<f32> = (0..batch * n).map(|i| i as f32).collect();
        let x = Array::from_vec(numbers, (batch, n, 1), &Device::Cpu).unwrap();
        let pos: Vec<i64> = (0..n as i64).map(|i| 3 * i).collect();
        let pos = Array::from_vec(pos, n, &Device::Cpu).unwrap();
        let context =
            Context { x: Some(Tensor::constant(x)), mask: None, pos: Some(Tensor::constant(pos)) };
        let rng = Rng::new(1, 2);
        let ctx = Ctx::new(&rng, &|| false);
        let left = drop_tokens(context, 0.5, &ctx).unwrap();
        let x: Vec<f32> =
            left.x.unwrap().array().unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let pos = left.pos.unwrap();
        assert_eq!(pos.dims(), [2, 5]);
        let pos: Vec<i64> = pos.array().unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (x, pos) in x.iter().zip(pos) {
            assert_eq!((*x as i64 % 10) * 3, pos);
        }
    }
}
