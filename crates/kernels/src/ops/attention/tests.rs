use super::*;
use crate::kernel::Arrays;
use crate::ops::dropout::Dropout;
use crate::ops::softmax::{ranges, Mask};
use crate::philox::Stream;
use crate::testing::{assert_close, assert_matches_reference, normal, normal64, on_device, values};
use crate::{DType, Device};

const DROPOUT: Option<Dropout> =
    Some(Dropout { p: 0.3, stream: Stream { seed: 1, call: 2, draw: 3 } });

type Case = ([usize; 4], [usize; 2], usize, [usize; 2]);

/// Shape of the queries (batch, heads, i, d); heads of the keys and their number; features of a
/// value. The last entry is not used.
const CASES: [Case; 11] = [
    ([2, 3, 5, 4], [3, 5], 4, [1, 1]),
    ([1, 2, 70, 8], [1, 75], 3, [2, 1]),
    ([2, 2, 130, 6], [2, 130], 6, [1, 0]),
    ([1, 1, 9, 2], [1, 4], 2, [0, 0]),
    ([1, 2, 1, 4], [2, 33], 5, [0, 1]),
    // Several blocks of each size.
    ([1, 2, 50, 4], [2, 50], 4, [1, 1]),
    ([1, 1, 600, 3], [1, 603], 2, [1, 0]),
    // Several tiles of keys, for one and for several blocks of queries.
    ([1, 2, 40, 4], [1, 1100], 3, [1, 0]),
    ([1, 1, 210, 3], [1, 1030], 5, [1, 1]),
    // Groups of query heads; more queries than keys.
    ([2, 6, 21, 4], [2, 25], 3, [1, 1]),
    ([1, 4, 50, 3], [2, 30], 5, [1, 1]),
];

fn masks(batch: usize, i: usize, j: usize) -> Vec<Mask> {
    // The first row of each mask excludes all keys, the others one of three.
    let keys = |n: usize| (0..n).map(|x| u8::from(x / j > 0 && x % 3 != 1)).collect::<Vec<u8>>();
    let by_key: Vec<u8> = (0..batch * j).map(|x| u8::from(x % 4 != 0)).collect();
    let by_key = Array::from_vec(by_key, (batch, 1, 1, j), &Device::Cpu).unwrap();
    let pairs = Array::from_vec(keys(i * j), (1, 1, i, j), &Device::Cpu).unwrap();
    let position_mask = [(false, None), (true, None), (true, Some(2)), (false, Some(40))];
    let both = |allowed: Option<Array>| {
        position_mask.map(|(causal, window)| Mask {
            allowed: allowed.clone(),
            causal,
            window,
            ranges: None,
        })
    };
    let ranges = [false, true].map(|causal| {
        let ranges = Some(ranges(batch, i, j));
        Mask { causal, ranges, ..Mask::default() }
    });
    [both(None), both(Some(by_key)), both(Some(pairs))]
        .into_iter()
        .flatten()
        .chain(ranges)
        .collect()
}

/// Inputs without mask and bias, and a gradient of the output.
fn inputs((q, [kh, j], dv, _): &Case) -> (AttentionArgs, Array) {
    let [b, h, i, d] = *q;
    // Transposed views, as heads usually are.
    let transposed = |dims: [usize; 4], seed| {
        normal64(&[dims[0], dims[2], dims[1], dims[3]], seed).transpose(1, 2).unwrap()
    };
    let (q, k, v) =
        (transposed(*q, 1), transposed([b, *kh, *j, d], 2), transposed([b, *kh, *j, *dv], 3));
    (AttentionArgs { scale: 0.5, ..AttentionArgs::new(q, k, v) }, transposed([b, h, i, *dv], 4))
}

fn bias_for(of: &AttentionArgs) -> Array {
    let (_, heads, i, _) = of.q.dims4().unwrap();
    normal64(&[heads, i + of.k.dim(2).unwrap() - 1], 5)
}

/// Two sinks for each head.
fn sinks_for(of: &AttentionArgs) -> Array {
    normal64(&[of.q.dim(1).unwrap(), 2], 6)
}

/// Combinations of all shapes, masks, biases and dropout, with sinks and softcaps for some.
fn cases() -> Vec<(AttentionArgs, Array)> {
    let mut all = Vec::new();
    for case in &CASES {
        let (plain, grad) = inputs(case);
        for mask in masks(plain.q.dim(0).unwrap(), plain.q.dim(2).unwrap(), plain.k.dim(2).unwrap())
        {
            let bias = Some(bias_for(&plain));
            for (bias, dropout) in
                [(None, None), (bias.clone(), None), (bias, DROPOUT), (None, DROPOUT)]
            {
                let mask = mask.clone();
                let n = all.len();
                all.push((
                    AttentionArgs {
                        sinks: n.is_multiple_of(3).then(|| sinks_for(&plain)),
                        softcap: n.is_multiple_of(2).then_some(1.5),
                        ..AttentionArgs { mask, bias, dropout, ..plain.clone() }
                    },
                    grad.clone(),
                ));
            }
        }
    }
    all
}

/// Every fifth of the cases.
pub(super) fn forward_cases() -> Vec<Forward> {
    cases().into_iter().step_by(5).map(|(of, _)| Forward { of }).collect()
}

/// Every seventh of the cases; `prepare` computes what the forward pass saves.
pub(super) fn backward_cases() -> Vec<Backward> {
    let of =
        |(of, grad): (AttentionArgs, Array)| Backward { y: grad.clone(), of, rows: None, grad };
    cases().into_iter().step_by(7).map(of).collect()
}

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Forward>(1e-5);
    assert_matches_reference::<Backward>(1e-4);
}

#[test]
fn tiles_on_the_cpu_equal_the_reference_in_f32_and_f64() {
    for (of, grad) in cases() {
        for (dtype, tolerance) in [(DType::F32, 1.0), (DType::F64, 1e-7)] {
            let mut of = of.clone();
            of.each_mut(&mut |array| {
                if array.dtype().is_float() {
                    *array = array.to_dtype(dtype).unwrap();
                }
            });
            let grad = grad.to_dtype(dtype).unwrap();
            let (y, saved) = forward(&of).unwrap();
            assert_close(&y, &reference::forward(&of).unwrap(), 1e-5 * tolerance);
            let (got, want) =
                (backward(&of, &saved, &grad).unwrap(), reference::backward(&of, &grad).unwrap());
            for (got, want) in [(got.q, want.q), (got.k, want.k), (got.v, want.v)] {
                assert_close(&got, &want, 1e-4 * tolerance);
            }
            assert_eq!(got.bias.is_some(), of.bias.is_some());
            assert_eq!(got.sinks.is_some(), of.sinks.is_some());
            got.bias
                .iter()
                .zip(&want.bias)
                .chain(got.sinks.iter().zip(&want.sinks))
                .for_each(|(got, want)| assert_close(got, want, 1e-4 * tolerance));
        }
    }
}

#[test]
fn half_precision_on_the_cpu_rounds_the_result_alone() {
    for (dtype, rounding) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        for (mut of, grad) in cases().into_iter().step_by(11) {
            let halved = |array: &Array| array.to_dtype(dtype).unwrap();
            of.each_mut(&mut |array| {
                if array.dtype().is_float() {
                    *array = halved(array);
                }
            });
            let (y, saved) = forward(&of).unwrap();
            let of_y = backward(&of, &saved, &halved(&grad)).unwrap();
            let mut exact = of.clone();
            exact.each_mut(&mut |array| {
                if array.dtype().is_float() {
                    *array = array.to_dtype(DType::F64).unwrap();
                }
            });
            let grad = halved(&grad).to_dtype(DType::F64).unwrap();
            let want = reference::backward(&exact, &grad).unwrap();
            assert_eq!((y.dtype(), of_y.q.dtype()), (dtype, dtype));
            assert_close(&y, &reference::forward(&exact).unwrap(), rounding);
            // the rounded output is an input of the gradients
            assert_close(&of_y.q, &want.q, 8.0 * rounding);
            assert_close(&of_y.k, &want.k, 8.0 * rounding);
            assert_close(&of_y.v, &want.v, rounding);
        }
    }
}

#[test]
fn misfitting_shapes_are_errors_and_no_keys_give_zeroes() {
    let of = |dims: [[usize; 4]; 3]| {
        let [q, k, v] = dims.map(|dims| on_device(&normal(&dims, 1)));
        AttentionArgs::new(q, k, v)
    };
    assert!(forward(&of([[1, 2, 3, 4], [1, 3, 3, 4], [1, 2, 3, 4]])).is_err());
    let (y, _) = forward(&of([[1, 1, 2, 4], [1, 1, 0, 4], [1, 1, 0, 3]])).unwrap();
    assert_eq!((y.dims(), values(&y)), (&[1, 1, 2, 3][..], vec![0.0; 6]));
    let fits = of([[1, 2, 3, 4]; 3]);
    let biased = |width| {
        let bias = Some(on_device(&normal(&[2, width], 1)));
        forward(&AttentionArgs { bias, ..fits.clone() })
    };
    assert!(biased(5).is_ok() && biased(6).is_err());
}
