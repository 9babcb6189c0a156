//! Conversion of 8-bit floats to f32, which represents all of them exactly.

/// The five formats of PyTorch, named by the numbers of bits of exponent and mantissa. FN: finite,
/// without infinities; UZ: without negative zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 4 bits of exponent, 3 of mantissa, finite.
    E4m3Fn,
    /// 5 bits of exponent, 2 of mantissa.
    E5m2,
    /// 4 bits of exponent, 3 of mantissa, finite, without negative zero.
    E4m3Fnuz,
    /// 5 bits of exponent, 2 of mantissa, finite, without negative zero.
    E5m2Fnuz,
    /// 8 bits of exponent: a power of two, without sign.
    E8m0,
}

/// The value of each byte.
pub fn table(format: Format) -> [f32; 256] {
    let mut values = [0.0; 256];
    for (value, byte) in values.iter_mut().zip(0..=u8::MAX) {
        *value = of(format, byte);
    }
    values
}

/// The value of a byte.
fn of(format: Format, byte: u8) -> f32 {
    match (format, byte) {
        (Format::E4m3Fn, 0x7f | 0xff) | (Format::E4m3Fnuz | Format::E5m2Fnuz, 0x80) => f32::NAN,
        (Format::E8m0, 0xff) => f32::NAN,
        (Format::E5m2, 0x7c) => f32::INFINITY,
        (Format::E5m2, 0xfc) => f32::NEG_INFINITY,
        (Format::E5m2, 0x7d..=0x7f | 0xfd..=0xff) => f32::NAN,
        (Format::E4m3Fn, _) => finite(byte, 3, 7),
        (Format::E4m3Fnuz, _) => finite(byte, 3, 8),
        (Format::E5m2, _) => finite(byte, 2, 15),
        (Format::E5m2Fnuz, _) => finite(byte, 2, 16),
        (Format::E8m0, _) => power(i32::from(byte) - 127),
    }
}

/// 2^n, also if it is subnormal in f32.
fn power(n: i32) -> f32 {
    // f64 and f32 represent each of these powers exactly
    f64::from_bits(((n + 1023) as u64) << 52) as f32
}

/// The value of a byte with a sign, an exponent with this bias, and a mantissa of this many bits.
fn finite(byte: u8, mantissa: u32, bias: i32) -> f32 {
    let fraction = f32::from(byte & ((1 << mantissa) - 1));
    let exponent = i32::from((byte & 0x7f) >> mantissa);
    let size = match exponent {
        0 => fraction * power(1 - bias - mantissa as i32),
        _ => (fraction + f32::from(1u8 << mantissa)) * power(exponent - bias - mantissa as i32),
    };
    if byte & 0x80 == 0 {
        size
    } else {
        -size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_each_range_are_those_of_its_definition() {
        let largest =
            |format| table(format).into_iter().filter(|x| x.is_finite()).fold(0.0, f32::max);
        let least =
            |format| table(format).into_iter().filter(|x| *x > 0.0).fold(f32::MAX, f32::min);
        assert_eq!((largest(Format::E4m3Fn), least(Format::E4m3Fn)), (448.0, 2f32.powi(-9)));
        assert_eq!((largest(Format::E5m2), least(Format::E5m2)), (57344.0, 2f32.powi(-16)));
        assert_eq!((largest(Format::E4m3Fnuz), least(Format::E4m3Fnuz)), (240.0, 2f32.powi(-10)));
        assert_eq!((largest(Format::E5m2Fnuz), least(Format::E5m2Fnuz)), (57344.0, 2f32.powi(-17)));
        assert_eq!(
            (largest(Format::E8m0), least(Format::E8m0)),
            (2f32.powi(127), f32::from_bits(1 << 22))
        );
    }

    #[test]
    fn e5m2_is_the_upper_half_of_f16() {
        for (byte, value) in (0..=u8::MAX).zip(table(Format::E5m2)) {
            let want = half::f16::from_bits(u16::from(byte) << 8).to_f32();
            assert!(value == want || (value.is_nan() && want.is_nan()), "{byte}: {value} {want}");
        }
    }
}
