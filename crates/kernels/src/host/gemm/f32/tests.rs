use super::blocks::{run, Buffers, Product};
use super::lanes::Lanes;
use super::panel::Panel;
use super::*;
use crate::host::gemm::view::{Init, View};
use crate::philox::Stream;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    Stream { seed, call: 0, draw: 0 }.normal(count).into_iter().map(|x| x as f32).collect()
}

/// Vectors of N elements without vector instructions: four as in WebAssembly, sixteen as with
/// AVX-512, which not every machine has.
#[derive(Clone, Copy)]
struct Plain<const N: usize>;

impl<const N: usize> Lanes for Plain<N> {
    type V = [f32; N];
    const COUNT: usize = N;
    const WIDEST: usize = 3;
    const NARROW_BELOW: usize = if N == 4 { 24 } else { 0 };
    const BLOCK: usize = if N == 4 { 4 } else { 8 };

    fn splat(self, x: f32) -> [f32; N] {
        [x; N]
    }

    fn mul_add(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    unsafe fn load(self, from: *const f32) -> [f32; N] {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe { from.cast::<[f32; N]>().read_unaligned() }
    }

    unsafe fn store(self, v: [f32; N], to: *mut f32) {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe { to.cast::<[f32; N]>().write_unaligned(v) }
    }

    unsafe fn multiply(self, panel: Panel, vectors: usize) {
        // SAFETY: guaranteed by the caller, as the trait requires.
        unsafe {
            match (N, vectors) {
                (4, 3) => panel.multiply_rows::<Self, 3, 3>(self),
                (4, 2) => panel.multiply_rows::<Self, 4, 2>(self),
                (4, _) => panel.multiply_rows::<Self, 4, 1>(self),
                (_, 3) => panel.multiply_rows::<Self, 8, 3>(self),
                (_, 2) => panel.multiply_rows::<Self, 8, 2>(self),
                (_, _) => panel.multiply_rows::<Self, 8, 1>(self),
            }
        }
    }
}

/// The element (i, j) of the product, summed in f64.
fn plain(of: &Product, old: &[f32], (i, j): (usize, usize)) -> f32 {
    let at = |v: &View<f32>, i: usize, j: usize| {
        f64::from(v.data[i * v.row as usize + j * v.column as usize])
    };
    let sum: f64 = (0..of.size.2).map(|l| at(&of.a, i, l) * at(&of.b, l, j)).sum();
    let before = match of.init {
        Init::Zero => 0.0,
        Init::Bias(bias) => bias[j],
        Init::Output => old[i * of.stride + j],
    };
    (f64::from(before) + f64::from(of.alpha) * sum) as f32
}

/// What a product writes into a copy of `old`.
fn written(of: Product, old: &[f32], product: impl FnOnce(Product)) -> Vec<f32> {
    let mut y = old.to_vec();
    product(Product { y: y.as_mut_ptr(), ..of });
    y
}

/// Compares the products of all instruction sets with the plain sum, and checks that nothing was
/// written between the rows.
fn check(of: Product, old: &[f32]) {
    let (m, n, k) = of.size;
    // SAFETY: operands and result are whole.
    let native = written(of, old, |of| unsafe { product(of) });
    // SAFETY: as above.
    let four = written(of, old, |of| unsafe { run(Plain::<4>, of, &mut Buffers::default()) });
    // SAFETY: as above.
    let sixteen = written(of, old, |of| unsafe { run(Plain::<16>, of, &mut Buffers::default()) });
    for got in [native, four, sixteen] {
        for (at, got) in got.iter().enumerate() {
            let (i, j) = (at / of.stride, at % of.stride);
            if j >= n {
                assert_eq!(*got, old[at], "{m} {n} {k}: written outside");
                continue;
            }
            let want = plain(&of, old, (i, j));
            let tolerance = 1e-5 * (k as f32).sqrt().max(1.0) * want.abs().max(1.0);
            assert!((got - want).abs() <= tolerance, "{m} {n} {k}: {got}, not {want}");
        }
    }
}

#[test]
fn equals_the_plain_sum_for_odd_sizes_and_all_strides() {
    let small =
        [(1, 1, 1), (4, 8, 4), (7, 9, 5), (5, 1030, 3), (97, 17, 300), (13, 8, 600), (3, 64, 20)];
    // remainders of rows, columns and vectors in every combination
    let large = [
        (24, 24, 6),
        (100, 33, 257),
        (26, 28, 5),
        (25, 29, 9),
        (50, 64, 64),
        (27, 1057, 3),
        (31, 80, 17),
        (39, 144, 9),
        (15, 64, 520),
        // rows of `b` with a padded stride, which are read in place
        (30, 80, 200),
    ];
    for (m, n, k) in small.into_iter().chain(large) {
        let stride = n + 3;
        let (xs, ws, old, bias) =
            (numbers(2 * m * k, 1), numbers(2 * k * n, 2), numbers(m * stride, 3), numbers(n, 4));
        // row-major, transposed, and with a column stride of 2
        let views = |data, rows: usize, columns: usize| {
            [(columns, 1), (1, rows), (2 * columns, 2)].map(|(row, column)| View {
                data,
                row: row as isize,
                column: column as isize,
            })
        };
        for a in views(&xs[..], m, k) {
            for b in views(&ws[..], k, n) {
                for (alpha, init) in
                    [(1.0, Init::Zero), (0.5, Init::Output), (1.0, Init::Bias(&bias))]
                {
                    let of = Product {
                        y: std::ptr::null_mut(),
                        stride,
                        size: (m, n, k),
                        a,
                        b,
                        alpha,
                        init,
                        epilogue: None,
                    };
                    check(of, &old);
                }
            }
        }
    }
}
