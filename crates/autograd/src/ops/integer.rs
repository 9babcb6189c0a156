//! Integers and booleans, where they need their own rules: ranges of the types, powers, exact
//! comparisons.

use super::Comparison;
use crate::error::invalid;
use crate::{Array, DType, Result, ScalarType, Tensor};
use std::cmp::Ordering;
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

/// Compares each element with `value`.
pub(super) fn compare(x: &Tensor, value: f64, op: Comparison) -> Result<Tensor> {
    alloc::check(x.dims(), x.dtype())?;
    let holds = |order: Option<Ordering>| match op {
        Comparison::Eq => order == Some(Ordering::Equal),
        Comparison::Ne => order != Some(Ordering::Equal),
        Comparison::Lt => order == Some(Ordering::Less),
        Comparison::Le => order.is_some_and(Ordering::is_le),
        Comparison::Gt => order == Some(Ordering::Greater),
        Comparison::Ge => order.is_some_and(Ordering::is_ge),
    };
    let array = x.array()?.to_device(&crate::Device::Cpu)?.flatten_all()?;
    let bits: Vec<u8> = match array.dtype() {
        DType::U8 => array
            .to_vec1::<u8>()?
            .into_iter()
            .map(|x| holds(f64::from(x).partial_cmp(&value)).into())
            .collect(),
        _ => array.to_vec1::<i64>()?.into_iter().map(|x| holds(order(x, value)).into()).collect(),
    };
    Ok(Tensor::boolean(
        Array::from_vec(bits, x.dims(), &crate::Device::Cpu)?.to_device(&x.device())?,
    ))
}

/// Compares exactly: an i64 may not be representable as f64.
fn order(x: i64, value: f64) -> Option<Ordering> {
    if value.is_nan() {
        return None;
    }
    if value >= BEYOND_I64 {
        return Some(Ordering::Less);
    }
    if value < -BEYOND_I64 {
        return Some(Ordering::Greater);
    }
    let below = value.floor();
    let fraction = if value > below { Ordering::Less } else { Ordering::Equal };
    Some(x.cmp(&(below as i64)).then(fraction))
}

#[cfg(test)]
mod tests {
    use super::{order, wrapping_power};
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn numbers_of_64_bits_are_compared_exactly() {
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
        for (x, value, want) in cases {
            assert_eq!(order(x, value), want, "{x} and {value}");
        }
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
