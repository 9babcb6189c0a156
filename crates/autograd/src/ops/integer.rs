//! Integers and booleans, where they need their own rules: ranges of the types, powers, exact
//! comparisons.

use super::Comparison;
use crate::error::invalid;
use crate::{Array, DType, Result, ScalarType, Tensor};
use xt_kernels::memory::alloc;

/// 2^63: the smallest f64 that is greater than every i64.
const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;

impl ScalarType {
    /// The range (least, greatest) of integers that this type represents exactly without gaps.
    pub fn integer_range(self) -> (f64, f64) {
        let most = match self {
            ScalarType::F64 => 9_007_199_254_740_992.0,
            ScalarType::F32 => 16_777_216.0,
            ScalarType::F16 => 2048.0,
            ScalarType::BF16 => 256.0,
            // the upper bound is the greatest f64 below 2^63
            ScalarType::I64 => return (-BEYOND_I64, 9_223_372_036_854_774_784.0),
            ScalarType::U8 => return (0.0, 255.0),
            ScalarType::Bool => return (0.0, 1.0),
        };
        (-most, most)
    }

    /// Returns an error if `value` is not an integer within [`ScalarType::integer_range`]; `what`
    /// names the value in the message.
    pub fn check_integer(self, value: f64, what: &str) -> Result<()> {
        let (least, most) = self.integer_range();
        if value.fract() == 0.0 && (least..=most).contains(&value) {
            return Ok(());
        }
        let (name, wider) = match self {
            ScalarType::I64 | ScalarType::F64 => (self.name(), "smaller ones"),
            ScalarType::U8 | ScalarType::Bool => (self.name(), "i64 or f32"),
            _ => (self.name(), "i64"),
        };
        invalid(format!("{what}: {value} is not one of the whole numbers of {name}, {least} to {most}: take {wider}"))
    }
}

/// `value` as a scalar tensor of the integer type of `x`.
pub(super) fn scalar(x: &Tensor, value: f64) -> Result<Tensor> {
    if value.fract() != 0.0 {
        return invalid(format!("{value} with whole numbers: cast the tensor to f32 first"));
    }
    let kind = if x.dtype() == DType::U8 { ScalarType::U8 } else { ScalarType::I64 };
    kind.check_integer(value, "a number beside a tensor of whole numbers")?;
    Ok(Tensor::constant(Array::full(value, (), &x.device())?.to_dtype(x.dtype())?))
}

/// Element-wise integer power of two arrays of the same shape; wraps on overflow.
pub(super) fn power(x: &Array, y: &Array) -> Result<Array> {
    // both operands and the result
    alloc::check(&[x.elem_count(), 3], DType::I64)?;
    let wide = |a: &Array| a.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>();
    let power = |(x, y): (i64, i64)| match u64::try_from(y) {
        Ok(y) => Ok(wrapping_power(x, y)),
        Err(_) => invalid(format!(
            "pow: {x} to the power {y} is no whole number: cast the tensor to f32 first"
        )),
    };
    let z = wide(x)?.into_iter().zip(wide(y)?).map(power).collect::<Result<Vec<i64>>>()?;
    Ok(Array::from_vec(z, x.dims(), &crate::Device::Cpu)?
        .to_device(&x.device())?
        .to_dtype(x.dtype())?)
}

/// Exponentiation by squaring; wraps on overflow.
fn wrapping_power(mut base: i64, mut exponent: u64) -> i64 {
    let mut product = 1i64;
    while exponent > 0 {
        if exponent % 2 == 1 {
            product = product.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent /= 2;
    }
    product
}

/// Compares each element with `value`, exactly: an i64 may not be representable as f64.
pub(super) fn compare(x: &Tensor, value: f64, op: Comparison) -> Result<Tensor> {
    alloc::check_on(&x.device(), x.dims(), DType::U8)?;
    let array = x.array()?;
    let limits = match array.dtype() {
        DType::U8 => (0, 255),
        _ => (i64::MIN, i64::MAX),
    };
    let bits = match with_integer(value, op, limits) {
        Known::Always(true) => Array::ones(x.dims(), DType::U8, &x.device())?,
        Known::Always(false) => Array::zeros(x.dims(), DType::U8, &x.device())?,
        Known::By(op, integer) => {
            // exact: a number that f64 represents
            let integer = Array::full(integer, (), &x.device())?.to_dtype(array.dtype())?;
            xt_kernels::ops::compare::compare(&array, &integer, op)?
        }
    };
    Ok(Tensor::boolean(bits))
}

/// A comparison of integers with a number.
#[derive(Debug, PartialEq)]
enum Known {
    /// The result, which is the same for all integers.
    Always(bool),
    /// The same comparison, with an integer.
    By(Comparison, f64),
}

/// The comparison of integers from `least` to `most` with `value`, as one of integers.
fn with_integer(value: f64, op: Comparison, (least, most): (i64, i64)) -> Known {
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    if value.is_nan() {
        return Known::Always(op == Ne);
    }
    // `BEYOND_I64` itself is not an i64, and `most` may round up to it
    if value >= BEYOND_I64 || value > most as f64 {
        return Known::Always(matches!(op, Lt | Le | Ne));
    }
    if value < least as f64 {
        return Known::Always(matches!(op, Gt | Ge | Ne));
    }
    let below = value.floor();
    if value.fract() == 0.0 {
        return Known::By(op, below);
    }
    match op {
        Eq | Ne => Known::Always(op == Ne),
        Lt | Le => Known::By(Le, below),
        Gt | Ge => Known::By(Gt, below),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the comparison of `x` with `value` holds.
    fn holds(x: i64, value: f64, op: Comparison) -> bool {
        match with_integer(value, op, (i64::MIN, i64::MAX)) {
            Known::Always(holds) => holds,
            Known::By(op, y) => {
                let y = y as i64;
                match op {
                    Comparison::Eq => x == y,
                    Comparison::Ne => x != y,
                    Comparison::Lt => x < y,
                    Comparison::Le => x <= y,
                    Comparison::Gt => x > y,
                    Comparison::Ge => x >= y,
                }
            }
        }
    }

    #[test]
    fn numbers_of_64_bits_are_compared_exactly() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let large = 1i64 << 53;
        let cases = [
            (1, 1.5, Some(Less)),
            (2, 1.5, Some(Greater)),
            (-1, -1.5, Some(Greater)),
            (-2, -1.5, Some(Less)),
            (3, 3.0, Some(Equal)),
            (large + 1, large as f64, Some(Greater)),
            (i64::MAX, 9.3e18, Some(Less)),
            (i64::MAX, i64::MAX as f64, Some(Less)),
            (i64::MIN, i64::MIN as f64, Some(Equal)),
            (i64::MIN, f64::NEG_INFINITY, Some(Greater)),
            (i64::MAX, f64::INFINITY, Some(Less)),
            (0, f64::NAN, None),
        ];
        for (x, value, order) in cases {
            let want = [
                (Comparison::Eq, order == Some(Equal)),
                (Comparison::Ne, order != Some(Equal)),
                (Comparison::Lt, order == Some(Less)),
                (Comparison::Le, matches!(order, Some(Less | Equal))),
                (Comparison::Gt, order == Some(Greater)),
                (Comparison::Ge, matches!(order, Some(Greater | Equal))),
            ];
            for (op, want) in want {
                assert_eq!(holds(x, value, op), want, "{x} {op:?} {value}");
            }
        }
    }

    #[test]
    fn numbers_that_a_type_does_not_have_are_compared_too() {
        let bytes = (0, 255);
        assert_eq!(with_integer(256.0, Comparison::Lt, bytes), Known::Always(true));
        assert_eq!(with_integer(-0.5, Comparison::Le, bytes), Known::Always(false));
        assert_eq!(with_integer(254.5, Comparison::Gt, bytes), Known::By(Comparison::Gt, 254.0));
        assert_eq!(with_integer(255.0, Comparison::Ge, bytes), Known::By(Comparison::Ge, 255.0));
    }

    #[test]
    fn powers_are_exact_and_wrap() {
        assert_eq!(
            (wrapping_power(3, 39), wrapping_power(-2, 63), wrapping_power(0, 0)),
            (4_052_555_153_018_976_267, i64::MIN, 1)
        );
        assert_eq!(wrapping_power(3, 40), 3i64.wrapping_pow(40));
    }
}
