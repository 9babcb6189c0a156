//! Leaves of the autograd graph: parameters, and inputs that collect a gradient.

mod accumulation;
mod quantize;
mod state;
#[cfg(test)]
mod tests;

use crate::error::invalid;
use crate::gradient::Gradient;
use crate::{Array, DType, Device, Error, Result};
use state::{bytes, converted, State, Values};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values that accumulate a gradient. The values may be initialised lazily, at first use.
///
/// Each change of the values increments a version, by which a backward pass detects that its graph
/// is stale.
pub struct Leaf {
    shape: Vec<usize>,
    state: Mutex<State>,
    grad: Mutex<Option<Gradient>>,
    version: AtomicU64,
    requires_grad: AtomicBool,
}

/// Values and gradient of a leaf on another device or in another type, which the leaf can take
/// over.
pub struct Moved {
    device: Device,
    dtype: DType,
    /// `None` while they are not initialised.
    values: Option<Array>,
    grad: Option<Array>,
}

/// Locks, ignoring poison: the data of these locks is set in single assignments, so a panic of
/// another thread leaves it consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leaf {
    /// A leaf with these values. It requires a gradient.
    pub fn new(values: Array) -> Self {
        let state = State {
            device: values.device(),
            dtype: values.dtype(),
            values: Values::Ready(values.clone()),
        };
        Self::from_state(values.dims().to_vec(), state)
    }

    /// A leaf whose values `initial` computes on the CPU at first use; the leaf is f32 on the CPU
    /// unless [`Leaf::move_to`] changes that. It requires a gradient.
    pub fn lazy(
        shape: Vec<usize>,
        initial: impl Fn() -> xt_kernels::Result<Array> + Send + Sync + 'static,
    ) -> Self {
        let values = Values::Pending(Box::new(initial));
        let state = State { device: Device::Cpu, dtype: DType::F32, values };
        Self::from_state(shape, state)
    }

    fn from_state(shape: Vec<usize>, state: State) -> Self {
        Self {
            shape,
            state: Mutex::new(state),
            grad: Mutex::new(None),
            version: AtomicU64::new(0),
            requires_grad: AtomicBool::new(true),
        }
    }

    /// The shape of the values.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        lock(&self.state).dtype
    }

    /// The device of the values.
    pub fn device(&self) -> Device {
        lock(&self.state).device.clone()
    }

    /// The values. Initialises them at first use; dequantizes a quantized leaf into a new array.
    pub fn values(&self) -> Result<Array> {
        let mut state = lock(&self.state);
        let values = state.array(&self.shape)?;
        if let Values::Pending(_) = &state.values {
            state.values = Values::Ready(values.clone());
        }
        Ok(values)
    }

    /// Bytes that the first use will allocate; 0 if the values are initialised.
    pub fn pending_bytes(&self) -> u64 {
        let state = lock(&self.state);
        match state.values {
            Values::Ready(_) | Values::Packed(_) | Values::Released => 0,
            Values::Pending(_) => bytes(&self.shape, state.dtype),
        }
    }

    /// Bytes of the values, which is also the size of a gradient.
    pub fn bytes(&self) -> u64 {
        bytes(&self.shape, self.dtype())
    }

    /// Replaces the values, converted to the leaf's type and device. Graphs recorded from the old
    /// ones become stale.
    ///
    /// # Errors
    /// The shape differs, the leaf was released, or memory does not suffice.
    pub fn set(&self, values: Array) -> Result<()> {
        if values.dims() != self.shape {
            return invalid(format!(
                "values of shape {:?} for a parameter of shape {:?}",
                values.dims(),
                self.shape
            ));
        }
        let mut state = lock(&self.state);
        if let Values::Released = state.values {
            return Err(Error::Released { shape: self.shape.clone() });
        }
        state.values = Values::Ready(converted(&values, state.dtype, &state.device)?);
        self.version.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Moves values and gradient to a device and converts them to a type. Graphs recorded before
    /// become stale, unless there is nothing to do.
    ///
    /// # Errors
    /// The leaf is quantized, or memory does not suffice.
    pub fn move_to(&self, device: &Device, dtype: DType) -> Result<()> {
        if self.is_at(device, dtype) {
            return Ok(()); // graphs stay valid
        }
        self.take(self.copy_to(device, dtype)?);
        Ok(())
    }

    /// Copies values and gradient to a device, converted to a type, for [`Leaf::take`]. The leaf
    /// does not change.
    ///
    /// # Errors
    /// The leaf is quantized, or memory does not suffice.
    pub fn copy_to(&self, device: &Device, dtype: DType) -> Result<Moved> {
        self.require_plain("moving it")?;
        let state = lock(&self.state);
        let values = match &state.values {
            Values::Ready(values) => Some(converted(values, dtype, device)?),
            _ => None,
        };
        let mut grad = lock(&self.grad);
        let grad = match grad.as_mut() {
            Some(grad) => Some(converted(grad.materialize()?, dtype, device)?),
            None => None,
        };
        Ok(Moved { device: device.clone(), dtype, values, grad })
    }

    /// Takes over values and gradient that [`Leaf::copy_to`] has made, with their device and type.
    /// Graphs recorded before become stale.
    pub fn take(&self, copy: Moved) {
        let mut state = lock(&self.state);
        if let Some(values) = copy.values {
            state.values = Values::Ready(values);
        }
        (state.device, state.dtype) = (copy.device, copy.dtype);
        self.version.fetch_add(1, Ordering::SeqCst);
        if let Some(grad) = copy.grad {
            *lock(&self.grad) = Some(Gradient::new(grad));
        }
    }

    /// Bytes that [`Leaf::copy_to`] allocates on the other device, for an equal type.
    pub fn bytes_to_move(&self) -> u64 {
        let has_values = matches!(lock(&self.state).values, Values::Ready(_));
        let has_grad = lock(&self.grad).is_some();
        self.bytes() * (u64::from(has_values) + u64::from(has_grad))
    }

    /// Whether the leaf has this device and type, so that [`Leaf::move_to`] has nothing to do.
    pub fn is_at(&self, device: &Device, dtype: DType) -> bool {
        let state = lock(&self.state);
        state.device.same_device(device) && state.dtype == dtype
    }

    /// Frees values and gradient for good, even if others hold references to the leaf. Graphs
    /// recorded before become stale.
    pub fn release(&self) {
        lock(&self.state).values = Values::Released;
        self.version.fetch_add(1, Ordering::SeqCst);
        *lock(&self.grad) = None;
    }

    /// Returns an error after [`Leaf::release`].
    pub fn require_not_released(&self) -> Result<()> {
        if self.is_released() {
            return Err(Error::Released { shape: self.shape.clone() });
        }
        Ok(())
    }

    fn is_released(&self) -> bool {
        matches!(lock(&self.state).values, Values::Released)
    }

    /// The number of changes of the values so far.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Returns an error if the values have changed since `version`.
    pub fn require_version(&self, version: u64) -> Result<()> {
        if self.version() == version {
            return Ok(());
        }
        self.require_not_released()?;
        Err(Error::StaleParameter { shape: self.shape.clone() })
    }
}
