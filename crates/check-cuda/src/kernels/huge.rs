//! Arrays of more than 2^32 elements, whose offsets need 64 bits. They have values that are known
//! without the CPU.

use crate::error::Result;
use xt_core::{Array, DType, Device};
use xt_kernels::ops::elementwise;
use xt_kernels::ops::extremes::{extreme, Extreme};
use xt_kernels::ops::layout::{contiguous, narrow};

const ROWS: usize = (1 << 16) + 3;
const WIDTH: usize = 1 << 16;

/// The memory that these arrays take at most, in bytes.
pub const NEEDED: u64 = 6 * (ROWS * WIDTH) as u64;

/// Computes with them, and checks the values in front and at the end.
///
/// # Errors
/// If a value is wrong or memory is short.
pub fn check(device: &Device) -> Result<()> {
    let ones = Array::ones((ROWS, WIDTH), DType::U8, device)?;
    let twos = elementwise::add(&ones, &ones)?;
    both_ends("add", &twos, 2)?;
    both_ends("transposed copy", &contiguous(&twos.t()?)?, 2)?;
    let rows = Array::new(&[ROWS as i64 - 1, 0, ROWS as i64 - 2], device)?;
    both_ends("index_select", &twos.index_select(&rows, 0)?, 2)?;
    both_ends("max", &extreme(&twos, &[1], Extreme::Max)?, 2)?;
    both_ends("max of columns", &extreme(&twos, &[0], Extreme::Max)?, 2)?;
    let mixed = Array::cat(&[&ones, &twos], 1)?;
    both_ends("cat", &narrow(&mixed, 1, WIDTH, WIDTH)?, 2)?;
    both_ends("cat", &narrow(&mixed, 1, 0, WIDTH)?, 1)
}

/// Checks that the first and the last rows of a matrix have one value.
fn both_ends(what: &str, x: &Array, value: u8) -> Result<()> {
    let rows = x.dim(0)?;
    let count = rows.min(2);
    for first in [0, rows - count] {
        let values = contiguous(&narrow(x, 0, first, count)?)?.flatten_all()?.to_vec1::<u8>()?;
        if let Some(at) = values.iter().position(|found| *found != value) {
            let found = values[at];
            return Err(format!("{what}: row {first} has {found} at {at}, not {value}").into());
        }
    }
    Ok(())
}
