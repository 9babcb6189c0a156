//! Single-threaded f32 matrix product: `y = init + alpha · a b`.
//!
//! Blocks of `b` are packed into panels, which are a few vectors wide. Rows of `a` are read in
//! place, or from a copy if they are not contiguous. A tile of the result stays in registers during
//! the loop over k. Operands that need a transpose, mostly weights, are transposed in blocks by
//! vector instructions. The crate `gemm`, which is used for f64, packs one element at a time.
//! Source: Anatomy of High-Performance Matrix Multiplication,
//! <https://doi.org/10.1145/1356052.1356053>.
//!
//! Each element of the result is summed in an order that depends on `k` only. The result therefore
//! does not depend on the division into parts and tiles.

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
    /// Packing buffers, which are reused by the next product of the thread.
    static BUFFERS: Cell<Buffers> =
        const { Cell::new(Buffers { rows: Scratch::new(), columns: Scratch::new() }) };
}

/// Computes a product and writes all of `y`.
///
/// # Safety
/// All elements of `a`, `b` and `y` must be in bounds, and strides must not be negative. Nobody
/// else may access the elements of `y` during the call. With [`Init::Output`], they must be
/// initialised. A bias must have n elements.
pub unsafe fn product(product: Product) {
    let mut buffers = BUFFERS.take();
    // SAFETY: the caller guarantees the conditions of `run` and `NativeProduct::new`, which are the
    // same.
    unsafe {
        #[cfg(target_arch = "wasm32")]
        blocks::run(wasm::Wasm, product, &mut buffers);
        #[cfg(not(target_arch = "wasm32"))]
        pulp::Arch::new().dispatch(native::NativeProduct::new(product, &mut buffers));
    }
    BUFFERS.set(buffers);
}

/// Writes the transpose of `rows` rows of `length` elements: element `k` of row `i` goes to
/// `into[k · into_stride + i]`. `from_stride` is the row stride of `from`.
pub fn transpose(
    into: &mut [f32],
    into_stride: usize,
    from: &[f32],
    from_stride: usize,
    (rows, length): (usize, usize),
) {
    #[cfg(target_arch = "wasm32")]
    pack::transposed(wasm::Wasm, into, into_stride, from, from_stride, (rows, length));
    #[cfg(not(target_arch = "wasm32"))]
    pulp::Arch::new().dispatch(native::Transpose {
        into,
        into_stride,
        from,
        from_stride,
        size: (rows, length),
    });
}
