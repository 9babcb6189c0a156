//! Gated linear unit: `y = a · act(b)`, a and b the halves of the last axis.
//!
//! Shapes: `x` is (.., 2 dim), `y` (.., dim).
//! Source: GLU Variants Improve Transformer, <https://arxiv.org/abs/2002.05202>.

use crate::activation::{self, Activation};
use crate::{Array, Result};

fn halves(x: &Array) -> Result<(Array, Array)> {
    let last = x.rank() - 1;
    let width = x.dims()[last] / 2;
    Ok((x.narrow(last, 0, width)?, x.narrow(last, width, width)?))
}

/// The unit on candle's own operations.
pub fn reference(x: &Array, kind: Activation) -> Result<Array> {
    let (a, b) = halves(x)?;
    a * activation::reference(&b, kind)?
}

/// The unit.
pub fn forward(x: &Array, kind: Activation) -> Result<Array> {
    let (a, b) = halves(x)?;
    a * activation::forward(&b, kind)?
}

/// Gradient of the input.
pub fn backward(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    let (a, b) = halves(x)?;
    let da = (grad * activation::forward(&b, kind)?)?;
    let db = activation::backward(&b, &(grad * a)?, kind)?;
    Array::cat(&[da, db], x.rank() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    #[test]
    fn equals_the_reference_and_agrees_with_differences() {
        let (x, g) = (f64s(&normal(&[2, 3, 8], 1)), f64s(&normal(&[2, 3, 4], 2)));
        for kind in [Activation::Gelu, Activation::Silu, Activation::Sigmoid, Activation::ReluSquared] {
            close(&forward(&x, kind).unwrap(), &reference(&x, kind).unwrap(), 1e-6);
            differences(&x, &g, &backward(&x, &g, kind).unwrap(), |x| forward(x, kind).unwrap());
        }
    }
}
