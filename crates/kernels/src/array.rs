//! Arrays: values of one dtype and shape on a device.

use crate::error::bail;
use crate::{DType, Device, Result, Shape};
use candle_core::Layout;

#[cfg(feature = "cuda")]
use crate::cuda;

/// An array in host memory: candle's CPU tensor. All devices use its layouts, and the kernels'
/// references use its operations.
pub(crate) use candle_core::Tensor as HostArray;

/// Result of the operations of [`HostArray`].
pub(crate) use candle_core::Result as HostResult;

/// Trait of the Rust types that can be elements of an array.
pub use candle_core::WithDType as Element;

/// An array of one dtype and shape on one device. It is a view of storage that other arrays may
/// share, so a clone is cheap. Values are modified in place only by code that knows that no other
/// array shares the storage.
///
/// This module has the views, `transfer` the copies to and from the host, and [`crate::ops`] the
/// computations.
#[derive(Clone)]
pub struct Array(Repr);

/// Storage of an array, by device.
#[derive(Clone)]
enum Repr {
    Host(HostArray),
    #[cfg(feature = "cuda")]
    Cuda(cuda::Array),
}

impl From<HostArray> for Array {
    fn from(array: HostArray) -> Self {
        Self(Repr::Host(array))
    }
}

#[cfg(feature = "cuda")]
impl From<cuda::Array> for Array {
    fn from(array: cuda::Array) -> Self {
        Self(Repr::Cuda(array))
    }
}

impl Array {
    /// Returns the host array.
    ///
    /// # Errors
    /// If the array is on another device.
    pub(crate) fn host(&self) -> Result<&HostArray> {
        match &self.0 {
            Repr::Host(array) => Ok(array),
            #[cfg(feature = "cuda")]
            Repr::Cuda(_) => bail!(
                "this operation needs its arrays on the CPU, got one on {}",
                self.device().name()
            ),
        }
    }

    /// Returns the array in the memory of a GPU.
    ///
    /// # Errors
    /// If the array is on the host.
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda(&self) -> Result<&cuda::Array> {
        match &self.0 {
            Repr::Cuda(array) => Ok(array),
            Repr::Host(_) => bail!("this operation needs its arrays on a GPU, got one on the CPU"),
        }
    }

    /// The address of the first value in the memory of a GPU, for arguments of kernels.
    ///
    /// # Errors
    /// If the array is on the host.
    #[cfg(feature = "cuda")]
    pub(crate) fn address(&self) -> Result<u64> {
        Ok(self.cuda()?.address())
    }

    /// The address of an optional operand; null if there is none.
    ///
    /// # Errors
    /// As for [`Array::address`].
    #[cfg(feature = "cuda")]
    pub(crate) fn address_or_null(array: Option<&Self>) -> Result<u64> {
        array.map_or(Ok(0), Self::address)
    }

    /// Bounds of the integers of this array, as far as they are known without a copy: any on the
    /// host; on a GPU those of what was uploaded, `None` for what it has computed.
    pub(crate) fn possible_values(&self) -> Option<(i64, i64)> {
        match &self.0 {
            Repr::Host(_) => Some((i64::MIN, i64::MAX)),
            #[cfg(feature = "cuda")]
            Repr::Cuda(array) => array.bounds(),
        }
    }

    /// The device that has the values.
    pub fn device(&self) -> Device {
        match &self.0 {
            Repr::Host(_) => Device::Cpu,
            #[cfg(feature = "cuda")]
            Repr::Cuda(array) => Device::Cuda(array.gpu().clone()),
        }
    }

    fn layout(&self) -> &Layout {
        match &self.0 {
            Repr::Host(array) => array.layout(),
            #[cfg(feature = "cuda")]
            Repr::Cuda(array) => array.layout(),
        }
    }

    /// The dtype of the values.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Repr::Host(array) => array.dtype(),
            #[cfg(feature = "cuda")]
            Repr::Cuda(array) => array.dtype(),
        }
    }

    /// The size of each axis.
    pub fn dims(&self) -> &[usize] {
        self.layout().dims()
    }

    /// The size of each axis, as a [`Shape`].
    pub fn shape(&self) -> &Shape {
        self.layout().shape()
    }

    /// The size of an axis.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn dim(&self, axis: usize) -> Result<usize> {
        match self.dims().get(axis) {
            Some(size) => Ok(*size),
            None => bail!("there is no axis {axis} in shape {:?}", self.dims()),
        }
    }

    /// The sizes of both axes; an error if the rank is not 2.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        Ok(self.shape().dims2()?)
    }

    /// The sizes of the three axes; an error if the rank is not 3.
    pub fn dims3(&self) -> Result<(usize, usize, usize)> {
        Ok(self.shape().dims3()?)
    }

    /// The sizes of the four axes; an error if the rank is not 4.
    pub fn dims4(&self) -> Result<(usize, usize, usize, usize)> {
        Ok(self.shape().dims4()?)
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.dims().len()
    }

    /// The number of values.
    pub fn elem_count(&self) -> usize {
        self.shape().elem_count()
    }

    /// The stride of each axis, in elements.
    pub fn stride(&self) -> &[usize] {
        self.layout().stride()
    }

    /// Whether the array is contiguous: its values are in row-major order, without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.layout().is_contiguous()
    }

    /// Whether both are the same view of the same storage.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Host(a), Repr::Host(b)) => a.id() == b.id(),
            #[cfg(feature = "cuda")]
            (Repr::Cuda(a), Repr::Cuda(b)) => a.is_same(b),
            #[cfg(feature = "cuda")]
            _ => false,
        }
    }

    /// Creates a view: by `host` for a host array, by `layout` from the layout of an array on
    /// another device.
    fn view(
        &self,
        host: impl FnOnce(&HostArray) -> HostResult<HostArray>,
        #[cfg_attr(not(feature = "cuda"), allow(unused_variables))] layout: impl FnOnce(
            &Layout,
        )
            -> HostResult<
            Layout,
        >,
    ) -> Result<Self> {
        match &self.0 {
            Repr::Host(array) => Ok(host(array)?.into()),
            #[cfg(feature = "cuda")]
            Repr::Cuda(array) => Ok(Self(Repr::Cuda(array.with_layout(layout(array.layout())?)))),
        }
    }

    /// Selects `length` entries of `axis` from `start` on. If the result can be empty, use
    /// [`crate::ops::layout::narrow`] instead.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn narrow_view(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        self.view(|x| x.narrow(axis, start, length), |x| x.narrow(axis, start, length))
    }

    /// Swaps axes `a` and `b`.
    ///
    /// # Errors
    /// If one of the axes does not exist.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        self.view(|x| x.transpose(a, b), |x| x.transpose(a, b))
    }

    /// Swaps the last two axes.
    ///
    /// # Errors
    /// If the rank is below 2.
    pub fn t(&self) -> Result<Self> {
        match self.rank() {
            rank @ 2.. => self.transpose(rank - 2, rank - 1),
            _ => bail!("a transpose needs two axes, got shape {:?}", self.dims()),
        }
    }

    /// Permutes the axes: axis `i` of the result is axis `axes[i]` of the array.
    ///
    /// # Errors
    /// If `axes` does not name each axis exactly once.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        self.view(|x| x.permute(axes), |x| x.permute(axes))
    }

    /// Broadcasts to `shape`: repeats axes of size 1 and adds axes in front.
    ///
    /// # Errors
    /// If `shape` is not compatible.
    pub fn broadcast_as(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        self.view(|x| x.broadcast_as(&shape), |x| x.broadcast_as(&shape))
    }

    /// Inserts an axis of size 1 before `axis`.
    ///
    /// # Errors
    /// If `axis` is larger than the rank.
    pub fn unsqueeze(&self, axis: usize) -> Result<Self> {
        let mut dims = self.dims().to_vec();
        if axis > dims.len() {
            bail!("there is no place {axis} for an axis in shape {dims:?}");
        }
        dims.insert(axis, 1);
        let mut strides = self.stride().to_vec();
        strides.insert(axis, strides.get(axis).map_or(1, |stride| stride * self.dims()[axis]));
        self.view(
            |x| x.unsqueeze(axis),
            |x| Ok(Layout::new(dims.into(), strides, x.start_offset())),
        )
    }

    /// Removes `axis`, which must have size 1.
    ///
    /// # Errors
    /// If `axis` does not exist or has another size.
    pub fn squeeze(&self, axis: usize) -> Result<Self> {
        let mut dims = self.dims().to_vec();
        if dims.get(axis) != Some(&1) {
            bail!("axis {axis} of shape {dims:?} has not size 1");
        }
        dims.remove(axis);
        let mut strides = self.stride().to_vec();
        strides.remove(axis);
        self.view(|x| x.squeeze(axis), |x| Ok(Layout::new(dims.into(), strides, x.start_offset())))
    }

    /// Reshapes a contiguous array to `shape`.
    ///
    /// # Errors
    /// If `shape` has another number of elements.
    pub(crate) fn reshape_view(&self, shape: &Shape) -> Result<Self> {
        let contiguous =
            |x: &Layout| Ok(Layout::contiguous_with_offset(shape.clone(), x.start_offset()));
        self.view(|x| x.reshape(shape), contiguous)
    }
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Array({:?}, {:?}, {})", self.dims(), self.dtype(), self.device().name())
    }
}
