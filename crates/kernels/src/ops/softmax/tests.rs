use super::mask::Mask;
use super::{backward, forward, masks, Backward, Forward};
use crate::kernel::Arrays;
use crate::testing::{
    assert_matches_reference, device, f64s, gradcheck, lengths, normal, on_device, reference,
};
use crate::{Array, DType};

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Forward>(1e-6);
    assert_matches_reference::<Backward>(1e-5);
}

#[test]
fn gradient_agrees_with_differences() {
    let (x, g) = (f64s(&normal(&[2, 3, 4, 5], 1)), f64s(&normal(&[2, 3, 4, 5], 2)));
    for mask in masks() {
        let mut moved = mask.clone();
        moved.each_mut(&mut |allowed| *allowed = on_device(allowed));
        let y = forward(&on_device(&x), &moved).unwrap();
        let dx = backward(&y, &on_device(&g), &moved).unwrap();
        // always on the CPU: an emulated GPU would take long for so many passes
        gradcheck(&x, &g, &dx, |x| forward(x, &mask).unwrap());
    }
}

#[test]
fn rows_with_nan_and_rows_without_weights_are_nan() {
    let all = |x: &Array, f: fn(f64) -> bool| crate::testing::values(x).into_iter().all(f);
    let mask = Mask::default();
    let plain = |x: &Array| reference(&Forward { scores: x.clone(), mask: Mask::default() });
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for length in lengths() {
            for at in 0..length {
                let mut values = crate::testing::values(&normal(&[length], 1));
                values[at] = f64::NAN;
                let x =
                    Array::from_vec(values, length, &device()).unwrap().to_dtype(dtype).unwrap();
                assert!(all(&forward(&x, &mask).unwrap(), f64::is_nan), "{length}, {at}");
                assert!(all(&plain(&x), f64::is_nan));
            }
            let lowest =
                Array::full(f64::NEG_INFINITY, length, &device()).unwrap().to_dtype(dtype).unwrap();
            assert!(all(&forward(&lowest, &mask).unwrap(), f64::is_nan), "{length}");
            assert!(all(&plain(&lowest), f64::is_nan));
        }
        let empty = Array::zeros((2, 0), dtype, &device()).unwrap();
        assert_eq!(forward(&empty, &mask).unwrap().dims(), [2, 0]);
    }
    let x = Array::new(&[f64::NEG_INFINITY, 1.0, f64::MIN], &device()).unwrap();
    assert_eq!(forward(&x, &mask).unwrap().to_vec1::<f64>().unwrap(), [0.0, 1.0, 0.0]);
}
