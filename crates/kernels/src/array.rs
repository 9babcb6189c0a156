//! Values on a device.

use crate::error::bail;
use crate::{DType, Device, Result, Shape};
use candle_core::Layout;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "cuda")]
use crate::cuda;

/// The host's arrays. Their layouts serve all devices; their operations are the references of the kernels.
pub(crate) use candle_core::Tensor as HostArray;

/// A result of the operations of [`HostArray`].
pub(crate) use candle_core::Result as HostResult;

/// The type of a number in an array, as Rust knows it.
pub use candle_core::WithDType as Element;

/// Values of one type and shape on one device. A view of values that others may hold too: cheap to clone, and
/// never changed but by who knows that nobody else holds them.
///
/// Here are views, and the ways to and from the host. What computes stands with its operation in [`crate::ops`].
#[derive(Clone)]
pub struct Array(Repr);

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

/// Copies between the host and other devices, each of which waits until the device has done all before it.
static DOWNLOADS: AtomicU64 = AtomicU64::new(0);
static UPLOADS: AtomicU64 = AtomicU64::new(0);

/// How often arrays were read by the host, and written by it, on other devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Reads of a device's memory by the host.
    pub downloads: u64,
    /// Writes of the host to a device's memory.
    pub uploads: u64,
}

/// The transfers since the program began.
pub fn transfers() -> Transfers {
    Transfers { downloads: DOWNLOADS.load(Ordering::Relaxed), uploads: UPLOADS.load(Ordering::Relaxed) }
}

impl Array {
    /// From values in row-major order.
    ///
    /// # Errors
    /// Where the shape has another number of elements.
    pub fn from_vec<T: Element>(values: Vec<T>, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        Self::upload(HostArray::from_vec(values, shape.into(), &candle_core::Device::Cpu)?, device)
    }

    /// From values in row-major order, which are copied; errors as for [`Array::from_vec`].
    pub fn from_slice<T: Element>(values: &[T], shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        Self::upload(HostArray::from_slice(values, shape.into(), &candle_core::Device::Cpu)?, device)
    }

    /// A vector.
    pub fn new<T: Element>(values: &[T], device: &Device) -> Result<Self> {
        Self::from_slice(values, values.len(), device)
    }

    /// From the bytes of values in row-major order, in the byte order of the machine; errors as for [`Array::from_vec`].
    pub fn from_raw_buffer(bytes: &[u8], dtype: DType, shape: &[usize], device: &Device) -> Result<Self> {
        Self::upload(HostArray::from_raw_buffer(bytes, dtype, shape, &candle_core::Device::Cpu)?, device)
    }

    /// The one way from the host to a device.
    pub(crate) fn upload(array: HostArray, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(array.into()),
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => {
                UPLOADS.fetch_add(1, Ordering::Relaxed);
                Ok(Self(Repr::Cuda(cuda::Array::upload(&array, gpu)?)))
            }
        }
    }

    /// The one way from a device to the host; no copy of what is there already.
    pub(crate) fn download(&self) -> Result<HostArray> {
        match &self.0 {
            Repr::Host(array) => Ok(array.clone()),
            #[cfg(feature = "cuda")]
            Repr::Cuda(array) => {
                DOWNLOADS.fetch_add(1, Ordering::Relaxed);
                array.download()
            }
        }
    }

    /// The values where they are on the host; an error elsewhere.
    pub(crate) fn host(&self) -> Result<&HostArray> {
        match &self.0 {
            Repr::Host(array) => Ok(array),
            #[cfg(feature = "cuda")]
            Repr::Cuda(_) => bail!("this operation needs its arrays on the CPU, got one on {}", self.device().name()),
        }
    }

    /// The same values on `device`; itself where they are there.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if self.device().same_device(device) {
            return Ok(self.clone());
        }
        Self::upload(self.download()?, device)
    }

    /// The values of a vector, of type `T`, read by the host.
    ///
    /// # Errors
    /// Where the array is of another rank or type.
    pub fn to_vec1<T: Element>(&self) -> Result<Vec<T>> {
        Ok(self.download()?.to_vec1()?)
    }

    /// The rows of a matrix, read by the host; errors as for [`Array::to_vec1`].
    pub fn to_vec2<T: Element>(&self) -> Result<Vec<Vec<T>>> {
        Ok(self.download()?.to_vec2()?)
    }

    /// The matrices of three axes, read by the host; errors as for [`Array::to_vec1`].
    pub fn to_vec3<T: Element>(&self) -> Result<Vec<Vec<Vec<T>>>> {
        Ok(self.download()?.to_vec3()?)
    }

    /// The value of a scalar, read by the host; errors as for [`Array::to_vec1`].
    pub fn to_scalar<T: Element>(&self) -> Result<T> {
        Ok(self.download()?.to_scalar()?)
    }

    /// Where the values are.
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

    /// The type of the values.
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

    /// The sizes of the axes as one value.
    pub fn shape(&self) -> &Shape {
        self.layout().shape()
    }

    /// The size of an axis; an error where there is no such axis.
    pub fn dim(&self, axis: usize) -> Result<usize> {
        match self.dims().get(axis) {
            Some(size) => Ok(*size),
            None => bail!("there is no axis {axis} in shape {:?}", self.dims()),
        }
    }

    /// The sizes of a matrix; an error for another rank.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        Ok(self.shape().dims2()?)
    }

    /// The sizes of three axes; an error for another rank.
    pub fn dims3(&self) -> Result<(usize, usize, usize)> {
        Ok(self.shape().dims3()?)
    }

    /// The sizes of four axes; an error for another rank.
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

    /// How many values each axis steps over in memory.
    pub fn stride(&self) -> &[usize] {
        self.layout().stride()
    }

    /// Whether the values are in row-major order, without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.layout().is_contiguous()
    }

    /// Whether both are the same view of the same values.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Host(a), Repr::Host(b)) => a.id() == b.id(),
            #[cfg(feature = "cuda")]
            (Repr::Cuda(a), Repr::Cuda(b)) => a.is_same(b),
            #[cfg(feature = "cuda")]
            _ => false,
        }
    }

    /// A view by the host's operation, or by what it makes of a layout.
    fn view(
        &self,
        host: impl FnOnce(&HostArray) -> HostResult<HostArray>,
        #[cfg_attr(not(feature = "cuda"), allow(unused_variables))] layout: impl FnOnce(&Layout) -> HostResult<Layout>,
    ) -> Result<Self> {
        match &self.0 {
            Repr::Host(array) => Ok(host(array)?.into()),
            #[cfg(feature = "cuda")]
            Repr::Cuda(array) => Ok(Self(Repr::Cuda(array.with_layout(layout(array.layout())?)))),
        }
    }

    /// `length` entries of an axis from `start` on; see [`crate::ops::layout::narrow`] for one without elements.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn narrow_view(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        self.view(|x| x.narrow(axis, start, length), |x| x.narrow(axis, start, length))
    }

    /// Axes `a` and `b` exchanged; an error where one is not there.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        self.view(|x| x.transpose(a, b), |x| x.transpose(a, b))
    }

    /// The last two axes exchanged; an error for fewer.
    pub fn t(&self) -> Result<Self> {
        match self.rank() {
            rank @ 2.. => self.transpose(rank - 2, rank - 1),
            _ => bail!("a transpose needs two axes, got shape {:?}", self.dims()),
        }
    }

    /// The axes in the order `axes`; an error where they are not all, each once.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        self.view(|x| x.permute(axes), |x| x.permute(axes))
    }

    /// Axes of size 1, and those in front, repeated to `shape`; an error where it does not fit.
    pub fn broadcast_as(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        self.view(|x| x.broadcast_as(&shape), |x| x.broadcast_as(&shape))
    }

    /// An axis of size 1 before axis `axis`.
    pub fn unsqueeze(&self, axis: usize) -> Result<Self> {
        let mut dims = self.dims().to_vec();
        if axis > dims.len() {
            bail!("there is no place {axis} for an axis in shape {dims:?}");
        }
        dims.insert(axis, 1);
        let mut strides = self.stride().to_vec();
        strides.insert(axis, strides.get(axis).map_or(1, |stride| stride * self.dims()[axis]));
        self.view(|x| x.unsqueeze(axis), |x| Ok(Layout::new(dims.into(), strides, x.start_offset())))
    }

    /// Without axis `axis`, which must be of size 1.
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

    /// The values of an array in row-major order in another shape; an error where it has another number of them.
    pub(crate) fn reshape_view(&self, shape: &Shape) -> Result<Self> {
        let contiguous = |x: &Layout| Ok(Layout::contiguous_with_offset(shape.clone(), x.start_offset()));
        self.view(|x| x.reshape(shape), contiguous)
    }
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Array({:?}, {:?}, {})", self.dims(), self.dtype(), self.device().name())
    }
}
