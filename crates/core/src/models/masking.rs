//! Grids with one value per position of each row, and random selections of positions.

use crate::ids::dtype_name;
use crate::{Array, DType, Device, Error, Result, Rng, Tensor};

/// Values in row-major order, `(rows, width)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid<T> {
    values: Vec<T>,
    width: usize,
}

impl<T: Copy> Grid<T> {
    /// A grid of `values` in row-major order.
    pub fn new(values: Vec<T>, width: usize) -> Self {
        Self { values, width }
    }

    /// A grid of the values `f(row, column)`.
    pub fn from_fn(rows: usize, width: usize, f: impl Fn(usize, usize) -> T) -> Self {
        let f = &f;
        Self { values: (0..rows).flat_map(|r| (0..width).map(move |i| f(r, i))).collect(), width }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The value at `(row, i)`.
    ///
    /// # Panics
    ///
    /// If the position is out of range.
    pub fn at(&self, row: usize, i: usize) -> T {
        self.values[row * self.width + i]
    }

    /// A copy of the values in row-major order.
    pub fn values(&self) -> Vec<T> {
        self.values.clone()
    }

    /// Applies `f` to each value.
    pub fn map<U: Copy>(&self, f: impl Fn(T) -> U) -> Grid<U> {
        Grid::new(self.values.iter().map(|v| f(*v)).collect(), self.width)
    }

    /// Applies `f` to the values of two grids of the same shape.
    pub fn zip<U: Copy, V: Copy>(&self, other: &Grid<U>, f: impl Fn(T, U) -> V) -> Grid<V> {
        Grid::new(
            self.values.iter().zip(&other.values).map(|(a, b)| f(*a, *b)).collect(),
            self.width,
        )
    }

    /// The values of `other` where `mask` is true, else those of this grid.
    pub fn replace_where(&self, mask: &Grid<bool>, other: &Grid<T>) -> Grid<T> {
        let pairs = self.values.iter().zip(&other.values).zip(&mask.values);
        Grid::new(pairs.map(|((a, b), other)| if *other { *b } else { *a }).collect(), self.width)
    }
}

impl Grid<i64> {
    /// Copies token ids, i64 `(rows, width)`, into a grid.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `x` is not i64.
    pub fn from_tensor(x: &Tensor) -> Result<Self> {
        if x.dtype() != DType::I64 {
            let kind = dtype_name(x);
            return Error::shape(format!(
                "token ids must be i64, got {kind}: make them with {{ dtype: 'i64' }}"
            ));
        }
        xt_kernels::memory::alloc::check(&[x.elem_count(), 2], DType::I64)?;
        let values = x.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        Ok(Self::new(values, x.dim(1)))
    }

    /// The ids as an i64 tensor `(rows, width)` on `device`.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        let array = Array::from_vec(self.values.clone(), (self.rows(), self.width), &Device::Cpu)?;
        Ok(Tensor::constant(array.to_device(device)?))
    }
}

impl Grid<f64> {
    /// Copies numbers of any type, `(rows, width)`, into a grid.
    pub fn from_tensor_f64(x: &Tensor) -> Result<Self> {
        xt_kernels::memory::alloc::check(&[x.elem_count(), 2], DType::F64)?;
        let values =
            x.array()?.to_dtype(DType::F64)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        Ok(Self::new(values, x.dim(1)))
    }

    /// The numbers as a tensor `(rows, width)` of the type and on the device of `like`.
    pub fn to_tensor_like(&self, like: &Tensor) -> Result<Tensor> {
        let array = Array::from_vec(self.values.clone(), (self.rows(), self.width), &Device::Cpu)?;
        Ok(Tensor::constant(array.to_dtype(like.dtype())?.to_device(&like.device())?))
    }
}

/// The columns `0..width`, sorted by `better`, best first.
fn sorted_columns(width: usize, better: impl Fn(usize, usize) -> std::cmp::Ordering) -> Vec<usize> {
    let mut columns: Vec<usize> = (0..width).collect();
    columns.sort_by(|a, b| better(*a, *b));
    columns
}

/// A random permutation of `0..width` in each row.
pub fn shuffled(rows: usize, width: usize, rng: &Rng) -> Grid<usize> {
    let noise = rng.stream().normal(rows * width);
    let row = |r: usize| {
        sorted_columns(width, |a, b| noise[r * width + a].total_cmp(&noise[r * width + b]))
    };
    Grid::new((0..rows).flat_map(row).collect(), width)
}

/// Selects a random share `p` of the positions that are true in `mask`, rounded up in each row.
pub fn random_subset(mask: &Grid<bool>, p: f64, rng: &Rng) -> Grid<bool> {
    let noise = Grid::new(rng.stream().uniform(mask.len()), mask.width);
    let mut chosen = mask.map(|_| false);
    for r in 0..mask.rows() {
        let count = (0..mask.width).filter(|i| mask.at(r, *i)).count() as f64 * p;
        let ranked = sorted_columns(mask.width, |a, b| noise.at(r, a).total_cmp(&noise.at(r, b)));
        let inside = ranked.into_iter().filter(|i| mask.at(r, *i));
        inside.take(count.ceil() as usize).for_each(|i| chosen.values[r * mask.width + i] = true);
    }
    chosen
}

/// Selects the positions of the `count` largest scores of each row.
pub fn top_scores(scores: &Grid<f64>, count: usize) -> Grid<bool> {
    let mut chosen = scores.map(|_| false);
    for r in 0..scores.rows() {
        let ranked =
            sorted_columns(scores.width, |a, b| scores.at(r, b).total_cmp(&scores.at(r, a)));
        ranked.into_iter().take(count).for_each(|i| chosen.values[r * scores.width + i] = true);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_choices_keep_their_numbers() {
        let rng = Rng::new(1, 1);
        let ranks = shuffled(3, 7, &rng);
        for r in 0..3 {
            let mut row: Vec<usize> = (0..7).map(|i| ranks.at(r, i)).collect();
            row.sort_unstable();
            assert_eq!(row, (0..7).collect::<Vec<_>>());
        }
        let mask = Grid::from_fn(2, 10, |r, i| i < 4 + 4 * r);
        let half = random_subset(&mask, 0.5, &rng);
        let count = |g: &Grid<bool>, r: usize| (0..10).filter(|i| g.at(r, *i)).count();
        assert_eq!((count(&half, 0), count(&half, 1)), (2, 4));
        assert!(half.zip(&mask, |a, b| !a || b).values().iter().all(|v| *v));
        let best = top_scores(&Grid::new(vec![3.0, 1.0, 2.0, 5.0], 4), 2);
        assert_eq!(best.values(), [true, false, false, true]);
    }
}
