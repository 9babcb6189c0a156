//! The gradients of the layer, accumulated from blocks of rows.

use super::inputs::{Gradients, NeedsGrad};
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::product_into;
use crate::host::gemm::view::{Init, View};
use crate::host::parallel::{product_parallelism, zeros};
use crate::ops::reduce::{add_assign, column_sums};
use crate::Result;

/// The gradients accumulated so far; empty where not requested.
pub(super) struct GradientSums<T> {
    needs: NeedsGrad,
    /// (rows, in)
    x: Vec<T>,
    /// (classes, in)
    weight: Vec<T>,
    /// (classes)
    bias: Vec<T>,
}

impl<T: Blas> GradientSums<T> {
    pub fn new(needs: NeedsGrad, [rows, width, inner]: [usize; 3]) -> Result<Self> {
        let of = |needed: bool, count: usize| zeros(if needed { count } else { 0 });
        let (x, weight) = (of(needs.x, rows * inner)?, of(needs.weight, width * inner)?);
        Ok(Self { needs, x, weight, bias: of(needs.bias, width)? })
    }

    /// Accumulates the contribution of `count` rows, starting at row `first`. `grad` is the
    /// gradient of their logits, (count, classes); `x` is (count, in), `weight` (classes, in).
    pub fn add(
        &mut self,
        first: usize,
        count: usize,
        grad: &[T],
        (x, weight): (&[T], &[T]),
    ) -> Result<()> {
        let (width, inner) = (grad.len() / count, x.len() / count);
        let threads = product_parallelism(count, width, inner);
        if self.needs.x {
            let dx = &mut self.x[first * inner..][..count * inner];
            let (a, b) = (View::row_major(grad, width), View::row_major(weight, inner));
            product_into(dx, inner, (count, inner, width), a, b, T::ONE, Init::Zero, threads);
        }
        if self.needs.weight {
            let (a, b) = (View::transposed(grad, width), View::row_major(x, inner));
            product_into(
                &mut self.weight,
                inner,
                (width, inner, count),
                a,
                b,
                T::ONE,
                Init::Output,
                threads,
            );
        }
        if self.needs.bias {
            add_assign(&mut self.bias, &column_sums(grad, width));
        }
        Ok(())
    }

    /// Returns the gradients as arrays.
    pub fn into_gradients(self, [rows, width, inner]: [usize; 3]) -> Result<Gradients> {
        let Self { needs, x, weight, bias } = self;
        Ok(Gradients {
            x: needs.x.then(|| host::array(x, (rows, inner))).transpose()?,
            weight: needs.weight.then(|| host::array(weight, (width, inner))).transpose()?,
            bias: needs.bias.then(|| host::array(bias, width)).transpose()?,
        })
    }
}
