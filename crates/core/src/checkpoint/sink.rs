//! The values of a tensor, or of a PyTorch storage, while they are read from a file into the vector
//! that the tensor will own.

use super::element::Element;
use super::errors::unsupported;
use super::float8;
use super::layout::Layout;
use crate::{Array, DType, Device, Error, Result};
use half::{bf16, f16};
use xt_kernels::memory;
use xt_kernels::memory::alloc;

/// Values in the type of the tensor.
enum Values {
    F64(Vec<f64>),
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    I64(Vec<i64>),
    U8(Vec<u8>),
}

/// Receives the bytes of one tensor or storage, in pieces of any length, and converts them.
pub struct Sink {
    /// The name in errors.
    pub name: String,
    /// The type in the file.
    element: Element,
    /// The values so far.
    values: Values,
    /// The first bytes of a value that is not complete yet.
    carry: [u8; 8],
    /// The number of these bytes.
    carried: usize,
}

/// An empty vector with capacity for `count` values; an error if memory does not suffice.
pub(super) fn with_capacity<T>(count: usize, dtype: DType) -> Result<Vec<T>> {
    alloc::check(&[count], dtype)?;
    let mut values = Vec::new();
    match values.try_reserve_exact(count) {
        Ok(()) => Ok(values),
        // the check above should have failed; another thread may have allocated since
        Err(e) => Err(Error::Checkpoint(format!("{count} values do not fit into memory: {e}"))),
    }
}

/// Copies the elements of a view, in row-major order.
fn gather<T: Copy>(from: &[T], layout: &Layout, dtype: DType) -> Result<Vec<T>> {
    let mut values = with_capacity(layout.count(), dtype)?;
    if layout.count() == 0 {
        return Ok(values);
    }
    let (size, stride) =
        (layout.shape.last().copied().unwrap_or(1), layout.strides.last().copied().unwrap_or(1));
    for start in layout.rows() {
        values.extend((0..size).filter_map(|i| from.get(start + i * stride)));
    }
    Ok(values)
}

/// Converts `bytes`, `N` per value, and appends the values.
fn read<T, const N: usize>(to: &mut Vec<T>, bytes: &[u8], value: impl Fn([u8; N]) -> T) {
    to.extend(bytes.as_chunks::<N>().0.iter().map(|b| value(*b)));
}

/// Returns an error if memory does not suffice for all tensors together, given by type and number
/// of elements.
pub fn check_memory(tensors: impl Iterator<Item = (Element, u64)>, widen: bool) -> Result<()> {
    let bytes = tensors
        .map(|(element, count)| count.saturating_mul(element.dtype(widen).size_in_bytes() as u64));
    Ok(memory::check("what is in this file", bytes.fold(0, u64::saturating_add))?)
}

impl Sink {
    /// A sink for `count` values, with its memory allocated. `widen`: half precision becomes f32.
    pub fn new(name: String, element: Element, count: usize, widen: bool) -> Result<Self> {
        let dtype = element.dtype(widen);
        let values = match dtype {
            DType::F64 => Values::F64(with_capacity(count, dtype)?),
            DType::F16 => Values::F16(with_capacity(count, dtype)?),
            DType::BF16 => Values::Bf16(with_capacity(count, dtype)?),
            DType::I64 => Values::I64(with_capacity(count, dtype)?),
            DType::U8 => Values::U8(with_capacity(count, dtype)?),
            _ => Values::F32(with_capacity(count, dtype)?),
        };
        Ok(Self { name, element, values, carry: [0; 8], carried: 0 })
    }

    /// Takes the next bytes. The caller passes at most as many as the sink was created for.
    ///
    /// # Errors
    /// `not_available` if a value exceeds the range of i64.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        let size = self.element.size();
        if self.carried > 0 {
            let (first, rest) = bytes.split_at(bytes.len().min(size - self.carried));
            self.carry[self.carried..self.carried + first.len()].copy_from_slice(first);
            self.carried += first.len();
            bytes = rest;
            if self.carried < size {
                return Ok(());
            }
            let carry = self.carry;
            self.extend(&carry[..size])?;
        }
        let (whole, rest) = bytes.split_at(bytes.len() / size * size);
        self.extend(whole)?;
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carried = rest.len();
        Ok(())
    }

    /// Converts and appends complete values.
    fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        match (&mut self.values, self.element) {
            (Values::F64(to), _) => read(to, bytes, f64::from_le_bytes),
            (Values::F32(to), Element::F16) => read(to, bytes, |b| f16::from_le_bytes(b).to_f32()),
            (Values::F32(to), Element::Bf16) => {
                read(to, bytes, |b| bf16::from_le_bytes(b).to_f32())
            }
            (Values::F32(to), Element::F8(format)) => {
                let table = float8::table(format);
                to.extend(bytes.iter().map(|b| table[usize::from(*b)]));
            }
            (Values::F32(to), _) => read(to, bytes, f32::from_le_bytes),
            (Values::F16(to), _) => read(to, bytes, f16::from_le_bytes),
            (Values::Bf16(to), _) => read(to, bytes, bf16::from_le_bytes),
            (Values::I64(to), Element::I32) => read(to, bytes, |b| i32::from_le_bytes(b).into()),
            (Values::I64(to), Element::I16) => read(to, bytes, |b| i16::from_le_bytes(b).into()),
            (Values::I64(to), Element::I8) => read(to, bytes, |b| i8::from_le_bytes(b).into()),
            (Values::I64(to), Element::U32) => read(to, bytes, |b| u32::from_le_bytes(b).into()),
            (Values::I64(to), Element::U16) => read(to, bytes, |b| u16::from_le_bytes(b).into()),
            (Values::I64(_), Element::U64)
                if bytes.as_chunks::<8>().0.iter().any(|b| b[7] & 0x80 != 0) =>
            {
                return Err(unsupported(format!(
                    "{} has values from 2^63 on, which i64 does not hold",
                    self.name
                )));
            }
            (Values::I64(to), _) => read(to, bytes, i64::from_le_bytes),
            (Values::U8(to), Element::Bool) => to.extend(bytes.iter().map(|b| u8::from(*b != 0))),
            (Values::U8(to), _) => to.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// Whether the values are booleans.
    pub fn is_boolean(&self) -> bool {
        self.element == Element::Bool
    }

    /// The bytes of a sink of u8.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        match self.values {
            Values::U8(bytes) => Ok(bytes),
            _ => Err(Error::Internal("a sink of bytes was expected".into())),
        }
    }

    /// All values as an array with one axis, without a copy.
    pub fn into_array(self) -> Result<Array> {
        let (cpu, count) = (&Device::Cpu, self.len());
        Ok(match self.values {
            Values::F64(v) => Array::from_vec(v, count, cpu)?,
            Values::F32(v) => Array::from_vec(v, count, cpu)?,
            Values::F16(v) => Array::from_vec(v, count, cpu)?,
            Values::Bf16(v) => Array::from_vec(v, count, cpu)?,
            Values::I64(v) => Array::from_vec(v, count, cpu)?,
            Values::U8(v) => Array::from_vec(v, count, cpu)?,
        })
    }

    /// A copy of the elements that `layout` selects, as an array with one axis.
    pub fn view(&self, layout: &Layout) -> Result<Array> {
        let (cpu, count) = (&Device::Cpu, layout.count());
        Ok(match &self.values {
            Values::F64(v) => Array::from_vec(gather(v, layout, DType::F64)?, count, cpu)?,
            Values::F32(v) => Array::from_vec(gather(v, layout, DType::F32)?, count, cpu)?,
            Values::F16(v) => Array::from_vec(gather(v, layout, DType::F16)?, count, cpu)?,
            Values::Bf16(v) => Array::from_vec(gather(v, layout, DType::BF16)?, count, cpu)?,
            Values::I64(v) => Array::from_vec(gather(v, layout, DType::I64)?, count, cpu)?,
            Values::U8(v) => Array::from_vec(gather(v, layout, DType::U8)?, count, cpu)?,
        })
    }

    /// The number of values so far.
    fn len(&self) -> usize {
        match &self.values {
            Values::F64(v) => v.len(),
            Values::F32(v) => v.len(),
            Values::F16(v) => v.len(),
            Values::Bf16(v) => v.len(),
            Values::I64(v) => v.len(),
            Values::U8(v) => v.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(offset: usize, shape: &[usize], strides: &[usize]) -> Layout {
        Layout { offset, shape: shape.into(), strides: strides.into() }
    }

    #[test]
    fn views_are_read_by_their_strides() {
        let from: Vec<u8> = (0..24).collect();
        let of = |l: Layout| gather(&from, &l, DType::U8).unwrap();
        assert_eq!(of(layout(0, &[2, 3], &[1, 2])), [0, 2, 4, 1, 3, 5]);
        assert_eq!(of(layout(5, &[2, 2, 2], &[12, 0, 3])), [5, 8, 5, 8, 17, 20, 17, 20]);
        assert_eq!(of(layout(7, &[], &[])), [7]);
        assert!(of(layout(0, &[3, 0], &[1, 1])).is_empty());
    }
}
