//! Steps that are made of operations on whole arrays, one parameter after the other.

use super::State;
use crate::{Array, DType, Result};
use xt_kernels::ops::optimizer::{adafactor, muon, Adafactor, Muon, Second};

/// The step of a parameter, with its state.
pub(super) enum Rule {
    /// Muon, with the momentum buffer.
    Muon(Muon, Array),
    /// Adafactor, with the running average of the squared gradient.
    Adafactor(Adafactor, Second),
}

/// The update of a parameter, to be computed when it is applied.
pub(super) struct Composed {
    pub weight: Array,
    pub grad: Array,
    /// Factor by which the gradient is multiplied first.
    pub factor: f64,
    pub rule: Rule,
}

impl Composed {
    /// The new weight, and the state after step number `step`.
    pub fn compute(&self, step: u64) -> Result<(Array, State)> {
        match &self.rule {
            Rule::Muon(settings, buffer) => {
                let arrays = [&self.weight, &self.grad, buffer];
                let (weight, buffer) = muon(arrays, self.factor, settings)?;
                Ok((weight, State { step, momentum_buffer: Some(buffer), ..State::default() }))
            }
            Rule::Adafactor(settings, second) => {
                let arrays = [&self.weight, &self.grad];
                let (weight, second) = adafactor(arrays, self.factor, second, settings)?;
                Ok((weight, State { step, second: Some(Box::new(second)), ..State::default() }))
            }
        }
    }

    /// Bytes of the arrays that are there at the same time, at most, besides the new weight.
    pub fn working_bytes(&self) -> u64 {
        let (arrays, in_f32) = match self.rule {
            // the direction; or x, its product with itself, three polynomials of that, and x as the
            // operand of a product
            Rule::Muon(..) => (6, 4),
            // gradient, root, update, and two of the new weight
            Rule::Adafactor(..) => (5, 5),
        };
        // half precision is computed in f32, with copies of the operands and of the results
        let dtype = self.weight.dtype();
        let (arrays, size) = match dtype {
            DType::F16 | DType::BF16 => (arrays + in_f32, DType::F32.size_in_bytes()),
            _ => (arrays, dtype.size_in_bytes()),
        };
        (self.weight.elem_count() as u64).saturating_mul(arrays * size as u64)
    }
}
