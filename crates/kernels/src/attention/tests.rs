use super::*;
use crate::testing::{close, normal};
use crate::{DType, Device};

type Case = ([usize; 4], [usize; 2], usize, [usize; 2]);

/// Queries (b, h, i, d), heads of keys and their length, width of values.
const CASES: [Case; 7] = [
    ([2, 3, 5, 4], [3, 5], 4, [1, 1]),
    ([1, 2, 70, 8], [1, 75], 3, [2, 1]),
    ([2, 2, 130, 6], [2, 130], 6, [1, 0]),
    ([1, 1, 9, 2], [1, 4], 2, [0, 0]),
    ([1, 2, 1, 4], [2, 33], 5, [0, 1]),
    // several blocks of each size
    ([1, 2, 50, 4], [2, 50], 4, [1, 1]),
    ([1, 1, 600, 3], [1, 603], 2, [1, 0]),
];

fn masks(batch: usize, i: usize, j: usize) -> Vec<Mask> {
    // the first row of each mask sees nothing, the rest two of three keys
    let keys = |n: usize| (0..n).map(|x| u8::from(x / j > 0 && x % 3 != 1)).collect::<Vec<u8>>();
    let by_key: Vec<u8> = (0..batch * j).map(|x| u8::from(x % 4 != 0)).collect();
    let by_key = Array::from_vec(by_key, (batch, 1, 1, j), &Device::Cpu).unwrap();
    let pairs = Array::from_vec(keys(i * j), (1, 1, i, j), &Device::Cpu).unwrap();
    let both = |allowed: Option<Array>| [false, true].map(|causal| Mask { allowed: allowed.clone(), causal });
    [both(None), both(Some(by_key)), both(Some(pairs))].concat()
}

fn inputs((q, [kh, j], dv, _): &Case) -> [Array; 4] {
    let [b, h, i, d] = *q;
    // views, as heads are
    let turned = |dims: [usize; 4], seed| normal(&[dims[0], dims[2], dims[1], dims[3]], seed).transpose(1, 2).unwrap();
    [turned(*q, 1), turned([b, *kh, *j, d], 2), turned([b, *kh, *j, *dv], 3), turned([b, h, i, *dv], 4)]
}

#[test]
fn equals_the_reference_under_every_mask() {
    for case in &CASES {
        let [q, k, v, grad] = inputs(case);
        let (b, _, i, _) = q.dims4().unwrap();
        for mask in masks(b, i, k.dim(2).unwrap()) {
            let want = reference(&q, &k, &v, 0.5, &mask).unwrap();
            close(&forward(&q, &k, &v, 0.5, &mask).unwrap(), &want, 1e-5);
            let got = backward(&q, &k, &v, &grad, 0.5, &mask).unwrap();
            let want = backward_reference(&q, &k, &v, &grad, 0.5, &mask).unwrap();
            for (got, want) in [(got.q, want.q), (got.k, want.k), (got.v, want.v)] {
                close(&got, &want, 1e-4);
            }
        }
    }
}

#[test]
fn f64_equals_the_reference_closely() {
    let [q, k, v, grad] = inputs(&CASES[2]).map(|x| x.to_dtype(DType::F64).unwrap());
    let mask = Mask { allowed: None, causal: true };
    close(&forward(&q, &k, &v, 0.3, &mask).unwrap(), &reference(&q, &k, &v, 0.3, &mask).unwrap(), 1e-12);
    let got = backward(&q, &k, &v, &grad, 0.3, &mask).unwrap();
    let want = backward_reference(&q, &k, &v, &grad, 0.3, &mask).unwrap();
    close(&got.k, &want.k, 1e-12);
}

#[test]
fn misfitting_shapes_are_errors_and_no_keys_give_zeroes() {
    let x = |dims: &[usize]| normal(dims, 1);
    assert!(forward(&x(&[1, 2, 3, 4]), &x(&[1, 3, 3, 4]), &x(&[1, 2, 3, 4]), 1.0, &Mask::default()).is_err());
    let y = forward(&x(&[1, 1, 2, 4]), &x(&[1, 1, 0, 4]), &x(&[1, 1, 0, 3]), 1.0, &Mask::default()).unwrap();
    assert_eq!(y.dims(), [1, 1, 2, 3]);
}
