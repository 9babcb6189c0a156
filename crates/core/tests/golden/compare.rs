//! The tolerance of the fixtures: `max|got - want| <= tol · max(max|want|, floor)`.

use xt_core::{Array, DType};

pub fn values(array: &Array) -> Vec<f64> {
    array.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// What is wrong with `got`, if anything.
pub fn difference(name: &str, got: &Array, want: &Array, tol: f64, floor: f64) -> Option<String> {
    if got.dims() != want.dims() {
        return Some(format!("{name}: shape {:?}, expected {:?}", got.dims(), want.dims()));
    }
    let exact = !want.dtype().is_float();
    let (got, want) = (values(got), values(want));
    if exact {
        return (got != want).then(|| format!("{name}: got {got:?}, expected {want:?}"));
    }
    let finite = want.iter().filter(|x| x.is_finite());
    let limit = tol * finite.fold(floor, |m, x| m.max(x.abs()));
    let error = |g: &f64, w: &f64| {
        if w.is_infinite() {
            if g == w {
                0.0
            } else {
                f64::INFINITY
            }
        } else {
            (g - w).abs()
        }
    };
    // NaN must not pass: no comparison with it is true
    let worst = got.iter().zip(&want).map(|(g, w)| error(g, w)).fold(0.0_f64, |m, e| {
        if e.is_nan() {
            f64::INFINITY
        } else {
            m.max(e)
        }
    });
    (worst > limit)
        .then(|| format!("{name}: off by {worst:.3e}, {:.1} times the tolerance", worst / limit))
}
