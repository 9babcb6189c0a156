//! Indexing along an axis: select, gather, scatter, and writing a slice.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::{contiguous, narrow};
use crate::{Array, DType, Element, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// How indices select elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Index select: `y[.., i, ..] = x[.., ids[i], ..]`.
    Row,
    /// Gather: `y[.., i, ..] = x[.., ids[.., i, ..], ..]`.
    Element,
}

/// Kernel of [`Array::index_select`] and [`Array::gather`]. `ids` are i64 or u32. The caller must
/// check that they are in range.
#[derive(Clone)]
struct Take {
    x: Array,
    ids: Array,
    axis: usize,
    by: By,
}

arrays!(Take { x, ids });

impl Kernel for Take {
    const NAME: &'static str = "take";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let rank = if self.by == By::Row { 1 } else { self.x.rank() };
        let fits = |axis: usize| {
            self.by == By::Row || axis == self.axis || self.ids.dims()[axis] == self.x.dims()[axis]
        };
        if self.ids.rank() != rank || self.axis >= self.x.rank() || !(0..rank).all(fits) {
            bail!("ids {:?} along axis {} of {:?}", self.ids.dims(), self.axis, self.x.dims());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        // candle requires contiguous operands.
        let (x, ids) = (self.x.host()?.contiguous()?, self.ids.host()?.contiguous()?);
        let y = match self.by {
            By::Row => x.index_select(&ids, self.axis)?,
            By::Element => x.gather(&ids, self.axis)?,
        };
        Ok(y.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        Self { x: contiguous(&self.x)?, ids: contiguous(&self.ids)?, ..*self }.reference()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.cpu::<f32>())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::take(&self.x, &self.ids, self.axis, self.by == By::Row, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let x = crate::testing::normal64(&[3, 4, 5], 1);
        let ids = |ids: &[i64], dims: &[usize]| {
            Array::from_slice(ids, dims, &crate::Device::Cpu).unwrap()
        };
        vec![
            Self { x: x.clone(), ids: ids(&[2, 0, 2, 1], &[4]), axis: 0, by: By::Row },
            Self { x: x.clone(), ids: ids(&[4, 1], &[2]), axis: 2, by: By::Row },
            Self {
                x: narrow(&narrow(&x, 0, 0, 2).unwrap(), 2, 0, 2).unwrap(),
                ids: ids(&[3, 0, 1, 2], &[2, 1, 2]),
                axis: 1,
                by: By::Element,
            },
        ]
    }
}

/// Kernel of [`Array::scatter_add`].
#[derive(Clone)]
struct ScatterAdd {
    into: Array,
    ids: Array,
    x: Array,
    axis: usize,
}

arrays!(ScatterAdd { into, ids, x });

impl Kernel for ScatterAdd {
    const NAME: &'static str = "scatter_add";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let (into, x) = (self.into.dims(), self.x.dims());
        let fits = |axis: usize| axis == self.axis || into[axis] == x[axis];
        let alike = self.ids.dims() == x && into.len() == x.len();
        if !alike || self.axis >= x.len() || !(0..x.len()).all(fits) {
            bail!("{:?} at ids {:?} into {:?}", self.x.dims(), self.ids.dims(), self.into.dims());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let (into, ids) = (self.into.host()?.contiguous()?, self.ids.host()?.contiguous()?);
        Ok(into.scatter_add(&ids, &self.x.host()?.contiguous()?, self.axis)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let (into, ids, x) =
            (contiguous(&self.into)?, contiguous(&self.ids)?, contiguous(&self.x)?);
        Self { into, ids, x, axis: self.axis }.reference()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.cpu::<f32>())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::scatter_add(&self.into, &self.ids, &self.x, self.axis, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let ids = Array::from_slice(&[3i64, 0, 3, 1, 2, 2], (2, 3), &crate::Device::Cpu).unwrap();
        let (into, x) =
            (crate::testing::normal64(&[2, 4], 1), crate::testing::normal64(&[2, 3], 2));
        vec![Self { into, ids, x, axis: 1 }]
    }
}

/// Kernel of [`Array::slice_set`]: writes `from` into `into` in place, from index `at` of `axis`
/// on.
#[derive(Clone)]
struct SliceSet {
    into: Array,
    from: Array,
    axis: usize,
    at: usize,
}

arrays!(SliceSet { into, from });

impl Kernel for SliceSet {
    const NAME: &'static str = "write";
    type Out = ();

    fn check(&self) -> Result<()> {
        let (a, b) = (self.into.dims(), self.from.dims());
        let fits = |axis: usize| match axis == self.axis {
            true => self.at + b[axis] <= a[axis],
            false => a[axis] == b[axis],
        };
        if a.len() != b.len() || !(0..a.len()).all(fits) || self.into.dtype() != self.from.dtype() {
            bail!("{b:?} from {} on in axis {} of {a:?}", self.at, self.axis);
        }
        Ok(())
    }

    fn reference(&self) -> Result<()> {
        Ok(self.into.host()?.slice_set(&self.from.host()?.contiguous()?, self.axis, self.at)?)
    }

    fn cpu<T: Blas>(&self) -> Result<()> {
        self.reference()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<()>> {
        Some(self.reference())
    }

    #[cfg(test)]
    fn changed(&self) -> Vec<&Array> {
        vec![&self.into]
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<()> {
        cuda::slice_set(&self.into, &self.from, self.axis, self.at)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |from: [usize; 3], axis, at| {
            let (into, from) =
                (crate::testing::normal64(&[2, 5, 3], 1), crate::testing::normal64(&from, 2));
            Self { into, from, axis, at }
        };
        vec![
            of([2, 2, 3], 1, 3),
            of([2, 5, 3], 1, 0),
            of([1, 5, 3], 0, 1),
            of([2, 5, 1], 2, 1),
            of([2, 0, 3], 1, 2),
        ]
    }

    #[cfg(test)]
    fn prepare(&mut self) {
        self.into = self.into.copy().unwrap();
    }
}

impl Array {
    /// Selects entries of `axis` by a vector of indices, i64 or u32:
    /// `y[.., i, ..] = x[.., ids[i], ..]`. The indices must be in range.
    pub fn index_select(&self, ids: &Self, axis: usize) -> Result<Self> {
        run(&Take { x: self.clone(), ids: ids.clone(), axis, by: By::Row })
    }

    /// Gathers elements along `axis`: `y[.., i, ..] = x[.., ids[.., i, ..], ..]`. The indices are
    /// i64 or u32, have the shape of the result, and must be in range. Along the other axes `ids`
    /// may be shorter than the array, of which only the first entries are used then.
    pub fn gather(&self, ids: &Self, axis: usize) -> Result<Self> {
        let mut x = self.clone();
        for (other, size) in ids.dims().iter().enumerate().take(self.rank()) {
            if other != axis && *size < x.dims()[other] {
                x = narrow(&x, other, 0, *size)?;
            }
        }
        run(&Take { x, ids: ids.clone(), axis, by: By::Element })
    }

    /// Returns a copy with the elements of `x` added at the indices `ids` along `axis`. `ids` are
    /// i64, have the shape of `x`, and must be in range.
    pub fn scatter_add(&self, ids: &Self, x: &Self, axis: usize) -> Result<Self> {
        run(&ScatterAdd { into: self.clone(), ids: ids.clone(), x: x.clone(), axis })
    }

    /// Writes `from` into this array in place, from index `at` of `axis` on. This array must be
    /// contiguous, and no other one may share its storage, since it would change too.
    ///
    /// # Errors
    /// If the shapes or types do not fit together.
    pub fn slice_set(&self, from: &Self, axis: usize, at: usize) -> Result<()> {
        run(&SliceSet { into: self.clone(), from: from.clone(), axis, at })
    }

    /// Whether some integers of this array may be outside `range`, as far as can be told without a
    /// copy from a GPU: always true on the CPU, and false for values that a GPU has computed, which
    /// the kernels check themselves.
    pub fn may_leave(&self, range: std::ops::Range<i64>) -> bool {
        let possible = self.possible_values();
        possible.is_some_and(|(least, most)| least < range.start || most >= range.end)
    }

    /// Returns the minimum and maximum of all values as i64; computed on the host. The array must
    /// not be empty.
    pub fn bounds(&self) -> Result<(i64, i64)> {
        let all = self.to_dtype(DType::I64)?.download()?;
        Ok((all.min_all()?.to_scalar()?, all.max_all()?.to_scalar()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, device, normal, on_device, values};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Take>(0.0);
        assert_matches_reference::<ScatterAdd>(1e-7);
        assert_matches_reference::<SliceSet>(0.0);
    }

    /// candle takes the entries from elsewhere if an axis before the last is shorter.
    #[test]
    fn indices_may_be_shorter_along_other_axes() {
        let x = Array::arange(0f64, 24.0, &device()).unwrap().reshape((2, 3, 4)).unwrap();
        let ids = Array::from_slice(&[3i64, 0, 1, 2], (2, 2, 1), &device()).unwrap();
        assert_eq!(values(&x.gather(&ids, 2).unwrap()), [3.0, 4.0, 13.0, 18.0]);
    }

    #[test]
    fn a_part_is_written_in_place() {
        let (into, part) = (on_device(&normal(&[2, 5, 3], 1)), on_device(&normal(&[2, 2, 3], 2)));
        let before = values(&into);
        into.slice_set(&part, 1, 3).unwrap();
        let (after, from) = (values(&into), values(&part));
        for (i, x) in after.iter().enumerate() {
            let (b, row, column) = (i / 15, i / 3 % 5, i % 3);
            assert_eq!(*x, if row < 3 { before[i] } else { from[b * 6 + (row - 3) * 3 + column] });
        }
        assert!(into.slice_set(&part, 1, 4).is_err());
    }
}
