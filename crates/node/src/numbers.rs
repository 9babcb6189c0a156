//! Conversions of numbers: JavaScript has f64 alone.

/// The numbers of JavaScript as sizes.
pub fn sizes(numbers: &[f64]) -> Vec<usize> {
    numbers.iter().map(|n| *n as usize).collect()
}

/// Sizes as the numbers of JavaScript.
pub fn numbers(sizes: Vec<usize>) -> Vec<f64> {
    sizes.into_iter().map(|n| n as f64).collect()
}
