//! Leaves of the autograd graph: parameters, and inputs that collect a gradient.

use crate::error::invalid;
use crate::gradient::Gradient;
use crate::{Array, DType, Device, Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xt_kernels::ops::quantized::{self, Format, Packed};

/// Computes the initial values of a leaf on a device.
type Initial = Box<dyn Fn(&Device) -> xt_kernels::Result<Array> + Send + Sync>;

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

struct State {
    device: Device,
    dtype: DType,
    values: Values,
}

/// The storage of a leaf's values.
enum Values {
    /// Not initialised yet.
    Pending(Initial),
    /// Plain values.
    Ready(Array),
    /// Quantized f32 values on the CPU, for inference.
    Packed(Arc<Packed>),
    /// Freed for good.
    Released,
}

/// Bytes of an array of this shape and type; saturates instead of overflowing.
fn bytes(shape: &[usize], dtype: DType) -> u64 {
    shape.iter().fold(dtype.size_in_bytes() as u64, |n, d| n.saturating_mul(*d as u64))
}

/// Returns an error if memory does not suffice to initialise values of this shape.
fn check_init_memory(shape: &[usize], dtype: DType) -> Result<()> {
    let in_f64 = match dtype {
        DType::F64 => 0,
        _ => bytes(shape, DType::F64),
    };
    let needed = bytes(shape, dtype).saturating_add(in_f64);
    if shape.contains(&0) {
        return Ok(());
    }
    Ok(xt_kernels::memory::alloc::check_wide(&[needed], DType::U8)?)
}

/// Converts to a type and device, after a check that memory suffices.
fn converted(values: &Array, dtype: DType, device: &Device) -> Result<Array> {
    if values.dtype() != dtype || !values.device().same_device(device) {
        xt_kernels::memory::alloc::check_like(values, dtype, 1)?;
    }
    Ok(values.to_dtype(dtype)?.to_device(device)?)
}

impl State {
    /// The values; computes them if they are not initialised yet, without storing them.
    fn array(&self, shape: &[usize]) -> Result<Array> {
        Ok(match &self.values {
            Values::Ready(array) => array.clone(),
            Values::Pending(initial) => {
                // initial values are drawn in f64
                check_init_memory(shape, self.dtype)?;
                initial(&self.device)?.to_dtype(self.dtype)?
            }
            Values::Packed(packed) => packed.values()?,
            Values::Released => return Err(Error::Released { shape: shape.to_vec() }),
        })
    }

    /// Returns an error if values of this type, or on this device, cannot be quantized.
    fn check_quantizable(&self) -> Result<()> {
        if self.dtype == DType::F32 && self.device.is_cpu() {
            return Ok(());
        }
        let place = self.device.name();
        invalid(format!(
            "only f32 weights on the CPU can be quantized, not {:?} on {place}",
            self.dtype
        ))
    }
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

    /// A leaf whose values `initial` computes at first use; f32 on the CPU unless [`Leaf::move_to`]
    /// changes that. It requires a gradient.
    pub fn lazy(
        shape: Vec<usize>,
        initial: impl Fn(&Device) -> xt_kernels::Result<Array> + Send + Sync + 'static,
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

    /// The quantized values, if [`Leaf::quantize`] was called.
    pub fn packed(&self) -> Option<Arc<Packed>> {
        match &lock(&self.state).values {
            Values::Packed(packed) => Some(packed.clone()),
            Values::Pending(_) | Values::Ready(_) | Values::Released => None,
        }
    }

    /// Returns the error that [`Leaf::quantize`] would return, apart from a lack of memory. Does
    /// not initialise the values.
    pub fn check_quantize(&self, format: Format) -> Result<()> {
        let state = lock(&self.state);
        state.check_quantizable()?;
        match &state.values {
            Values::Ready(values) => Ok(quantized::check(values, format)?),
            Values::Packed(packed) => Ok(quantized::check(&packed.values()?, format)?),
            Values::Released => Err(Error::Released { shape: self.shape.clone() }),
            Values::Pending(_) => Ok(()),
        }
    }

    /// Quantizes the values, which must have two axes, until new values are set; frees the f32
    /// values and the gradient. Graphs recorded before become stale.
    pub fn quantize(&self, format: Format) -> Result<()> {
        let mut state = lock(&self.state);
        state.check_quantizable()?;
        if matches!(&state.values, Values::Packed(packed) if packed.format() == format) {
            return Ok(());
        }
        let packed = Packed::new(&state.array(&self.shape)?, format)?;
        state.values = Values::Packed(Arc::new(packed));
        self.version.fetch_add(1, Ordering::SeqCst);
        *lock(&self.grad) = None;
        Ok(())
    }

    /// Returns an error if the leaf is quantized; `what` names the operation that needs f32.
    pub fn require_plain(&self, what: &'static str) -> Result<()> {
        match self.packed() {
            None => Ok(()),
            Some(packed) => Err(Error::Quantized {
                shape: self.shape.clone(),
                format: packed.format().name(),
                what,
            }),
        }
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
        self.require_plain("moving it")?;
        let mut state = lock(&self.state);
        if let Values::Ready(values) = &state.values {
            state.values = Values::Ready(converted(values, dtype, device)?);
        }
        (state.device, state.dtype) = (device.clone(), dtype);
        self.version.fetch_add(1, Ordering::SeqCst);
        let mut grad = lock(&self.grad);
        if let Some(old) = grad.as_mut() {
            *old = Gradient::new(converted(old.materialize()?, dtype, device)?);
        }
        Ok(())
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

    /// Whether operations recorded from now on propagate a gradient to this leaf.
    pub fn requires_grad(&self) -> bool {
        self.requires_grad.load(Ordering::SeqCst)
    }

    /// Turns gradients on or off (a frozen leaf has none). Existing graphs and the gradient do not
    /// change.
    pub fn set_requires_grad(&self, on: bool) {
        self.requires_grad.store(on, Ordering::SeqCst);
    }

    /// The gradient as it is now: later additions do not change the returned array.
    pub fn grad(&self) -> Result<Option<Array>> {
        lock(&self.grad).as_mut().map(Gradient::share).transpose()
    }

    /// An array and a factor whose product is the gradient. Later additions may change the array in
    /// place, so read it before.
    pub fn grad_and_factor(&self) -> Option<(Array, f64)> {
        lock(&self.grad).as_ref().map(Gradient::array_and_factor)
    }

    /// Whether the leaf has a gradient.
    pub fn has_grad(&self) -> bool {
        lock(&self.grad).is_some()
    }

    /// Multiplies the gradient by `factor`; the multiplication is deferred until the next read.
    pub fn scale_grad(&self, factor: f64) {
        if let Some(grad) = lock(&self.grad).as_mut() {
            grad.scale(factor);
        }
    }

    /// Sets the gradient, or clears it with `None`.
    ///
    /// # Errors
    /// The gradient has another shape than the values.
    pub fn set_grad(&self, grad: Option<Array>) -> Result<()> {
        if let Some(grad) = &grad {
            if grad.dims() != self.shape {
                return invalid(format!(
                    "a gradient of shape {:?} for a tensor of shape {:?}",
                    grad.dims(),
                    self.shape
                ));
            }
        }
        *lock(&self.grad) = grad.map(Gradient::new);
        Ok(())
    }

    /// Adds to the gradient.
    pub fn add_grad(&self, more: Array) -> Result<()> {
        let mut grad = lock(&self.grad);
        match grad.as_mut() {
            Some(grad) => grad.add(&more),
            None => {
                *grad = Some(Gradient::new(xt_kernels::ops::layout::contiguous(&more)?));
                Ok(())
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ops, Tensor};
    use std::sync::Arc;

    fn leaf(values: [f64; 2]) -> Arc<Leaf> {
        Arc::new(Leaf::new(Array::new(&values, &Device::Cpu).unwrap()))
    }

    fn values(array: &Array) -> Vec<f64> {
        array.to_vec1().unwrap()
    }

    fn loss(a: &Arc<Leaf>, b: &Arc<Leaf>) -> Tensor {
        let product = ops::mul(&Tensor::leaf(a.clone()), &Tensor::leaf(b.clone())).unwrap();
        ops::sum(&product, None, false).unwrap()
    }

    #[test]
    fn a_frozen_leaf_gets_no_gradient_until_it_thaws() {
        let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
        a.set_requires_grad(false);
        assert!(!Tensor::leaf(a.clone()).requires_grad());
        loss(&a, &b).backward(false, &|| false).unwrap();
        assert!(a.grad().unwrap().is_none());
        assert_eq!(values(&b.grad().unwrap().unwrap()), [1.0, 2.0]);
        a.set_requires_grad(true);
        loss(&a, &b).backward(false, &|| false).unwrap();
        assert_eq!(values(&a.grad().unwrap().unwrap()), [3.0, 4.0]);
    }

    #[test]
    fn a_graph_stays_as_it_was_made() {
        let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
        let before = loss(&a, &b);
        a.set_requires_grad(false);
        let meanwhile = loss(&a, &b);
        before.backward(false, &|| false).unwrap();
        assert_eq!(values(&a.grad().unwrap().unwrap()), [3.0, 4.0]);
        a.set_requires_grad(true);
        a.set_grad(None).unwrap();
        meanwhile.backward(false, &|| false).unwrap();
        assert!(a.grad().unwrap().is_none());
    }

    #[test]
    fn frozen_leaves_alone_make_no_graph() {
        let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
        a.set_requires_grad(false);
        b.set_requires_grad(false);
        assert!(matches!(loss(&a, &b).backward(false, &|| false), Err(Error::NoGraph)));
    }

    #[test]
    fn a_quantized_leaf_gives_rounded_values_until_others_are_set() {
        let numbers: Vec<f32> = (0..64).map(|i| (i as f32).sin()).collect();
        let leaf = Arc::new(Leaf::new(Array::from_slice(&numbers, (2, 32), &Device::Cpu).unwrap()));
        let ones = || leaf.values().unwrap().ones_like().unwrap();
        let near = |tolerance: f32| {
            let got: Vec<f32> = leaf.values().unwrap().flatten_all().unwrap().to_vec1().unwrap();
            got.iter().zip(&numbers).all(|(g, w)| (g - w).abs() <= tolerance)
        };
        leaf.set_grad(Some(ones())).unwrap();
        let before = ops::sum(&Tensor::leaf(leaf.clone()), None, false).unwrap();
        leaf.quantize(Format::Q8_0).unwrap();
        assert!(near(5e-3) && !near(1e-6));
        assert!(leaf.grad().unwrap().is_none());
        assert!(matches!(before.backward(false, &|| false), Err(Error::StaleParameter { .. })));
        // a second call with the same format changes nothing; another format quantizes the rounded
        // values
        let version = leaf.version();
        leaf.quantize(Format::Q8_0).unwrap();
        assert_eq!(leaf.version(), version);
        leaf.quantize(Format::Q4_0).unwrap();
        assert!(leaf.version() > version && !near(5e-3) && near(0.15));
        assert!(leaf.move_to(&Device::Cpu, DType::F32).is_ok());
        assert!(matches!(leaf.move_to(&Device::Cpu, DType::F64), Err(Error::Quantized { .. })));
        leaf.set(ones()).unwrap();
        assert!(leaf.packed().is_none() && leaf.require_plain("training").is_ok());
        assert!(leaf.move_to(&Device::Cpu, DType::F64).is_ok());
        assert!(leaf.quantize(Format::Bf16).unwrap_err().to_string().contains("F64"));
    }

    #[test]
    fn a_released_leaf_has_nothing_and_takes_nothing() {
        let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
        loss(&a, &b).backward(false, &|| false).unwrap();
        let before = loss(&a, &b);
        a.release();
        assert!(matches!(a.values(), Err(Error::Released { .. })));
        assert!(a.grad().unwrap().is_none() && a.pending_bytes() == 0);
        assert!(matches!(a.set(b.values().unwrap()), Err(Error::Released { .. })));
        assert!(matches!(before.backward(false, &|| false), Err(Error::Released { .. })));
        assert!(b.require_not_released().is_ok() && a.require_not_released().is_err());
    }

    #[test]
    fn a_change_of_a_leaf_that_was_frozen_makes_no_graph_stale() {
        let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
        a.set_requires_grad(false);
        let loss = loss(&a, &b);
        a.set(Array::new(&[9.0, 9.0], &Device::Cpu).unwrap()).unwrap();
        loss.backward(false, &|| false).unwrap();
        // uses the values of the forward pass
        assert_eq!(values(&b.grad().unwrap().unwrap()), [1.0, 2.0]);
    }
}
