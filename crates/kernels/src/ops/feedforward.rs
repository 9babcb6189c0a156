//! The first linear layer of a feed-forward network, fused with the activation or gated unit that
//! follows: rows are activated while the results of the product are in the cache.
//!
//! Shapes:
//!
//! - `x`, the input, is (.., in)
//! - weight and bias of the first layer are (wide, in) and (wide)
//! - `up`, the output of the first layer, is (.., wide)
//! - `hidden`, the result of [`Inner`], is (.., inner), where wide is inner, or 2 inner for a gated
//!   unit
//! - the weight of the second layer is (out, inner)

use crate::array::{HostArray, HostResult};
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::jobs::SendPtr;
use crate::host::gemm::product::new_product;
use crate::host::gemm::view::{Epilogue, Term, View};
use crate::host::gemv::layers;
use crate::host::{self, with_width, Real};
use crate::kernel::{arrays, no_cuda, run, Kernel};
use crate::memory::alloc;
use crate::ops::activation::{self, Activation};
use crate::ops::layout::contiguous;
use crate::ops::{glu, linear};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use std::mem::MaybeUninit;

/// The function between the two linear layers.
#[derive(Clone, Copy, Debug)]
pub enum Inner {
    /// An element-wise activation.
    Activation(Activation),
    /// A gated linear unit with this activation, see [`crate::ops::glu`].
    Glu(Activation),
}

impl Inner {
    /// The ratio of the width of the input to the width of the output.
    fn expansion(self) -> usize {
        match self {
            Self::Activation(_) => 1,
            Self::Glu(_) => 2,
        }
    }

    /// Computes `hidden` from `up`.
    fn on_host(self, up: &HostArray) -> HostResult<HostArray> {
        match self {
            Self::Activation(kind) => activation::on_host(up, kind),
            Self::Glu(kind) => glu::on_host(up, kind),
        }
    }

    /// Computes the gradient of `up` from `grad`, the gradient of `hidden`.
    fn backward_on_host(self, up: &HostArray, grad: &HostArray) -> HostResult<HostArray> {
        match self {
            Self::Activation(kind) => grad * activation::slope_on_host(up, kind)?,
            Self::Glu(kind) => glu::backward_on_host(up, grad, kind),
        }
    }

    /// Computes `hidden` from `up` in a separate pass.
    fn apply(self, up: &Array) -> Result<Array> {
        match self {
            Self::Activation(kind) => activation::forward(up, kind),
            Self::Glu(kind) => glu::forward(up, kind),
        }
    }
}

/// Kernel of [`hidden`].
#[derive(Clone)]
struct Hidden {
    x: Array,
    weight: Array,
    bias: Option<Array>,
    inner: Inner,
}

/// Kernel of [`up_and_hidden`].
#[derive(Clone)]
struct UpAndHidden {
    of: Hidden,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    /// Gradient of the output of the second layer, (.., out).
    grad: Array,
    /// Weight of the second layer, (out, inner).
    weight: Array,
    /// Output of the first layer, (.., wide).
    up: Array,
    inner: Inner,
}

arrays! {
    Hidden { x, weight, bias }
    UpAndHidden { of }
    Backward { grad, weight, up }
}

impl Hidden {
    /// Checks the shapes of the operands.
    fn check_shapes(&self) -> Result<()> {
        let Self { x, weight, bias, inner } = self;
        let (wide, width) = weight.dims2()?;
        let bias = bias.as_ref().map(Array::dims);
        if x.dims().last() != Some(&width) || bias.is_some_and(|bias| bias != [wide]) {
            bail!(
                "a layer with weights {:?} and bias {bias:?} does not take {:?}",
                weight.dims(),
                x.dims()
            );
        }
        if !wide.is_multiple_of(inner.expansion()) {
            bail!("a gated unit of rows of {wide}, which have no halves");
        }
        Ok(())
    }

    /// Reference implementation: returns `up` and `hidden`.
    fn on_host(&self) -> Result<(HostArray, HostArray)> {
        let bias = self.bias.as_ref().map(Array::host).transpose()?;
        let up = linear::on_host(self.x.host()?, self.weight.host()?, bias)?;
        let hidden = self.inner.on_host(&up)?;
        Ok((up, hidden))
    }

    /// Computes `up`, and `hidden` in a separate pass.
    fn unfused(&self) -> Result<(Array, Array)> {
        let up = linear::forward(&self.x, &self.weight, self.bias.as_ref())?;
        let hidden = self.inner.apply(&up)?;
        Ok((up, hidden))
    }

    /// The activation to fuse into the matrix product, if any. A product of few rows uses a kernel
    /// without an epilogue, and the two halves of a row of a gated unit are seldom in the same
    /// block of the product.
    fn fused(&self) -> Option<Activation> {
        match self.inner {
            Inner::Activation(kind) if host::rows_and_width(&self.x).0 > layers::MOST_ROWS => {
                Some(kind)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
const ALL: [Inner; 4] = [
    Inner::Activation(Activation::Gelu),
    Inner::Activation(Activation::ReluSquared),
    Inner::Glu(Activation::Silu),
    Inner::Glu(Activation::Gelu),
];

/// Shape of the rows, and (in, inner, out): few and many rows, several blocks along each axis, no
/// rows.
#[cfg(test)]
const SIZES: [(&[usize], [usize; 3]); 6] = [
    (&[2, 2], [5, 3, 7]),
    (&[17], [1, 1, 1]),
    (&[3, 40], [9, 30, 20]),
    (&[150], [600, 130, 33]),
    (&[2, 70], [40, 1100, 530]),
    (&[0], [4, 6, 2]),
];

impl Kernel for Hidden {
    const NAME: &'static str = "feedforward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        self.check_shapes()
    }

    fn reference(&self) -> Result<Array> {
        Ok(self.on_host()?.1.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        match self.fused() {
            Some(kind) => linear_with_epilogue::<T>(
                &self.x,
                &self.weight,
                self.bias.as_ref(),
                &activation_epilogue::<T>(kind),
            ),
            None => Ok(self.unfused()?.1),
        }
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(rows, [inputs, width, _]): (&[usize], [usize; 3])| {
            let with = |inner: Inner| {
                let wide = width * inner.expansion();
                let (x, weight) =
                    (normal64(&[rows, &[inputs]].concat(), 1), normal64(&[wide, inputs], 2));
                [None, Some(normal64(&[wide], 3))].map(|bias| Self {
                    x: x.clone(),
                    weight: weight.clone(),
                    bias,
                    inner,
                })
            };
            ALL.into_iter().flat_map(with).collect::<Vec<_>>()
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

impl Kernel for UpAndHidden {
    const NAME: &'static str = "feedforward, training";
    type Out = (Array, Array);

    fn check(&self) -> Result<()> {
        self.of.check_shapes()
    }

    fn reference(&self) -> Result<(Array, Array)> {
        let (up, hidden) = self.of.on_host()?;
        Ok((up.into(), hidden.into()))
    }

    fn cpu<T: Blas>(&self) -> Result<(Array, Array)> {
        let Hidden { x, weight, bias, .. } = &self.of;
        match self.of.fused() {
            Some(kind) => fused_up_and_hidden::<T>(x, weight, bias.as_ref(), kind),
            None => self.of.unfused(),
        }
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        Hidden::cases().into_iter().map(|of| Self { of }).collect()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "feedforward backward";
    type Out = (Array, Array);

    fn check(&self) -> Result<()> {
        let Self { grad, weight, up, inner } = self;
        let (out, width) = weight.dims2()?;
        if grad.dims().last() != Some(&out)
            || up.dims() != with_width(grad, inner.expansion() * width)
        {
            bail!(
                "a gradient {:?} for weights {:?} and {:?}",
                grad.dims(),
                weight.dims(),
                up.dims()
            );
        }
        Ok(())
    }

    fn reference(&self) -> Result<(Array, Array)> {
        let (grad, weight, up) = (self.grad.host()?, self.weight.host()?, self.up.host()?);
        let dhidden = linear::on_host(grad, &weight.t()?, None)?;
        Ok((self.inner.backward_on_host(up, &dhidden)?.into(), self.inner.on_host(up)?.into()))
    }

    fn cpu<T: Blas>(&self) -> Result<(Array, Array)> {
        backward_cpu::<T>(&self.grad, &self.weight, &self.up, self.inner)
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(rows, [_, width, out]): (&[usize], [usize; 3])| {
            ALL.map(|inner| {
                let up = normal64(&[rows, &[width * inner.expansion()]].concat(), 4);
                let (grad, weight) =
                    (normal64(&[rows, &[out]].concat(), 5), normal64(&[out, width], 6));
                Self { grad, weight, up, inner }
            })
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

/// Computes `inner(x Wᵀ + bias)` for `x` (.., in). Returns `hidden`, (.., inner).
///
/// # Errors
/// If the shapes do not fit together, or a gated unit gets rows of odd width.
pub fn hidden(x: &Array, weight: &Array, bias: Option<&Array>, inner: Inner) -> Result<Array> {
    run(&Hidden { x: x.clone(), weight: weight.clone(), bias: bias.cloned(), inner })
}

/// Computes `up = x Wᵀ + bias`, (.., wide), and `hidden = inner(up)`, (.., inner), for training.
///
/// # Errors
/// As for [`hidden`].
pub fn up_and_hidden(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    inner: Inner,
) -> Result<(Array, Array)> {
    run(&UpAndHidden {
        of: Hidden { x: x.clone(), weight: weight.clone(), bias: bias.cloned(), inner },
    })
}

/// Computes the gradient of `up`, (.., wide), from `grad`, the gradient of the output of the second
/// layer, (.., out), and `weight`, the weight of the second layer. Also recomputes `hidden`,
/// (.., inner), from which the gradient of `weight` is computed.
///
/// # Errors
/// If the shapes do not fit together.
pub fn backward(grad: &Array, weight: &Array, up: &Array, inner: Inner) -> Result<(Array, Array)> {
    run(&Backward { grad: grad.clone(), weight: weight.clone(), up: up.clone(), inner })
}

/// Computes a linear layer with the epilogue `epilogue`.
fn linear_with_epilogue<T: Blas>(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    epilogue: Epilogue<T>,
) -> Result<Array> {
    let (x, weight) = (contiguous(x)?, contiguous(weight)?);
    let ((rows, inner), (out, _)) = (host::rows_and_width(&x), weight.dims2()?);
    let (xs, ws) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?);
    let bias = bias.map(contiguous).transpose()?;
    let bs = bias.as_ref().map(host::slice::<T>).transpose()?;
    let term = Term { k: inner, a: View::row_major(&xs, inner), b: View::transposed(&ws, inner) };
    host::array(new_product((rows, out), term, bs.as_deref(), Some(epilogue))?, with_width(&x, out))
}

/// An epilogue that applies an activation in place.
fn activation_epilogue<T: Real>(kind: Activation) -> impl Fn(usize, usize, &mut [T]) + Sync {
    let act = kind.functions::<T>().value;
    move |_, _, y| {
        for y in y.chunks_mut(CHUNK) {
            let mut x = [T::ZERO; CHUNK];
            x[..y.len()].copy_from_slice(y);
            act(&x[..y.len()], as_uninit(y));
        }
    }
}

/// Number of elements that are copied at a time: a few SIMD vectors.
const CHUNK: usize = 128;

/// Computes `up`, and `hidden` in the epilogue of the product.
fn fused_up_and_hidden<T: Blas>(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    kind: Activation,
) -> Result<(Array, Array)> {
    let ((rows, _), (out, _)) = (host::rows_and_width(x), weight.dims2()?);
    let act = kind.functions::<T>().value;
    let mut hidden = SecondOutput::<T>::new(rows, out)?;
    let into = hidden.rows();
    let up = linear_with_epilogue::<T>(x, weight, bias, &|row, column, y| {
        // SAFETY: the product calls the epilogue once for each element, and has the size of
        // `hidden`, so the slices are inside of it and do not overlap.
        act(y, unsafe { into.at(row, column, y.len()) })
    })?;
    // SAFETY: the epilogue was called for, and has written, every element.
    Ok((up, host::array(unsafe { hidden.written() }, with_width(x, out))?))
}

fn backward_cpu<T: Blas>(
    grad: &Array,
    weight: &Array,
    up: &Array,
    inner: Inner,
) -> Result<(Array, Array)> {
    let (grad, weight, up) = (contiguous(grad)?, contiguous(weight)?, contiguous(up)?);
    let ((rows, out), (_, width)) = (host::rows_and_width(&grad), weight.dims2()?);
    let (gs, ws, ups) =
        (host::slice::<T>(&grad)?, host::slice::<T>(&weight)?, host::slice::<T>(&up)?);
    let wide = inner.expansion() * width;
    let ups: &[T] = &ups;
    let mut d = SecondOutput::<T>::new(rows, wide)?;
    let into = d.rows();
    let from = |row: usize, column: usize, count: usize| &ups[row * wide + column..][..count];
    let activation = |kind: Activation| {
        let both = kind.functions::<T>().both;
        move |row: usize, column: usize, g: &mut [T]| {
            // SAFETY: the product calls the epilogue once for each element, and has the size of
            // `d`, so the slices are inside of it and do not overlap.
            let d = unsafe { into.at(row, column, g.len()) };
            both(from(row, column, g.len()), g, d);
        }
    };
    let gated = |kind: Activation| {
        let functions = kind.functions::<T>();
        move |row: usize, column: usize, g: &mut [T]| {
            let n = g.len();
            let halves = (from(row, column, n), from(row, width + column, n));
            // SAFETY: as above; `d` has twice the width of the product, and its two halves do not
            // overlap.
            let d = unsafe { (into.at(row, column, n), into.at(row, width + column, n)) };
            glu::backward_row(&functions, halves, g, d);
        }
    };
    let term = Term { k: out, a: View::row_major(&gs, out), b: View::row_major(&ws, width) };
    let hidden = match inner {
        Inner::Activation(kind) => new_product((rows, width), term, None, Some(&activation(kind)))?,
        Inner::Glu(kind) => new_product((rows, width), term, None, Some(&gated(kind)))?,
    };
    // SAFETY: the epilogue was called for, and has written, every element.
    Ok((
        host::array(unsafe { d.written() }, up.dims())?,
        host::array(hidden, with_width(&grad, width))?,
    ))
}

/// Reinterprets initialised numbers as uninitialised memory to write to.
fn as_uninit<T: Real>(y: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: `MaybeUninit<T>` has the layout of `T`, and the functions that get the slice only
    // write initialised numbers.
    unsafe { std::slice::from_raw_parts_mut(y.as_mut_ptr().cast(), y.len()) }
}

/// A second output of a matrix product, written by its [`Epilogue`].
struct SecondOutput<T> {
    values: Vec<T>,
    count: usize,
    width: usize,
}

impl<T: Real> SecondOutput<T> {
    /// Allocates (rows, width), uninitialised.
    fn new(rows: usize, width: usize) -> Result<Self> {
        alloc::check(&[rows, width], T::DTYPE)?;
        Ok(Self { values: alloc::with_capacity::<T>(rows * width)?, count: rows * width, width })
    }

    /// A pointer to the rows, for the epilogue.
    fn rows(&mut self) -> OutputRows<T> {
        OutputRows { first: SendPtr(self.values.as_mut_ptr()), width: self.width }
    }

    /// Returns the values.
    ///
    /// # Safety
    /// All elements must have been written.
    unsafe fn written(mut self) -> Vec<T> {
        // SAFETY: the caller guarantees that all `count` elements were written.
        unsafe { self.values.set_len(self.count) };
        self.values
    }
}

/// Rows of an output that several threads write, each thread different elements.
#[derive(Clone, Copy)]
struct OutputRows<T> {
    first: SendPtr<T>,
    width: usize,
}

impl<T: Real> OutputRows<T> {
    /// `count` elements of row `row` from column `column` on.
    ///
    /// # Safety
    /// The elements must be inside of the allocation, which must live for `'a`, and nothing else
    /// may access them during that time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn at<'a>(&self, row: usize, column: usize, count: usize) -> &'a mut [MaybeUninit<T>] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.first.0.add(row * self.width + column).cast(),
                count,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, normal};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Hidden>(1e-5);
        assert_matches_reference::<UpAndHidden>(1e-5);
        assert_matches_reference::<Backward>(1e-5);
    }

    #[test]
    fn misfitting_shapes_are_refused() {
        let inner = Inner::Glu(Activation::Gelu);
        let message =
            backward(&normal(&[20, 3], 1), &normal(&[3, 4], 2), &normal(&[20, 4], 3), inner)
                .unwrap_err();
        assert!(message.to_string().contains("[20, 4]"), "{message}");
        assert!(hidden(&normal(&[2, 3], 1), &normal(&[5, 3], 2), None, inner).is_err());
    }
}
