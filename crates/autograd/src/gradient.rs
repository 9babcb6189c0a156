//! The gradient of a leaf, to which backwards add.

use crate::{Array, Result};
use xt_kernels::ops::{elementwise, in_place};

pub(crate) struct Gradient {
    array: Array,
    /// How often the array counts.
    factor: f64,
    /// Whether it was made here and nobody else was given it: then more can be added in place.
    is_own: bool,
}

impl Gradient {
    /// Of an array that others may hold too.
    pub fn of(array: Array) -> Self {
        Self { array, factor: 1.0, is_own: false }
    }

    /// The array, after the factor has become a part of it.
    pub fn whole(&mut self) -> Result<&Array> {
        if self.factor != 1.0 {
            let array = elementwise::affine(&self.array, self.factor, 0.0)?;
            *self = Self { array, factor: 1.0, is_own: true };
        }
        Ok(&self.array)
    }

    /// The array as it is now, for whoever may keep it: it does not change any more.
    pub fn given(&mut self) -> Result<Array> {
        let array = self.whole()?.clone();
        self.is_own = false;
        Ok(array)
    }

    /// The array, which may change, and how often it counts.
    pub fn parts(&self) -> (Array, f64) {
        (self.array.clone(), self.factor)
    }

    /// Multiplies; whoever reads the gradient next does the work.
    pub fn scale(&mut self, factor: f64) {
        self.factor *= factor;
    }

    pub fn add(&mut self, more: &Array) -> Result<()> {
        self.whole()?;
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
        let mut grad = Gradient::of(more.clone());
        let first = grad.given().unwrap();
        grad.add(&more).unwrap();
        let place = grad.array.clone();
        grad.add(&more).unwrap();
        assert!(grad.array.is_same(&place));
        // whoever was given a gradient keeps what it was
        let third = grad.given().unwrap();
        grad.add(&more).unwrap();
        assert!(!grad.array.is_same(&place));
        let place = grad.array.clone();
        grad.add(&more).unwrap();
        assert!(grad.array.is_same(&place));
        assert_eq!([first, third, grad.given().unwrap()].map(|a| values(&a)), [[3.0, 4.0], [9.0, 12.0], [15.0, 20.0]]);
        // and what it was made of belongs to whoever made it
        let mut grad = Gradient::of(more.clone());
        grad.add(&more).unwrap();
        assert_eq!([values(&more), values(&grad.given().unwrap())], [[3.0, 4.0], [6.0, 8.0]]);
    }

    #[test]
    fn a_factor_is_a_part_of_what_is_given_and_of_what_more_is_added_to() {
        let mut grad = Gradient::of(array([8.0, 16.0]));
        grad.scale(0.5);
        grad.scale(0.5);
        assert_eq!((values(&grad.parts().0), grad.parts().1), (vec![8.0, 16.0], 0.25));
        grad.add(&array([1.0, 1.0])).unwrap();
        grad.scale(2.0);
        assert_eq!(values(&grad.given().unwrap()), [6.0, 10.0]);
        assert_eq!(grad.parts().1, 1.0);
    }
}
