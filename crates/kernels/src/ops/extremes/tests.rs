use super::{extreme, numbers, position, Extreme, Position, Reduce, SIZES};
use crate::kernel::Kernel;
use crate::testing::{assert_matches_reference, device, lengths, normal, on_device, reference};
use crate::{Array, DType};

const TYPES: [DType; 7] =
    [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64, DType::U32, DType::U8];

const BOTH: [Extreme; 2] = [Extreme::Max, Extreme::Min];

/// The bits of each value, with one pattern for all NaN, so that NaN equals itself.
fn bits(x: &Array) -> Vec<u64> {
    crate::testing::values(x)
        .into_iter()
        .map(|x| if x.is_nan() { 1 } else { x.to_bits() })
        .collect()
}

fn same(x: &Array, axes: &[usize]) {
    for kind in BOTH {
        let (got, want) = (extreme(x, axes, kind).unwrap(), plain(x, axes, kind));
        assert_eq!((got.dims(), got.dtype()), (want.dims(), x.dtype()));
        assert_eq!(bits(&got), bits(&want), "{kind:?} of {:?} over {axes:?}", x.dims());
    }
    if let [axis] = axes {
        for kind in BOTH {
            let (got, want) = (position(x, *axis, kind).unwrap(), plain_position(x, *axis, kind));
            assert_eq!((got.dims(), got.dtype()), (want.dims(), DType::I64));
            assert_eq!(bits(&got), bits(&want), "{kind:?} of {:?} over {axes:?}", x.dims());
        }
    }
}

fn plain(x: &Array, axes: &[usize], kind: Extreme) -> Array {
    reference(&Reduce { x: x.clone(), axes: axes.into(), kind })
}

fn plain_position(x: &Array, axis: usize, kind: Extreme) -> Array {
    reference(&Position { x: x.clone(), axis, kind })
}

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Reduce>(0.0);
    assert_matches_reference::<Position>(0.0);
    for dtype in TYPES {
        for (dims, axes) in SIZES {
            same(&on_device(&numbers(dims).to_dtype(dtype).unwrap()), axes);
        }
    }
}

#[test]
fn nan_goes_on_from_every_place() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for length in lengths() {
            for at in 0..length {
                let mut values = crate::testing::values(&normal(&[length], 2));
                values[at] = f64::NAN;
                let row =
                    Array::from_vec(values, length, &device()).unwrap().to_dtype(dtype).unwrap();
                let three = Array::stack(&[&row, &row, &row], 1).unwrap();
                for (x, axis) in [(&row, 0), (&three, 0), (&three.t().unwrap(), 1)] {
                    for kind in BOTH {
                        let y = extreme(x, &[axis], kind).unwrap();
                        assert!(
                            crate::testing::values(&y).iter().all(|y| y.is_nan()),
                            "{length}, {at}"
                        );
                        let indices = crate::testing::values(&position(x, axis, kind).unwrap());
                        assert!(indices.iter().all(|index| *index == at as f64), "{length}, {at}");
                    }
                    same(x, &[axis]);
                }
            }
        }
    }
}

#[test]
fn infinities_are_values_and_the_first_of_equal_ones_is_named() {
    let x = Array::new(&[f32::NEG_INFINITY; 40], &device()).unwrap();
    assert_eq!(
        extreme(&x, &[0], Extreme::Max).unwrap().to_vec1::<f32>().unwrap(),
        [f32::NEG_INFINITY]
    );
    let x = Array::new(&[1.0f32, f32::INFINITY, f32::NAN, f32::NAN], &device()).unwrap();
    assert_eq!(position(&x, 0, Extreme::Max).unwrap().to_vec1::<i64>().unwrap(), [2]);
    let x = Array::new(&[1i64, 7, 7], &device()).unwrap();
    assert_eq!(position(&x, 0, Extreme::Max).unwrap().to_vec1::<i64>().unwrap(), [1]);
}

#[test]
fn of_nothing_there_is_none() {
    let x = on_device(&normal(&[2, 0], 1));
    for kind in BOTH {
        assert!(extreme(&x, &[1], kind).is_err() && extreme(&x, &[2], kind).is_err());
        assert!(Reduce { x: x.clone(), axes: vec![1], kind }.check().is_err());
        assert!(position(&x, 1, kind).is_err());
    }
}
