//! A weight matrix in one of the formats.

use super::blocks::{pack_q4, pack_q8, unpack_bf16, unpack_q4, unpack_q8};
use super::format::{Format, BLOCK};
use crate::error::bail;
use crate::host::gemv::kernel::{gemv_f32, StridedRows};
use crate::host::parallel::{
    for_each_piece, map, map_pieces, nth_chunk, rows_per_piece, zeros, PIECE,
};
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::{host, Array, DType, Result};
use half::{bf16, f16};

/// Number of weights that are converted to f32 at a time in a product with few rows: they fit in
/// the L1 cache.
const L1_WEIGHTS: usize = 4 * 1024;

/// An immutable weight matrix, (rows, width), in one of the formats.
pub struct Packed {
    format: Format,
    pub(super) rows: usize,
    pub(super) width: usize,
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

    /// The dequantised weight in f32, (rows, width), which [`forward`](super::forward) multiplies
    /// by.
    pub fn values(&self) -> Result<Array> {
        let mut values = zeros::<f32>(self.rows * self.width)?;
        self.dequantize_parallel(0, &mut values);
        host::array(values, (self.rows, self.width))
    }

    /// Dequantises the rows from `first` on into `out`, on several threads.
    pub(super) fn dequantize_parallel(&self, first: usize, out: &mut [f32]) {
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
    pub(super) fn products(&self, x: &[f32], first: usize, y: &mut [f32]) {
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
