//! A sum that is compiled for several processors:
//! `cargo run --release --example simd -p xt-macros`.

use xt_macros::simd;

/// The sum of the squares of `values`, in 16 independent parts, which fit into vectors.
#[simd]
fn sum_of_squares(values: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (parts, rest) = values.as_chunks::<16>();
    for part in parts {
        for (sum, x) in sums.iter_mut().zip(part) {
            *sum += x * x;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}

fn main() {
    let values: Vec<f32> = (0..1000).map(|i| (i % 10) as f32).collect();
    println!("{}", sum_of_squares(&values));
}
