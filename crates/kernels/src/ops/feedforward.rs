//! What stands between the two linear layers of a feed-forward network, done to rows of their products while these are in a cache.
//!
//! Shapes: `x` is (.., in); the first layer's weight (wide, in) and bias (wide); `up`, what it gives, (.., wide); `hidden`, [`Inner`] of `up`, (.., inner),
//! where wide is inner, or twice that for a gated unit; the second layer's weight is (out, inner).

use crate::host::gemm::blas::Blas;
use crate::host::gemm::jobs::Target;
use crate::host::gemm::product::fresh;
use crate::host::gemm::view::{Finish, Term, View};
use crate::host::gemv::layers;
use crate::host::{self, dispatch, Real};
use crate::memory::alloc;
use crate::ops::activation::{self, Activation};
use crate::ops::glu;
use crate::ops::layout::contiguous;
use crate::ops::linear::{self, with_width};
use crate::{Array, Result};
use std::mem::MaybeUninit;

/// What is done to each row.
#[derive(Clone, Copy, Debug)]
pub enum Inner {
    Activation(Activation),
    /// A gated unit, see [`crate::ops::glu`].
    Glu(Activation),
}

impl Inner {
    pub fn forward(self, up: &Array) -> Result<Array> {
        match self {
            Self::Activation(kind) => activation::forward(up, kind),
            Self::Glu(kind) => glu::forward(up, kind),
        }
    }

    /// The derivative at `up`, times `grad`.
    pub fn backward(self, up: &Array, grad: &Array) -> Result<Array> {
        match self {
            Self::Activation(kind) => activation::backward(up, grad, kind),
            Self::Glu(kind) => glu::backward(up, grad, kind),
        }
    }
}

/// `inner(x Wᵀ + bias)`.
pub fn hidden(x: &Array, weight: &Array, bias: Option<&Array>, inner: Inner) -> Result<Array> {
    let plain = || inner.forward(&linear::forward(x, weight, bias)?);
    match inner {
        Inner::Activation(kind) if !few(x) => {
            dispatch!(x, T => layer::<T>(x, weight, bias, &in_place::<T>(kind)), else plain())
        }
        _ => plain(),
    }
}

/// `x Wᵀ + bias`, and `inner` of it.
pub fn up_and_hidden(x: &Array, weight: &Array, bias: Option<&Array>, inner: Inner) -> Result<(Array, Array)> {
    let plain = || {
        let up = linear::forward(x, weight, bias)?;
        let hidden = inner.forward(&up)?;
        Ok((up, hidden))
    };
    match inner {
        Inner::Activation(kind) if !few(x) => {
            dispatch!(x, T => activated::<T>(x, weight, bias, kind), else plain())
        }
        // both halves of a row are seldom in one block
        _ => plain(),
    }
}

/// From the gradient of the second layer's result, (.., out), that of `up`, and `hidden` again, of which the gradient of the second weight is made.
pub fn backward(grad: &Array, weight: &Array, up: &Array, inner: Inner) -> Result<(Array, Array)> {
    dispatch!(grad, T => backward_cpu::<T>(grad, weight, up, inner), else backward_reference(grad, weight, up, inner))
}

/// [`backward`] one after the other.
pub fn backward_reference(grad: &Array, weight: &Array, up: &Array, inner: Inner) -> Result<(Array, Array)> {
    Ok((inner.backward(up, &linear::grad_input(grad, weight)?)?, inner.forward(up)?))
}

/// Few rows have a product of their own.
fn few(x: &Array) -> bool {
    host::rows_and_width(x).0 <= layers::MOST_ROWS
}

/// The linear layer with what `finish` makes of it.
fn layer<T: Blas>(x: &Array, weight: &Array, bias: Option<&Array>, finish: Finish<T>) -> Result<Array> {
    let (x, weight) = (contiguous(x)?, contiguous(weight)?);
    let ((rows, inner), (out, _)) = (host::rows_and_width(&x), weight.dims2()?);
    let (xs, ws) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?);
    let bias = bias.map(contiguous).transpose()?;
    let bs = bias.as_ref().map(host::slice::<T>).transpose()?;
    let term = Term { k: inner, a: View::row_major(&xs, inner), b: View::transposed(&ws, inner) };
    host::array(fresh((rows, out), term, bs.as_deref(), Some(finish))?, with_width(&x, out))
}

fn in_place<T: Real>(kind: Activation) -> impl Fn(usize, usize, &mut [T]) + Sync {
    let act = kind.functions::<T>().value;
    move |_, _, y| {
        for y in y.chunks_mut(CHUNK) {
            let mut x = [T::ZERO; CHUNK];
            x[..y.len()].copy_from_slice(y);
            act(&x[..y.len()], as_fresh(y));
        }
    }
}

/// Numbers that are copied together: a few vectors.
const CHUNK: usize = 128;

fn activated<T: Blas>(x: &Array, weight: &Array, bias: Option<&Array>, kind: Activation) -> Result<(Array, Array)> {
    let ((rows, _), (out, _)) = (host::rows_and_width(x), weight.dims2()?);
    let act = kind.functions::<T>().value;
    let mut hidden = Beside::<T>::new(rows, out)?;
    let into = hidden.place();
    // SAFETY: the product gives each place once, and has the size of `hidden`.
    let up = layer::<T>(x, weight, bias, &|row, column, y| act(y, unsafe { into.at(row, column, y.len()) }))?;
    // SAFETY: every number was written.
    Ok((up, host::array(unsafe { hidden.written() }, with_width(x, out))?))
}

fn backward_cpu<T: Blas>(grad: &Array, weight: &Array, up: &Array, inner: Inner) -> Result<(Array, Array)> {
    let (grad, weight, up) = (contiguous(grad)?, contiguous(weight)?, contiguous(up)?);
    let ((rows, out), (_, width)) = (host::rows_and_width(&grad), weight.dims2()?);
    let (gs, ws, ups) = (host::slice::<T>(&grad)?, host::slice::<T>(&weight)?, host::slice::<T>(&up)?);
    let wide = match inner {
        Inner::Activation(_) => width,
        Inner::Glu(_) => 2 * width,
    };
    if weight.dims()[0] != out || up.dims() != with_width(&grad, wide) {
        candle_core::bail!("a gradient {:?} for weights {:?} and {:?}", grad.dims(), weight.dims(), up.dims());
    }
    let ups: &[T] = &ups;
    let mut d = Beside::<T>::new(rows, wide)?;
    let into = d.place();
    let from = |row: usize, column: usize, count: usize| &ups[row * wide + column..][..count];
    let activation = |kind: Activation| {
        let both = kind.functions::<T>().both;
        move |row: usize, column: usize, g: &mut [T]| {
            // SAFETY: the product gives each place once, and has the size of `d`.
            let d = unsafe { into.at(row, column, g.len()) };
            both(from(row, column, g.len()), g, d);
        }
    };
    let gated = |kind: Activation| {
        let functions = kind.functions::<T>();
        move |row: usize, column: usize, g: &mut [T]| {
            let n = g.len();
            let halves = (from(row, column, n), from(row, width + column, n));
            // SAFETY: as above, and halves do not overlap.
            let d = unsafe { (into.at(row, column, n), into.at(row, width + column, n)) };
            glu::backward_row(&functions, halves, g, d);
        }
    };
    let term = Term { k: out, a: View::row_major(&gs, out), b: View::row_major(&ws, width) };
    let hidden = match inner {
        Inner::Activation(kind) => fresh((rows, width), term, None, Some(&activation(kind)))?,
        Inner::Glu(kind) => fresh((rows, width), term, None, Some(&gated(kind)))?,
    };
    // SAFETY: every number was written.
    Ok((host::array(unsafe { d.written() }, up.dims())?, host::array(hidden, with_width(&grad, width))?))
}

/// Numbers as places to write to.
fn as_fresh<T: Real>(y: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: MaybeUninit<T> has the layout of T, and what functions over slices write are numbers.
    unsafe { std::slice::from_raw_parts_mut(y.as_mut_ptr().cast(), y.len()) }
}

/// A second result of a product, written by its [`Finish`].
struct Beside<T> {
    values: Vec<T>,
    count: usize,
    width: usize,
}

impl<T: Real> Beside<T> {
    fn new(rows: usize, width: usize) -> Result<Self> {
        alloc::check(&[rows, width], T::DTYPE)?;
        Ok(Self { values: alloc::room::<T>(rows * width)?, count: rows * width, width })
    }

    fn place(&mut self) -> Place<T> {
        Place { first: Target(self.values.as_mut_ptr()), width: self.width }
    }

    /// # Safety
    /// All of them were.
    unsafe fn written(mut self) -> Vec<T> {
        // SAFETY: the caller's promise.
        unsafe { self.values.set_len(self.count) };
        self.values
    }
}

/// Rows that threads write, each numbers of its own.
#[derive(Clone, Copy)]
struct Place<T> {
    first: Target<T>,
    width: usize,
}

impl<T: Real> Place<T> {
    /// # Safety
    /// These numbers are inside, the memory lives, and nobody else uses them meanwhile.
    #[allow(clippy::mut_from_ref)]
    unsafe fn at<'a>(&self, row: usize, column: usize, count: usize) -> &'a mut [MaybeUninit<T>] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.0.add(row * self.width + column).cast(), count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};

    const ALL: [Inner; 4] = [
        Inner::Activation(Activation::Gelu),
        Inner::Activation(Activation::ReluSquared),
        Inner::Glu(Activation::Silu),
        Inner::Glu(Activation::Gelu),
    ];

    /// Rows, (in, inner, out): few and many rows, several blocks along each axis, no row.
    const SIZES: [(&[usize], [usize; 3]); 6] = [
        (&[2, 2], [5, 3, 7]),
        (&[17], [1, 1, 1]),
        (&[3, 40], [9, 30, 20]),
        (&[150], [600, 130, 33]),
        (&[2, 70], [40, 1100, 530]),
        (&[0], [4, 6, 2]),
    ];

    #[test]
    fn equals_one_after_the_other() {
        for (rows, [inputs, inner_dim, out]) in SIZES {
            for inner in ALL {
                let wide = if let Inner::Glu(_) = inner { 2 * inner_dim } else { inner_dim };
                let with = |width: usize| [rows, &[width]].concat();
                let (x, w) = (normal(&with(inputs), 1), normal(&[wide, inputs], 2));
                let bias = normal(&[wide], 3);
                for bias in [None, Some(&bias)] {
                    let want = linear::forward(&x, &w, bias).unwrap();
                    let (up, both) = up_and_hidden(&x, &w, bias, inner).unwrap();
                    let alone = hidden(&x, &w, bias, inner).unwrap();
                    close(&up, &want, 1e-6);
                    for got in [both, alone] {
                        close(&got, &inner.forward(&want).unwrap(), 1e-6);
                    }
                }
                let up = normal(&with(wide), 4);
                let (g, down) = (normal(&with(out), 5), normal(&[out, inner_dim], 6));
                for f in [|x: &Array| x.clone(), |x: &Array| x.to_dtype(crate::DType::F64).unwrap()] {
                    let (d, hidden) = backward(&f(&g), &f(&down), &f(&up), inner).unwrap();
                    let (want, again) = backward_reference(&f(&g), &f(&down), &f(&up), inner).unwrap();
                    close(&d, &want, 1e-5);
                    close(&hidden, &again, 1e-6);
                }
            }
        }
    }

    #[test]
    fn views_are_read_in_their_order() {
        let t = |dims: &[usize], seed| normal(dims, seed).t().unwrap();
        let (x, w, g, down, up) = (t(&[6, 40], 1), t(&[6, 8], 2), t(&[5, 40], 3), t(&[8, 5], 4), t(&[8, 40], 5));
        let inner = Inner::Activation(Activation::Silu);
        let want = linear::reference(&x, &w, None).unwrap();
        close(&hidden(&x, &w, None, inner).unwrap(), &activation::reference(&want, Activation::Silu).unwrap(), 1e-5);
        let (d, again) = backward(&g, &down, &up, inner).unwrap();
        let (want, hidden) = backward_reference(&g, &down, &up, inner).unwrap();
        close(&d, &want, 1e-5);
        close(&again, &hidden, 1e-6);
    }

    #[test]
    fn misfitting_shapes_are_refused() {
        let inner = Inner::Glu(Activation::Gelu);
        let message = backward(&normal(&[20, 3], 1), &normal(&[3, 4], 2), &normal(&[20, 4], 3), inner).unwrap_err();
        assert!(message.to_string().contains("[20, 4]"), "{message}");
    }
}
