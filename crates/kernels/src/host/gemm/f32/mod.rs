//! One product of two f32 matrices, on one thread: `y = start + alpha · a b`.
//!
//! Blocks of `b` are packed into panels of a few vectors of columns. Rows of `a` are read where they lie, or from a copy where they lie in pieces.
//! A tile of results stays in registers while it goes along rows and panel. What is turned on the way, weights above all, is turned in
//! blocks by vector instructions: the crate `gemm`, which does the same for f64, takes one number at a time.
//! Source: Anatomy of High-Performance Matrix Multiplication, <https://doi.org/10.1145/1356052.1356053>.
//!
//! Every result is summed in an order that depends on `k` alone, so that it does not matter who takes which part, nor in what tile.

mod blocks;
mod lanes;
#[cfg(not(target_arch = "wasm32"))]
mod native;
mod pack;
mod panel;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use blocks::Product;

use crate::host::scratch::Scratch;
use blocks::Buffers;
use std::cell::Cell;

thread_local! {
    /// Kept between products.
    static KEPT: Cell<Buffers> = const { Cell::new(Buffers { rows: Scratch::new(), columns: Scratch::new() }) };
}

/// Writes all of `y`.
///
/// # Safety
/// All elements of `a`, `b` and `y` are there, and strides are not negative; nobody else uses those of `y` meanwhile; with [`Init::Output`] they hold
/// numbers; a bias has n numbers.
pub unsafe fn product(product: Product) {
    let mut buffers = KEPT.take();
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(target_arch = "wasm32")]
        blocks::run(wasm::Wasm, product, &mut buffers);
        #[cfg(not(target_arch = "wasm32"))]
        pulp::Arch::new().dispatch(native::Job::new(product, &mut buffers));
    }
    KEPT.set(buffers);
}

/// Writes lines as columns: number k of line i goes to `into[k · step + i]`. Lines, each of `length` numbers, begin `across` numbers after each other.
pub fn transpose(into: &mut [f32], step: usize, from: &[f32], across: usize, (lines, length): (usize, usize)) {
    #[cfg(target_arch = "wasm32")]
    pack::transposed(wasm::Wasm, into, step, from, across, (lines, length));
    #[cfg(not(target_arch = "wasm32"))]
    pulp::Arch::new().dispatch(native::Transpose { into, step, from, across, size: (lines, length) });
}
