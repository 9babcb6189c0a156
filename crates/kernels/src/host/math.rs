//! Elementary f32 functions without branches, so that loops over them compile to vector
//! instructions of the CPU that the calling function targets.

/// `a b + c`, fused if `FMA`.
#[inline(always)]
fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// Below this value, e^x is rounded to 0.
const LEAST: f32 = -87.33;

/// e^x as (y, n), where e^x = y · 2^n and n is an integer.
///
/// x = n ln 2 + r, |r| <= ln 2 / 2; e^r by the degree-6 minimax polynomial of the Cephes library's
/// `expf`.
#[inline(always)]
#[allow(clippy::excessive_precision)]
fn exp_parts<const FMA: bool>(x: f32) -> (f32, i32) {
    // adding 1.5 * 2^23 rounds to the nearest integer, which is then in the low bits
    const ROUND: f32 = 12_582_912.0;
    let shifted = mul_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, 2.121_944_4e-4, mul_add::<FMA>(n, -0.693_359_375, x));
    let mut p = 1.987_569_15e-4_f32;
    p = mul_add::<FMA>(p, r, 1.398_199_95e-3);
    p = mul_add::<FMA>(p, r, 8.333_451_9e-3);
    p = mul_add::<FMA>(p, r, 4.166_579_6e-2);
    p = mul_add::<FMA>(p, r, 1.666_666_55e-1);
    p = mul_add::<FMA>(p, r, 5.000_000_1e-1);
    (
        mul_add::<FMA>(p, r * r, r) + 1.0,
        (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32),
    )
}

/// `e^x` to about 1.5 units in the last place; 0 below -87.3, infinity above 88.72. 2^n is built
/// from exponent bits.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    let (e, n) = exp_parts::<FMA>(x.clamp(LEAST, 88.722_83));
    // multiply by 2^(n/2) twice: f32 cannot represent 2^128
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let y = e * power(half) * power(n - half);
    let y = if x > 88.722_83 { f32::INFINITY } else { y };
    let y = if x < LEAST { 0.0 } else { y };
    if x.is_nan() {
        x
    } else {
        y
    }
}

/// `e^x` for x <= 0, with the result of [`exp`]. It has fewer special cases and is sufficient for
/// softmax. The result for x above 0 is unspecified.
#[inline(always)]
pub fn exp_down<const FMA: bool>(x: f32) -> f32 {
    let clamped = if x < LEAST { LEAST } else { x };
    let (e, n) = exp_parts::<FMA>(clamped);
    // wrapping: for x above 0 the result is unspecified, but must not panic
    let y = e * f32::from_bits((n.wrapping_add(127) << 23) as u32);
    if x < LEAST {
        0.0
    } else {
        y
    }
}

/// The error function; the absolute error is below 3e-7.
///
/// `erf(x) = x P(x²) / Q(x²)` up to 4, where it is 1 in f32. The coefficients are a least-squares
/// fit of the largest error (2e-8 before rounding). The polynomials are summed in pairs, which
/// rounds less than Horner's rule. One division and no branch: this takes half the time of formulas
/// with an exponential.
#[inline(always)]
#[allow(clippy::excessive_precision, clippy::approx_constant, clippy::unreadable_literal)]
pub fn erf<const FMA: bool>(x: f32) -> f32 {
    const P: [f32; 6] = [
        1.1283791065216064,
        0.19357076287269592,
        0.05310524255037308,
        0.0038845031522214413,
        0.00028460161411203444,
        1.9866904494847404e-06,
    ];
    const Q: [f32; 6] = [
        1.0,
        0.5048801302909851,
        0.11536072939634323,
        0.015209522098302841,
        0.0011858728248625994,
        3.742113767657429e-05,
    ];
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let sum = |c: [f32; 6]| {
        let s2 = s * s;
        let pair = |i: usize| mul_add::<FMA>(c[i + 1], s, c[i]);
        mul_add::<FMA>(pair(4), s2 * s2, mul_add::<FMA>(pair(2), s2, pair(0)))
    };
    (sum(P) * (x / sum(Q))).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_one() {
        exp_is_close::<true>();
        exp_is_close::<false>();
    }

    fn exp_is_close<const FMA: bool>() {
        let (exp, exp_down) = (exp::<FMA>, exp_down::<FMA>);
        let mut x = -100.0_f32;
        while x < 100.0 {
            let (got, want) = (exp(x) as f64, (x as f64).exp());
            let is_close = if want < 1.2e-38 {
                got <= 1.3e-38
            } else if want > f32::MAX as f64 {
                got.is_infinite() || got > 3.3e38
            } else {
                (got - want).abs() <= 3e-7 * want
            };
            assert!(is_close, "exp({x}) = {got}, not {want}");
            x += 0.0037;
        }
        let mut x = -100.0_f32;
        while x <= 0.0 {
            assert_eq!(exp_down(x), exp(x), "{x}");
            x += 0.0037;
        }
        assert_eq!((exp_down(0.0), exp_down(f32::NEG_INFINITY)), (1.0, 0.0));
        assert!(exp_down(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn erf_is_close_to_the_exact_one() {
        erf_is_close::<true>();
        erf_is_close::<false>();
    }

    fn erf_is_close<const FMA: bool>() {
        let erf = erf::<FMA>;
        let mut x = -6.0_f32;
        while x < 6.0 {
            let (got, want) = (erf(x) as f64, libm::erf(x as f64));
            assert!((got - want).abs() < 3e-7, "erf({x}) = {got}, not {want}");
            x += 0.0011;
        }
        assert!(erf(f32::NAN).is_nan());
        assert_eq!((erf(f32::INFINITY), erf(-9.0)), (1.0, -1.0));
        assert!((erf(1e-20) / 1e-20 - std::f32::consts::FRAC_2_SQRT_PI).abs() < 1e-6);
    }
}
