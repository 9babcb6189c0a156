use super::*;
use crate::philox::Stream;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    Stream { seed, call: 0, draw: 0 }.normal(count).into_iter().map(|x| x as f32).collect()
}

fn plain(
    y: &[f32],
    (m, n, k): (usize, usize, usize),
    a: View<f32>,
    b: View<f32>,
    alpha: f32,
    start: Start<f32>,
) -> Vec<f32> {
    let at = |v: &View<f32>, i: usize, j: usize| f64::from(v.data[i * v.row as usize + j * v.column as usize]);
    let sum = |i, j| (0..k).map(|l| at(&a, i, l) * at(&b, l, j)).sum::<f64>();
    let before = |at: usize| match start {
        Start::Nothing => 0.0,
        Start::Bias(bias) => f64::from(bias[at % n]),
        Start::Own => f64::from(y[at]),
    };
    (0..m * n).map(|at| (before(at) + f64::from(alpha) * sum(at / n, at % n)) as f32).collect()
}

#[test]
fn equals_the_plain_sum_for_odd_sizes_and_all_strides() {
    let small = [(1, 1, 1), (4, 8, 4), (7, 9, 5), (5, 1030, 3), (97, 17, 300), (13, 8, 600)];
    // 3 x 12: rows and columns left over in every way
    let large = [(24, 24, 6), (100, 33, 257), (26, 28, 5), (25, 29, 9), (50, 64, 64), (27, 1057, 3)];
    let sizes = small.into_iter().chain(large);
    for (m, n, k) in sizes {
        let (xs, ws, old, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(m * n, 3), numbers(n, 4));
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let view = |data, rows, columns, turned: bool| match turned {
                false => View { data, row: columns as isize, column: 1 },
                true => View { data, row: 1, column: rows as isize },
            };
            let (a, b) = (view(&xs[..], m, k, ta), view(&ws[..], k, n, tb));
            for (alpha, start) in [(1.0, Start::Nothing), (0.5, Start::Own), (1.0, Start::Bias(&bias))] {
                let want = plain(&old, (m, n, k), a, b, alpha, start);
                for how in [Parallelism::None, Parallelism::Rayon(0)] {
                    let mut y: Vec<MaybeUninit<f32>> = old.iter().copied().map(MaybeUninit::new).collect();
                    // SAFETY: `y` holds numbers, before and after.
                    let got: Vec<f32> = unsafe {
                        product(&mut y, n, (m, n, k), a, b, alpha, start, how);
                        y.iter().map(|y| y.assume_init()).collect()
                    };
                    for (got, want) in got.iter().zip(&want) {
                        let near = 1e-5 * (k as f32).sqrt().max(1.0) * want.abs().max(1.0);
                        assert!((got - want).abs() <= near, "{m} {n} {k}: {got}, not {want}");
                    }
                }
            }
        }
    }
}
