//! Four numbers without vector instructions, so that the tests run everywhere.

pub type V = [f32; 4];

#[inline(always)]
pub fn splat(x: f32) -> V {
    [x; 4]
}

#[inline(always)]
pub fn mul_add(a: V, b: V, c: V) -> V {
    std::array::from_fn(|i| a[i] * b[i] + c[i])
}

#[inline(always)]
pub fn transpose(rows: [V; 4]) -> [V; 4] {
    std::array::from_fn(|i| rows.map(|row| row[i]))
}

#[inline(always)]
pub fn store(v: V, xs: &mut [f32], at: usize) {
    xs[at..at + 4].copy_from_slice(&v);
}

#[inline(always)]
pub fn load(xs: &[f32], at: usize) -> V {
    std::array::from_fn(|i| xs[at + i])
}

#[inline(always)]
pub fn numbers(v: V) -> [f32; 4] {
    v
}
