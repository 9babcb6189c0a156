//! Quantised weights of linear layers, for inference, and their product `y = x Wᵀ + bias`.
//!
//! Each step of decoding reads every weight once, so its time is bounded by the number of bytes
//! read. The product converts a few rows of weights at a time to f32, in a buffer that stays in the
//! L1 cache, and multiplies them there.
//!
//! The formats and their values are those of ggml, <https://github.com/ggml-org/ggml>: blocks of 32
//! consecutive weights share a scale in f16. Unlike in ggml, scales and quants are stored in
//! separate arrays, so that both can be loaded as SIMD vectors.

use crate::error::bail;
use crate::host::gemm::product::product_into;
use crate::host::gemm::view::{Init, View};
use crate::host::gemv::kernel::{gemv_f32, prefetch, StridedRows};
use crate::host::gemv::layers::parallel_products;
use crate::host::parallel::{
    for_each_piece, map, map_pieces, nth_chunk, product_parallelism, rows_per_piece, zeros, PIECE,
};
use crate::host::with_width;
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::{host, Array, DType, Result};
use half::{bf16, f16};
use xt_macros::simd;

/// Number of weights that share a scale.
const BLOCK: usize = 32;

/// Number of weights whose scales, and 4-bit quants, are decoded at a time in a buffer on the
/// stack.
const CHUNK: usize = 512;

/// Number of weights that are converted to f32 at a time in a product with few rows: they fit in
/// the L1 cache.
const L1_WEIGHTS: usize = 4 * 1024;

/// Prefetch distance in bytes.
const PREFETCH_DISTANCE: usize = 16 * 1024;

/// Number of weights that are converted to f32 at a time in a product with many rows.
const WEIGHTS_AT_ONCE: usize = 256 * 1024;

/// Largest number of rows of the input that are multiplied by weights in the L1 cache.
const MAX_FEW_ROWS: usize = if cfg!(target_family = "wasm") { 24 } else { 96 };

/// Storage formats of quantised weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 8 bits per weight and an f16 scale per block. The weight of largest magnitude in a block is
    /// stored as ±127.
    Q8_0,
    /// 4 bits per weight and an f16 scale per block. The weight of largest magnitude in a block is
    /// stored as -8.
    Q4_0,
    /// bfloat16, the upper half of an f32.
    Bf16,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Q8_0, Format::Q4_0, Format::Bf16];

    /// The name of the format, as ggml spells it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Q8_0 => "q8_0",
            Format::Q4_0 => "q4_0",
            Format::Bf16 => "bf16",
        }
    }

    /// Whether the format supports rows of `width` weights: the block formats need whole blocks.
    pub fn supports_width(self, width: usize) -> bool {
        width > 0 && (self == Format::Bf16 || width.is_multiple_of(BLOCK))
    }

    /// The size in bytes of `count` weights, which must be whole blocks.
    pub fn bytes(self, count: usize) -> usize {
        match self {
            Format::Q8_0 => count + count / BLOCK * 2,
            Format::Q4_0 => count / 2 + count / BLOCK * 2,
            Format::Bf16 => 2 * count,
        }
    }
}

/// An immutable weight matrix, (rows, width), in one of the formats.
pub struct Packed {
    format: Format,
    rows: usize,
    width: usize,
    numbers: Storage,
}

/// The stored numbers in row-major order. Scales are the bits of f16 numbers, one per block.
enum Storage {
    /// [`Format::Q8_0`].
    Q8 {
        /// One signed quant per weight.
        quants: Vec<i8>,
        /// One scale per block.
        scales: Vec<u16>,
    },
    /// [`Format::Q4_0`].
    Q4 {
        /// Two consecutive quants per byte, the first one in the low bits. Each is stored plus 8.
        quants: Vec<u8>,
        /// One scale per block.
        scales: Vec<u16>,
    },
    /// [`Format::Bf16`]: the bits of each weight.
    Bf16(Vec<u16>),
}

/// Checks that `weight`, f32 on the CPU, can be stored in `format`.
///
/// # Errors
/// If a weight is not finite, or too large for the scale of a block. There are no such weights for
/// [`Format::Bf16`].
pub fn check(weight: &Array, format: Format) -> Result<()> {
    let most = match format {
        Format::Q8_0 => 127.0 * f16::MAX.to_f32(),
        Format::Q4_0 => 8.0 * f16::MAX.to_f32(),
        Format::Bf16 => return Ok(()),
    };
    let weight = contiguous(weight)?;
    let ws = host::slice::<f32>(&weight)?;
    let ws: &[f32] = &ws;
    let within = |w: f32| w.abs() <= most;
    let all = map(ws.len().div_ceil(PIECE), 1, |i| {
        nth_chunk(ws, i, PIECE).iter().fold(true, |all, w| all & within(*w))
    });
    if all.into_iter().all(|within| within) {
        return Ok(());
    }
    let found = ws.iter().find(|w| !within(**w)).copied().unwrap_or(f32::NAN);
    bail!("a weight is {found}, which {} cannot hold", format.name())
}

impl Packed {
    /// Quantises `weight`, (rows, width), f32 on the CPU. Each number is rounded.
    ///
    /// # Errors
    /// If the rows are not whole blocks, a weight cannot be represented (see [`check`]), or memory
    /// cannot be allocated.
    pub fn new(weight: &Array, format: Format) -> Result<Self> {
        let (rows, width) = weight.dims2()?;
        if !format.supports_width(width) {
            bail!(
                "{} has blocks of {BLOCK} weights, and rows of {width} are not whole blocks",
                format.name()
            );
        }
        check(weight, format)?;
        alloc::check(&[format.bytes(rows * width)], DType::U8)?;
        let weight = contiguous(weight)?;
        let ws = host::slice::<f32>(&weight)?;
        let ws: &[f32] = &ws;
        let numbers = match format {
            Format::Q8_0 => {
                let mut quants = vec![0; ws.len()];
                let scales = map_pieces(&mut quants, PIECE, |i, quants| {
                    pack_q8(nth_chunk(ws, i, PIECE), quants)
                });
                Storage::Q8 { quants, scales: scales.concat() }
            }
            Format::Q4_0 => {
                let mut quants = vec![0; ws.len() / 2];
                let scales = map_pieces(&mut quants, PIECE / 2, |i, quants| {
                    pack_q4(nth_chunk(ws, i, PIECE), quants)
                });
                Storage::Q4 { quants, scales: scales.concat() }
            }
            Format::Bf16 => {
                let mut halves = vec![0; ws.len()];
                for_each_piece(&mut halves, PIECE, |i, halves| {
                    halves
                        .iter_mut()
                        .zip(nth_chunk(ws, i, PIECE))
                        .for_each(|(h, w)| *h = bf16::from_f32(*w).to_bits());
                });
                Storage::Bf16(halves)
            }
        };
        Ok(Self { format, rows, width, numbers })
    }

    /// The format of the weight.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The dequantised weight in f32, (rows, width), which [`forward`] multiplies by.
    pub fn values(&self) -> Result<Array> {
        let mut values = zeros::<f32>(self.rows * self.width)?;
        self.dequantize_parallel(0, &mut values);
        host::array(values, (self.rows, self.width))
    }

    /// Dequantises the rows from `first` on into `out`, on several threads.
    fn dequantize_parallel(&self, first: usize, out: &mut [f32]) {
        let rows = rows_per_piece(self.width);
        for_each_piece(out, rows * self.width, |i, out| self.dequantize(first + i * rows, out));
    }

    /// Dequantises the rows from `first` on into `out`.
    fn dequantize(&self, first: usize, out: &mut [f32]) {
        let (start, blocks) = (first * self.width, first * self.width / BLOCK);
        match &self.numbers {
            Storage::Q8 { quants, scales } => unpack_q8(&quants[start..], &scales[blocks..], out),
            Storage::Q4 { quants, scales } => {
                unpack_q4(&quants[start / 2..], &scales[blocks..], out)
            }
            Storage::Bf16(halves) => unpack_bf16(&halves[start..], out),
        }
    }

    /// Multiplies a few rows of input, `x` (m, width), by the rows of the weight from `first` on.
    /// Writes `y`, (rows, m), which is transposed.
    fn products(&self, x: &[f32], first: usize, y: &mut [f32]) {
        let (m, k) = (x.len() / self.width, self.width);
        let at_once = (L1_WEIGHTS / k).max(4).next_multiple_of(4).min(y.len() / m);
        let mut unpacked = vec![0.0; at_once * k];
        for (i, y) in y.chunks_mut(at_once * m).enumerate() {
            let rows = &mut unpacked[..y.len() / m * k];
            self.dequantize(first + i * at_once, rows);
            gemv_f32(x, StridedRows { data: rows, stride: k, width: k }, y);
        }
    }
}

/// Computes `x Wᵀ + bias` for `x` (.., width) and `bias` (rows), f32 on the CPU. Returns
/// (.., rows).
pub fn forward(x: &Array, weight: &Packed, bias: Option<&Array>) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = host::slice::<f32>(&x)?;
    let bias = bias.map(contiguous).transpose()?;
    let bs = bias.as_ref().map(host::slice::<f32>).transpose()?;
    let (m, n, k) = (xs.len() / weight.width, weight.rows, weight.width);
    let y = if is_few(m) && n > 0 {
        parallel_products(&[(n, bs.as_deref())], (m, k), |_, first, y| {
            weight.products(&xs, first, y)
        })?
        .swap_remove(0)
    } else {
        many_rows(&xs, weight, bs.as_deref())?
    };
    host::array(y, with_width(&x, n))
}

/// Computes `x Wᵀ` for several weights of the same width and `x` (.., width). Returns an array
/// (.., rows) for each weight. With few rows of input, all products run in one parallel pass.
pub fn forward_all(x: &Array, weights: &[&Packed]) -> Result<Vec<Array>> {
    let Some(k) = weights.first().map(|weight| weight.width) else { return Ok(Vec::new()) };
    let m = x.elem_count() / k;
    if !is_few(m) || weights.iter().any(|weight| weight.rows == 0) {
        return weights.iter().map(|weight| forward(x, weight, None)).collect();
    }
    let x = contiguous(x)?;
    let xs = host::slice::<f32>(&x)?;
    let sizes: Vec<_> = weights.iter().map(|weight| (weight.rows, None)).collect();
    let all = parallel_products(&sizes, (m, k), |i, first, y| weights[i].products(&xs, first, y))?;
    all.into_iter()
        .zip(weights)
        .map(|(y, weight)| host::array(y, with_width(&x, weight.rows)))
        .collect()
}

fn is_few(rows: usize) -> bool {
    (1..=MAX_FEW_ROWS).contains(&rows)
}

/// Computes the product with many rows of input: some rows of the weight at a time, each by a
/// matrix product.
fn many_rows(xs: &[f32], weight: &Packed, bias: Option<&[f32]>) -> Result<Vec<f32>> {
    let (m, n, k) = (xs.len() / weight.width, weight.rows, weight.width);
    let mut y = zeros::<f32>(m * n)?;
    if y.is_empty() {
        return Ok(y);
    }
    let at_once = (WEIGHTS_AT_ONCE / k).max(BLOCK).min(n);
    let mut scratch = zeros::<f32>(at_once * k)?;
    // If one product computes whole rows of `y`, it writes them directly.
    let mut columns = if at_once < n { zeros::<f32>(m * at_once)? } else { Vec::new() };
    for first in (0..n).step_by(at_once) {
        let count = at_once.min(n - first);
        let rows = &mut scratch[..count * k];
        weight.dequantize_parallel(first, rows);
        let init = bias.map_or(Init::Zero, |bias| Init::Bias(&bias[first..first + count]));
        let out = if at_once < n { &mut columns[..m * count] } else { &mut y };
        product_into(
            out,
            count,
            (m, count, k),
            View::row_major(xs, k),
            View::transposed(rows, k),
            1.0,
            init,
            product_parallelism(m, count, k),
        );
        if at_once < n {
            let (columns, height) = (&columns[..m * count], rows_per_piece(n));
            for_each_piece(&mut y, height * n, |i, y| {
                let columns = nth_chunk(columns, i, height * count).chunks_exact(count);
                for (y, columns) in y.chunks_exact_mut(n).zip(columns) {
                    y[first..first + count].copy_from_slice(columns);
                }
            });
        }
    }
    Ok(y)
}

/// Quantises whole blocks to 8 bits, and returns the bits of their scales.
#[simd]
fn pack_q8(weights: &[f32], quants: &mut [i8]) -> Vec<u16> {
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
fn pack_q4(weights: &[f32], quants: &mut [u8]) -> Vec<u16> {
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
fn f16_to_f32(bits: u16) -> f32 {
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
fn unpack_q8(quants: &[i8], scales: &[u16], out: &mut [f32]) {
    let chunks = quants.chunks(CHUNK).zip(scales.chunks(CHUNK / BLOCK)).enumerate();
    for (out, (i, (chunk, scales))) in out.chunks_mut(CHUNK).zip(chunks) {
        prefetch(ahead(quants, i * CHUNK, CHUNK));
        dequantize_chunk(chunk, scales, out);
    }
}

#[simd]
fn unpack_q4(quants: &[u8], scales: &[u16], out: &mut [f32]) {
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
fn unpack_bf16(halves: &[u16], out: &mut [f32]) {
    for (i, (out, chunk)) in out.chunks_mut(CHUNK).zip(halves.chunks(CHUNK)).enumerate() {
        prefetch(ahead(halves, i * CHUNK, CHUNK));
        out.iter_mut().zip(chunk).for_each(|(w, half)| *w = f32::from_bits(u32::from(*half) << 16));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linear;
    use crate::testing::{assert_close, normal, values};
    use crate::Device;
    use candle_core::quantized::{GgmlDType, QTensor};

    fn packed(rows: usize, width: usize, format: Format) -> Packed {
        Packed::new(&normal(&[rows, width], 7), format).unwrap()
    }

    #[test]
    fn values_are_those_of_candle() {
        // Some blocks are so small that their scale is a subnormal f16, one contains only zeros.
        let mut weights = values(&normal(&[9, 96], 1));
        weights[..96].iter_mut().for_each(|w| *w *= 1e-4);
        weights[96..128].iter_mut().for_each(|w| *w *= 1e-6);
        weights[128..160].fill(0.0);
        let weight =
            Array::from_vec(weights, (9, 96), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        for (format, theirs) in [(Format::Q8_0, GgmlDType::Q8_0), (Format::Q4_0, GgmlDType::Q4_0)] {
            let want = QTensor::quantize(weight.host().unwrap(), theirs).unwrap();
            let got = Packed::new(&weight, format).unwrap();
            assert_eq!(
                values(&got.values().unwrap()),
                values(&want.dequantize(&candle_core::Device::Cpu).unwrap().into()),
                "{format:?}"
            );
            assert_eq!(format.bytes(9 * 96), want.storage_size_in_bytes());
        }
        let want = weight.to_dtype(DType::BF16).unwrap();
        assert_eq!(
            values(&Packed::new(&weight, Format::Bf16).unwrap().values().unwrap()),
            values(&want)
        );
    }

    #[test]
    fn every_scale_is_widened_exactly() {
        for bits in (0..=u16::MAX).filter(|bits| f16::from_bits(*bits).is_finite()) {
            assert_eq!(
                f16_to_f32(bits).to_bits(),
                f16::from_bits(bits).to_f32().to_bits(),
                "{bits}"
            );
        }
    }

    #[test]
    fn what_was_rounded_stays_so() {
        for format in Format::ALL {
            let once = packed(8, 320, format).values().unwrap();
            assert_eq!(
                values(&Packed::new(&once, format).unwrap().values().unwrap()),
                values(&once)
            );
        }
    }

    #[test]
    fn rounds_within_half_a_step() {
        let weight = normal(&[4, 64], 3);
        for (format, steps) in [(Format::Q8_0, 127.0), (Format::Q4_0, 8.0)] {
            let got = values(&Packed::new(&weight, format).unwrap().values().unwrap());
            for (got, want) in got.chunks(BLOCK).zip(values(&weight).chunks(BLOCK)) {
                let most = want.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
                // With 4 bits, a positive weight of largest magnitude has no exact quant. The scale
                // is rounded too.
                let allowed =
                    most / steps * if format == Format::Q8_0 { 0.51 } else { 1.01 } + most * 1e-3;
                got.iter().zip(want).for_each(|(g, w)| {
                    assert!((g - w).abs() <= allowed, "{format:?}: {g}, not {w}")
                });
            }
        }
    }

    #[test]
    fn products_are_those_of_the_rounded_weights() {
        let sizes = [
            (1, 1, 32),
            (1, 7, 64),
            (2, 130, 96),
            (3, 700, 160),
            (5, 33, 4128),
            (24, 65, 512),
            (97, 1300, 288),
        ];
        for format in Format::ALL {
            for (m, n, k) in sizes.into_iter().chain([(0, 3, 32), (2, 0, 32)]) {
                let (x, w, b) = (normal(&[1, m, k], 1), packed(n, k, format), normal(&[n], 3));
                let plain = w.values().unwrap();
                let want = linear::forward(&x, &plain, None).unwrap();
                let got = forward(&x, &w, None).unwrap();
                assert_close(&got, &want, 1e-5);
                if m * n > 0 {
                    let want = linear::forward(&x, &plain, Some(&b)).unwrap();
                    assert_close(&forward(&x, &w, Some(&b)).unwrap(), &want, 1e-5);
                }
                let other = packed(5, k, format);
                let both = forward_all(&x, &[&w, &other]).unwrap();
                assert_eq!(values(&both[0]), values(&got));
                assert_close(
                    &both[1],
                    &linear::forward(&x, &other.values().unwrap(), None).unwrap(),
                    1e-5,
                );
            }
        }
    }

    #[test]
    fn a_width_without_blocks_takes_bf16_alone() {
        let (x, weight) = (normal(&[3, 19], 1), normal(&[6, 19], 2));
        let message = |format| Packed::new(&weight, format).err().unwrap().to_string();
        assert!(message(Format::Q8_0).contains("rows of 19"), "{}", message(Format::Q8_0));
        assert!(
            !Format::Q4_0.supports_width(48)
                && Format::Q4_0.supports_width(64)
                && Format::Bf16.supports_width(1)
                && !Format::Bf16.supports_width(0)
        );
        let w = Packed::new(&weight, Format::Bf16).unwrap();
        let want = linear::forward(&x, &w.values().unwrap(), None).unwrap();
        assert_close(&forward(&x, &w, None).unwrap(), &want, 1e-5);
    }

    #[test]
    fn weights_that_a_format_cannot_hold_are_errors() {
        let with = |w: f32| {
            Array::from_vec([vec![0.1; 31], vec![w]].concat(), (1, 32), &Device::Cpu).unwrap()
        };
        for w in [f32::NAN, f32::INFINITY, 1e8] {
            let message = Packed::new(&with(w), Format::Q8_0).err().unwrap().to_string();
            assert!(message.contains("which q8_0 cannot hold"), "{message}");
        }
        assert!(Packed::new(&with(6e5), Format::Q8_0).is_ok());
        assert!(Packed::new(&with(6e5), Format::Q4_0).is_err());
        assert!(Packed::new(&with(f32::NAN), Format::Bf16)
            .unwrap()
            .values()
            .unwrap()
            .to_vec2::<f32>()
            .unwrap()[0][31]
            .is_nan());
    }
}
