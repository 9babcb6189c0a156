//! The gradient of a leaf, into which backward passes accumulate.

use crate::{Array, Result};
use xt_kernels::ops::{elementwise, in_place};

/// A gradient: `factor · array`. The multiplication is deferred until the gradient is read.
pub(crate) struct Gradient {
    array: Array,
    /// Deferred factor of `array`.
    factor: f64,
    /// Whether no one else can see `array`: it was allocated by this type and has not been handed
    /// out, so that further gradients can be added in place.
    is_own: bool,
}

impl Gradient {
    /// A gradient of which the array may be shared with others.
    pub fn new(array: Array) -> Self {
        Self { array, factor: 1.0, is_own: false }
    }

    /// Applies the deferred factor and returns the array.
    pub fn materialize(&mut self) -> Result<&Array> {
        if self.factor != 1.0 {
            let array = elementwise::affine(&self.array, self.factor, 0.0)?;
            *self = Self { array, factor: 1.0, is_own: true };
        }
        Ok(&self.array)
    }

    /// The gradient as an array that the caller may keep: later additions do not change it.
    pub fn share(&mut self) -> Result<Array> {
        let array = self.materialize()?.clone();
        self.is_own = false;
        Ok(array)
    }

    /// The array and its deferred factor. Later additions may change the array in place.
    pub fn array_and_factor(&self) -> (Array, f64) {
        (self.array.clone(), self.factor)
    }

    /// Multiplies the gradient by `factor`; the multiplication is deferred until the next read.
    pub fn scale(&mut self, factor: f64) {
        self.factor *= factor;
    }

    /// Limits each element to `-limit` to `limit`.
    pub fn clamp(&mut self, limit: f64) -> Result<()> {
        let array = elementwise::clamp(self.materialize()?, -limit, limit)?;
        *self = Self { array, factor: 1.0, is_own: true };
        Ok(())
    }

    /// Adds `more`: in place if the array is not shared, else into a new array.
    pub fn add(&mut self, more: &Array) -> Result<()> {
        self.materialize()?;
        if self.is_own && in_place::is_possible(&[&self.array, more]) {
            return Ok(in_place::add(&self.array, more)?);
        }
        *self = Self { array: elementwise::add(&self.array, more)?, factor: 1.0, is_own: true };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn array(values: [f64; 2]) -> Array {
        Array::new(&values, &Device::Cpu).unwrap()
    }

    fn values(array: &Array) -> Vec<f64> {
        array.to_vec1().unwrap()
    }

    #[test]
    fn adds_in_place_but_for_what_others_hold() {
        let more = array([3.0, 4.0]);
        let mut grad = Gradient::new(more.clone());
        let first = grad.share().unwrap();
        grad.add(&more).unwrap();
        let place = grad.array.clone();
        grad.add(&more).unwrap();
        assert!(grad.array.is_same(&place));
        // an array that was handed out does not change
        let third = grad.share().unwrap();
        grad.add(&more).unwrap();
        assert!(!grad.array.is_same(&place));
        let place = grad.array.clone();
        grad.add(&more).unwrap();
        assert!(grad.array.is_same(&place));
        assert_eq!(
            [first, third, grad.share().unwrap()].map(|a| values(&a)),
            [[3.0, 4.0], [9.0, 12.0], [15.0, 20.0]]
        );
        // and the array that the gradient was made from does not change
        let mut grad = Gradient::new(more.clone());
        grad.add(&more).unwrap();
        assert_eq!([values(&more), values(&grad.share().unwrap())], [[3.0, 4.0], [6.0, 8.0]]);
    }

    #[test]
    fn a_factor_is_a_part_of_what_is_given_and_of_what_more_is_added_to() {
        let mut grad = Gradient::new(array([8.0, 16.0]));
        grad.scale(0.5);
        grad.scale(0.5);
        assert_eq!(
            (values(&grad.array_and_factor().0), grad.array_and_factor().1),
            (vec![8.0, 16.0], 0.25)
        );
        grad.add(&array([1.0, 1.0])).unwrap();
        grad.scale(2.0);
        assert_eq!(values(&grad.share().unwrap()), [6.0, 10.0]);
        assert_eq!(grad.array_and_factor().1, 1.0);
    }
}
