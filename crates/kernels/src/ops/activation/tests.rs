//! Tests of the activations.

use super::*;
use crate::testing::{
    assert_matches_reference, device, f64s, gradcheck, lengths, normal, on_device, reference,
};

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Forward>(1e-6);
    assert_matches_reference::<Backward>(1e-6);
}

#[test]
fn gradient_agrees_with_differences() {
    let [x, g] = [1, 2].map(|seed| on_device(&f64s(&normal(&[2, 9], seed))));
    for kind in ALL {
        let dx = backward(&x, &g, kind).unwrap();
        gradcheck(&x, &g, &dx, |x| forward(&on_device(x), kind).unwrap());
    }
}

#[test]
fn nan_goes_on_and_infinities_have_their_limits() {
    let number = |x: &Array, at: usize| crate::testing::values(x)[at];
    for kind in ALL {
        for length in lengths() {
            for at in 0..length {
                let mut values = crate::testing::values(&normal(&[length], 1));
                values[at] = f64::NAN;
                let x = Array::from_vec(values, length, &device()).unwrap();
                for x in [x.clone(), x.to_dtype(crate::DType::F32).unwrap()] {
                    let y = forward(&x, kind).unwrap();
                    assert!(
                        number(&y, at).is_nan()
                            && number(&reference(&Forward { x: x.clone(), kind }), at).is_nan()
                    );
                    assert_eq!(crate::testing::values(&y).iter().filter(|y| y.is_nan()).count(), 1);
                    let g =
                        Array::full(2.0, length, &x.device()).unwrap().to_dtype(x.dtype()).unwrap();
                    let d = number(&backward(&x, &g, kind).unwrap(), at);
                    // As in PyTorch, the derivative of ReLU at NaN is 1.
                    assert!(if kind == Activation::Relu { d == 2.0 } else { d.is_nan() });
                    let want = reference(&Backward { x: x.clone(), grad: g.clone(), kind });
                    assert!(number(&want, at) == d || d.is_nan());
                }
            }
        }
    }
    for dtype in [crate::DType::F32, crate::DType::F64, crate::DType::F16, crate::DType::BF16] {
        let x = Array::new(&[f64::NEG_INFINITY, f64::NAN, f64::INFINITY, -0.0], &device()).unwrap();
        let x = x.to_dtype(dtype).unwrap();
        let y = crate::testing::values(&forward(&x, Activation::Relu).unwrap());
        assert!(
            y[0] == 0.0 && y[1].is_nan() && y[2] == f64::INFINITY && y[3] == 0.0,
            "{dtype:?}: {y:?}"
        );
        let y = crate::testing::values(&forward(&x, Activation::Sigmoid).unwrap());
        assert!(y[0] == 0.0 && y[1].is_nan() && y[2] == 1.0, "{dtype:?}: {y:?}");
    }
}

#[test]
fn approximations_of_gelu_follow_their_formulas() {
    let tanh = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        0.5 * x * (1.0 + inner.tanh())
    };
    let quick = |x: f64| x / (1.0 + (-1.702 * x).exp());
    for (kind, of) in
        [(Activation::GeluTanh, &tanh as &dyn Fn(f64) -> f64), (Activation::QuickGelu, &quick)]
    {
        for x in [-9.0, -3.0, -0.5, 0.0, 0.7, 2.5, 8.0, 40.0] {
            let input = on_device(&Array::new(&[x], &device()).unwrap());
            let got = crate::testing::values(&forward(&input, kind).unwrap())[0];
            assert!((got - of(x)).abs() < 1e-12, "{kind:?} of {x}: {got}, not {}", of(x));
        }
    }
}

/// Their squares are infinite in f32 and in half precision.
#[test]
fn large_numbers_have_the_slopes_of_the_limits() {
    for dtype in [crate::DType::F32, crate::DType::F64, crate::DType::F16, crate::DType::BF16] {
        let large = if dtype == crate::DType::F16 { 3e4 } else { 1e30 };
        let x = Array::new(&[-large, -1000.0, 1000.0, large], &device()).unwrap();
        let x = x.to_dtype(dtype).unwrap();
        let g = Array::full(2.0, 4, &device()).unwrap().to_dtype(dtype).unwrap();
        for kind in
            [Activation::Gelu, Activation::Silu, Activation::GeluTanh, Activation::QuickGelu]
        {
            let slopes = crate::testing::values(&backward(&x, &g, kind).unwrap());
            assert_eq!(slopes, [0.0, 0.0, 2.0, 2.0], "{kind:?} {dtype:?}");
            let values = crate::testing::values(&forward(&x, kind).unwrap());
            assert_eq!(values[..2], [0.0, 0.0], "{kind:?} {dtype:?}");
        }
    }
}
