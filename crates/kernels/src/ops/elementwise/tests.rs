use super::binary::{add, binary, Binary, BinaryKernel};
use super::clamp::{clamp, Clamp, ClampBackward};
use super::lerp::Lerp;
use super::unary::{unary, Affine, Unary, UnaryKernel};
use crate::kernel::run;
use crate::testing::{assert_matches_reference, device, lengths, normal, on_device, reference};
use crate::{Array, DType, Device};

#[test]
fn equals_the_reference() {
    assert_matches_reference::<BinaryKernel>(1e-6);
    assert_matches_reference::<UnaryKernel>(2e-6);
    assert_matches_reference::<Affine>(1e-6);
    assert_matches_reference::<Lerp>(1e-6);
    assert_matches_reference::<Clamp>(0.0);
    assert_matches_reference::<ClampBackward>(0.0);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (a, b) = (on_device(&normal(&[7, 500], 1)), on_device(&normal(&[7], 1)));
    assert!(binary(&a, &b, Binary::Add).is_err());
    assert!(add(&a, &a.to_dtype(DType::F64).unwrap()).is_err());
}

#[test]
fn values_are_clamped_and_nan_stays() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let of = |values: &[f64]| {
            let array = Array::from_slice(values, values.len(), &Device::Cpu).unwrap();
            on_device(&array.to_dtype(dtype).unwrap())
        };
        let got =
            clamp(&of(&[-3.0, -0.5, 0.0, 0.5, 2.0, f64::INFINITY, f64::NAN]), -0.5, 0.5).unwrap();
        let got: Vec<f64> = got.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        assert_eq!(got[..6], [-0.5, -0.5, 0.0, 0.5, 0.5, 0.5]);
        assert!(got[6].is_nan() && got.len() == 7);
    }
    assert!(clamp(&Array::new(&[1_i64], &device()).unwrap(), -1.0, 1.0).is_err());
}

const BINARY: [Binary; 6] =
    [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min];

#[test]
fn every_type_is_combined() {
    for dtype in [DType::U8, DType::U32, DType::I64, DType::F16, DType::BF16, DType::F64] {
        let of = |values: &[f32], dims: &[usize]| {
            Array::from_slice(values, dims, &device()).unwrap().to_dtype(dtype).unwrap()
        };
        let (a, b) = (of(&[6.0, 7.0, 8.0, 9.0], &[2, 2]), of(&[2.0, 3.0], &[2]));
        for op in BINARY {
            let kernel = BinaryKernel { a: a.clone(), b: b.clone(), op };
            let (got, want) = (run(&kernel).unwrap(), reference(&kernel));
            assert_eq!(got.dtype(), dtype);
            let values = |x: &Array| {
                x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
            };
            assert_eq!(values(&got), values(&want), "{op:?} of {dtype:?}");
        }
    }
}

#[test]
fn extremes_of_two_are_nan_where_one_is() {
    let bits = |x: &Array| -> Vec<u64> {
        crate::testing::values(x)
            .into_iter()
            .map(|x| if x.is_nan() { 1 } else { x.to_bits() })
            .collect()
    };
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let of = |values: Vec<f64>| {
            let count = values.len();
            Array::from_vec(values, count, &device()).unwrap().to_dtype(dtype).unwrap()
        };
        for length in lengths() {
            for at in 0..length {
                let mut values = crate::testing::values(&normal(&[length], 1));
                let other = of(crate::testing::values(&normal(&[length], 2)));
                values[at] = f64::NAN;
                let (x, one, nan) = (of(values), of(vec![0.1]), of(vec![f64::NAN]));
                for op in [Binary::Max, Binary::Min] {
                    for (a, b) in [(&x, &other), (&other, &x), (&x, &one), (&one, &x)] {
                        let got = binary(a, b, op).unwrap();
                        assert!(
                            (0..length).all(|i| (bits(&got)[i] == 1) == (i == at)),
                            "{length}, {at}"
                        );
                        let kernel = BinaryKernel { a: a.clone(), b: b.clone(), op };
                        assert_eq!(bits(&got), bits(&reference(&kernel)));
                    }
                    for (a, b) in [(&nan, &other), (&other, &nan)] {
                        assert!(bits(&binary(a, b, op).unwrap()).iter().all(|x| *x == 1));
                    }
                }
            }
        }
    }
}

#[test]
fn integers_have_absolute_values() {
    let whole = Array::new(&[-3i64, 0, 4], &device()).unwrap();
    assert_eq!(unary(&whole, Unary::Abs).unwrap().to_vec1::<i64>().unwrap(), [3, 0, 4]);
}

#[test]
fn integers_fall_back_to_the_reference_on_the_cpu() {
    unary(&Array::new(&[-3i64], &Device::Cpu).unwrap(), Unary::Abs).unwrap();
    assert!(crate::kernel::fallbacks()
        .iter()
        .any(|(of, _)| (of.kernel, of.dtype) == ("unary", "i64")));
}
