//! Loops that quantise and dequantise blocks of weights.

use super::format::BLOCK;
use crate::host::gemv::kernel::prefetch;
use half::f16;
use xt_macros::simd;

/// Number of weights whose scales, and 4-bit quants, are decoded at a time in a buffer on the
/// stack.
const CHUNK: usize = 512;

/// Prefetch distance in bytes.
const PREFETCH_DISTANCE: usize = 16 * 1024;

/// Quantises whole blocks to 8 bits, and returns the bits of their scales.
#[simd]
pub(super) fn pack_q8(weights: &[f32], quants: &mut [i8]) -> Vec<u16> {
    let mut scales = Vec::with_capacity(weights.len() / BLOCK);
    for (block, quants) in
        weights.as_chunks::<BLOCK>().0.iter().zip(quants.as_chunks_mut::<BLOCK>().0)
    {
        let most = block.iter().fold(0.0, |most: f32, w| most.max(w.abs()));
        let scale = most / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        quants.iter_mut().zip(block).for_each(|(q, w)| *q = (w * inverse).round() as i8);
        scales.push(f16::from_f32(scale).to_bits());
    }
    scales
}

/// Quantises whole blocks to 4 bits, and returns the bits of their scales. The range has one more
/// negative number than positive ones, so the weight of largest magnitude becomes -8.
#[simd]
pub(super) fn pack_q4(weights: &[f32], quants: &mut [u8]) -> Vec<u16> {
    let mut scales = Vec::with_capacity(weights.len() / BLOCK);
    for (block, quants) in
        weights.as_chunks::<BLOCK>().0.iter().zip(quants.chunks_exact_mut(BLOCK / 2))
    {
        let most =
            block.iter().fold(0.0, |most: f32, w| if w.abs() > most.abs() { *w } else { most });
        let scale = most / -8.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let bits = block.map(|w| (w * inverse + 8.5).min(15.0) as u8);
        quants
            .iter_mut()
            .zip(bits.as_chunks::<2>().0)
            .for_each(|(q, [low, high])| *q = low | high << 4);
        scales.push(f16::from_f32(scale).to_bits());
    }
    scales
}

/// Converts a finite f16 to f32. These shifts and a select vectorise, whereas the conversion of
/// `half` checks the features of the processor on each call.
#[inline(always)]
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    const LEAST_NORMAL: u32 = 1 << 10;
    const BIAS: u32 = (127 - 15) << 23;
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    // Subnormal numbers and zero are multiples of 2^-24.
    let small = (rest as f32 * (1.0 / 16_777_216.0)).to_bits();
    let magnitude = if rest < LEAST_NORMAL { small } else { (rest << 13) + BIAS };
    f32::from_bits(magnitude | sign)
}

/// Up to `count` numbers that are [`PREFETCH_DISTANCE`] bytes beyond index `from`, to be
/// prefetched. The hardware prefetcher does not run so far ahead during the computation.
#[inline(always)]
fn ahead<T>(numbers: &[T], from: usize, count: usize) -> &[T] {
    let start = (from + PREFETCH_DISTANCE / size_of::<T>()).min(numbers.len());
    &numbers[start..numbers.len().min(start + count)]
}

/// Dequantises blocks of at most [`CHUNK`] weights. All scales are converted first, so that the
/// conversion vectorises too.
#[inline(always)]
fn dequantize_chunk(quants: &[i8], scales: &[u16], out: &mut [f32]) {
    let mut wide = [0.0; CHUNK / BLOCK];
    wide.iter_mut().zip(scales).for_each(|(wide, scale)| *wide = f16_to_f32(*scale));
    let blocks = quants.as_chunks::<BLOCK>().0.iter().zip(&wide);
    for (out, (quants, scale)) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
        // The copy lets the loop vectorise: the compiler does not know that `quants` and `out` do
        // not overlap.
        let quants = *quants;
        for i in 0..BLOCK {
            out[i] = f32::from(quants[i]) * scale;
        }
    }
}

#[simd]
pub(super) fn unpack_q8(quants: &[i8], scales: &[u16], out: &mut [f32]) {
    let chunks = quants.chunks(CHUNK).zip(scales.chunks(CHUNK / BLOCK)).enumerate();
    for (out, (i, (chunk, scales))) in out.chunks_mut(CHUNK).zip(chunks) {
        prefetch(ahead(quants, i * CHUNK, CHUNK));
        dequantize_chunk(chunk, scales, out);
    }
}

#[simd]
pub(super) fn unpack_q4(quants: &[u8], scales: &[u16], out: &mut [f32]) {
    let mut numbers = [0_i8; CHUNK];
    let chunks = quants.chunks(CHUNK / 2).zip(scales.chunks(CHUNK / BLOCK)).enumerate();
    for (out, (i, (chunk, scales))) in out.chunks_mut(CHUNK).zip(chunks) {
        prefetch(ahead(quants, i * CHUNK / 2, CHUNK / 2));
        for (pair, q) in numbers.as_chunks_mut::<2>().0.iter_mut().zip(chunk) {
            *pair = [(q & 15) as i8 - 8, (q >> 4) as i8 - 8];
        }
        dequantize_chunk(&numbers, scales, out);
    }
}

#[simd]
pub(super) fn unpack_bf16(halves: &[u16], out: &mut [f32]) {
    for (i, (out, chunk)) in out.chunks_mut(CHUNK).zip(halves.chunks(CHUNK)).enumerate() {
        prefetch(ahead(halves, i * CHUNK, CHUNK));
        out.iter_mut().zip(chunk).for_each(|(w, half)| *w = f32::from_bits(u32::from(*half) << 16));
    }
}
