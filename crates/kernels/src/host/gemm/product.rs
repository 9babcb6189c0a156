//! Matrix products into existing or newly allocated memory.

use crate::host::gemm::blas::Blas;
use crate::host::gemm::jobs::{run_jobs, Job};
use crate::host::gemm::view::{Epilogue, Init, Term, View};
use crate::host::parallel::{multiplications, product_parallelism, work_parallelism};
use crate::memory::alloc;
use crate::Result;
use gemm::Parallelism;
use std::mem::MaybeUninit;

/// Writes `init + alpha · a b` into `y`. `a` is (m, k), `b` is (k, n), `y` is (m, n) with row
/// stride `stride`; `size` is (m, n, k).
#[allow(clippy::too_many_arguments)]
pub(crate) fn product_into<T: Blas>(
    y: &mut [T],
    stride: usize,
    size: (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    alpha: T,
    init: Init<T>,
    threads: Parallelism,
) {
    // SAFETY: MaybeUninit<T> has the layout of T, and `write_product` stores only initialised
    // elements.
    let y =
        unsafe { std::slice::from_raw_parts_mut(y.as_mut_ptr().cast::<MaybeUninit<T>>(), y.len()) };
    // SAFETY: `y` is initialised, because it was borrowed as a slice of T.
    unsafe { write_product(y, stride, size, a, b, alpha, init, threads) };
}

/// Returns `bias + a b`, (m, n), after `epilogue`.
///
/// # Errors
/// If memory is short.
pub(crate) fn new_product<T: Blas>(
    (m, n): (usize, usize),
    term: Term<T>,
    bias: Option<&[T]>,
    epilogue: Option<Epilogue<T>>,
) -> Result<Vec<T>> {
    alloc::check(&[m, n], T::DTYPE)?;
    let mut y = alloc::with_capacity::<T>(m * n)?;
    let init = bias.map_or(Init::Zero, Init::Bias);
    let uninit = &mut y.spare_capacity_mut()[..m * n];
    let job =
        Job { y: uninit, stride: n, size: (m, n), terms: std::slice::from_ref(&term), epilogue };
    // SAFETY: `init` is not `Init::Output`, so `y` need not be initialised.
    unsafe { run_jobs(vec![job], T::ONE, init, product_parallelism(m, n, term.k)) };
    // SAFETY: `run_jobs` wrote every element.
    unsafe { y.set_len(m * n) };
    Ok(y)
}

/// Returns each product, (m, n). All products are divided among the threads as one parallel job.
///
/// # Errors
/// If memory is short.
pub(crate) fn new_products<T: Blas>(products: &[((usize, usize), Term<T>)]) -> Result<Vec<Vec<T>>> {
    let outputs = products.iter().map(|((m, n), _)| {
        alloc::check(&[*m, *n], T::DTYPE)?;
        alloc::with_capacity::<T>(m * n)
    });
    let mut all = outputs.collect::<Result<Vec<_>>>()?;
    let jobs = all.iter_mut().zip(products).map(|(y, ((m, n), term))| Job {
        y: &mut y.spare_capacity_mut()[..m * n],
        stride: *n,
        size: (*m, *n),
        terms: std::slice::from_ref(term),
        epilogue: None,
    });
    let work = products
        .iter()
        .map(|((m, n), term)| multiplications(&[*m, *n, term.k]))
        .fold(0, u64::saturating_add);
    // SAFETY: `init` is not `Init::Output`, so the outputs need not be initialised.
    unsafe { run_jobs(jobs.collect(), T::ONE, Init::Zero, work_parallelism(work)) };
    for (y, ((m, n), _)) in all.iter_mut().zip(products) {
        // SAFETY: `run_jobs` wrote every element.
        unsafe { y.set_len(m * n) };
    }
    Ok(all)
}

/// Returns the sum of the products of all terms, (m, n).
///
/// # Errors
/// If memory is short.
pub(crate) fn new_sum_of_products<T: Blas>(
    (m, n): (usize, usize),
    terms: &[Term<T>],
) -> Result<Vec<T>> {
    alloc::check(&[m, n], T::DTYPE)?;
    let mut y = alloc::with_capacity::<T>(m * n)?;
    let work =
        terms.iter().map(|term| multiplications(&[m, n, term.k])).fold(0, u64::saturating_add);
    let job = Job {
        y: &mut y.spare_capacity_mut()[..m * n],
        stride: n,
        size: (m, n),
        terms,
        epilogue: None,
    };
    // SAFETY: `init` is not `Init::Output`, so `y` need not be initialised.
    unsafe { run_jobs(vec![job], T::ONE, Init::Zero, work_parallelism(work)) };
    // SAFETY: `run_jobs` wrote every element.
    unsafe { y.set_len(m * n) };
    Ok(y)
}

/// Writes `init + alpha · a b` to `y`, (m, n), whose row stride is `stride`.
///
/// # Safety
/// With [`Init::Output`], `y` must be initialised.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn write_product<T: Blas>(
    y: &mut [MaybeUninit<T>],
    stride: usize,
    (m, n, k): (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    alpha: T,
    init: Init<T>,
    threads: Parallelism,
) {
    let terms = &[Term { k, a, b }];
    // SAFETY: the caller guarantees that `y` is initialised with `Init::Output`.
    unsafe {
        run_jobs(vec![Job { y, stride, size: (m, n), terms, epilogue: None }], alpha, init, threads)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{normal, values};

    #[test]
    fn rows_of_the_result_may_lie_apart() {
        let (m, n, stride) = (5, 7, 10);
        for k in [0, 6] {
            let (a, b) = (values(&normal(&[m, k], 1)), values(&normal(&[k, n], 2)));
            let view = |data, width: usize| View { data, row: width as isize, column: 1 };
            let bias = [0.5; 7];
            for init in [Init::Zero, Init::Bias(&bias), Init::Output] {
                let mut dense = vec![2.0; m * n];
                product_into(
                    &mut dense,
                    n,
                    (m, n, k),
                    view(&a, k),
                    view(&b, n),
                    0.5,
                    init,
                    Parallelism::None,
                );
                let mut padded = vec![2.0; m * stride];
                product_into(
                    &mut padded,
                    stride,
                    (m, n, k),
                    view(&a, k),
                    view(&b, n),
                    0.5,
                    init,
                    Parallelism::None,
                );
                for (row, padded) in dense.chunks(n).zip(padded.chunks(stride)) {
                    assert_eq!(row, &padded[..n]);
                    assert_eq!(padded[n..], [2.0; 3]);
                }
            }
        }
    }
}
