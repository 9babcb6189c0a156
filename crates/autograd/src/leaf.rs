//! Leaves of the graph: parameters, and inputs that collect a gradient.

use crate::error::invalid;
use crate::gradient::Gradient;
use crate::{Array, DType, Device, Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xt_kernels::ops::quantized::{self, Format, Packed};

/// Makes the first values of a leaf.
type Initial = Box<dyn Fn(&Device) -> xt_kernels::Result<Array> + Send + Sync>;

/// Values that collect a gradient. The values may be drawn at first use.
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

enum Values {
    Pending(Initial),
    Ready(Array),
    /// For inference: f32 on the CPU, in fewer bytes.
    Packed(Arc<Packed>),
    /// Freed for good.
    Released,
}

fn bytes(shape: &[usize], dtype: DType) -> u64 {
    shape.iter().fold(dtype.size_in_bytes() as u64, |n, d| n.saturating_mul(*d as u64))
}

/// An error where there is no room for first values of this shape.
fn check_draw(shape: &[usize], dtype: DType) -> Result<()> {
    let drawn = match dtype {
        DType::F64 => 0,
        _ => bytes(shape, DType::F64),
    };
    let needed = bytes(shape, dtype).saturating_add(drawn);
    if shape.contains(&0) {
        return Ok(());
    }
    Ok(xt_kernels::memory::alloc::check_wide(&[needed], DType::U8)?)
}

/// As another type and on another device, where there is room for it.
fn moved(values: &Array, dtype: DType, device: &Device) -> Result<Array> {
    if values.dtype() != dtype || !values.device().same_device(device) {
        xt_kernels::memory::alloc::check_like(values, dtype, 1)?;
    }
    Ok(values.to_dtype(dtype)?.to_device(device)?)
}

impl State {
    /// The values, those that are pending too.
    fn array(&self, shape: &[usize]) -> Result<Array> {
        Ok(match &self.values {
            Values::Ready(array) => array.clone(),
            Values::Pending(initial) => {
                // they are drawn as f64
                check_draw(shape, self.dtype)?;
                initial(&self.device)?.to_dtype(self.dtype)?
            }
            Values::Packed(packed) => packed.values()?,
            Values::Released => return Err(Error::Released { shape: shape.to_vec() }),
        })
    }

    /// An error where values of this type, or on this device, cannot be quantized.
    fn check_place(&self) -> Result<()> {
        if self.dtype == DType::F32 && self.device.is_cpu() {
            return Ok(());
        }
        let place = self.device.name();
        invalid(format!("only f32 weights on the CPU can be quantized, not {:?} on {place}", self.dtype))
    }
}

/// A panic elsewhere leaves the data of these locks whole: each is set in one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leaf {
    pub fn new(values: Array) -> Self {
        let state = State { device: values.device(), dtype: values.dtype(), values: Values::Ready(values.clone()) };
        Self::with(values.dims().to_vec(), state)
    }

    /// A leaf whose values `initial` makes at first use, f32 on the CPU until [`Leaf::move_to`] says otherwise.
    pub fn lazy(
        shape: Vec<usize>,
        initial: impl Fn(&Device) -> xt_kernels::Result<Array> + Send + Sync + 'static,
    ) -> Self {
        let values = Values::Pending(Box::new(initial));
        let state = State { device: Device::Cpu, dtype: DType::F32, values };
        Self::with(shape, state)
    }

    fn with(shape: Vec<usize>, state: State) -> Self {
        Self {
            shape,
            state: Mutex::new(state),
            grad: Mutex::new(None),
            version: AtomicU64::new(0),
            requires_grad: AtomicBool::new(true),
        }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn dtype(&self) -> DType {
        lock(&self.state).dtype
    }

    pub fn device(&self) -> Device {
        lock(&self.state).device.clone()
    }

    /// The values, made now if this is their first use; of a quantized leaf in a new array.
    pub fn values(&self) -> Result<Array> {
        let mut state = lock(&self.state);
        let values = state.array(&self.shape)?;
        if let Values::Pending(_) = &state.values {
            state.values = Values::Ready(values.clone());
        }
        Ok(values)
    }

    /// The values as [`Leaf::quantize`] has left them.
    pub fn packed(&self) -> Option<Arc<Packed>> {
        match &lock(&self.state).values {
            Values::Packed(packed) => Some(packed.clone()),
            Values::Pending(_) | Values::Ready(_) | Values::Released => None,
        }
    }

    /// An error where [`Leaf::quantize`] would give one, apart from memory. First values are not drawn for it.
    pub fn check_quantize(&self, format: Format) -> Result<()> {
        let state = lock(&self.state);
        state.check_place()?;
        match &state.values {
            Values::Ready(values) => Ok(quantized::check(values, format)?),
            Values::Packed(packed) => Ok(quantized::check(&packed.values()?, format)?),
            Values::Released => Err(Error::Released { shape: self.shape.clone() }),
            Values::Pending(_) => Ok(()),
        }
    }

    /// Keeps the values, of two axes, in fewer bytes until others are set; frees the f32 ones and the gradient. Graphs that were made before become
    /// stale.
    pub fn quantize(&self, format: Format) -> Result<()> {
        let mut state = lock(&self.state);
        state.check_place()?;
        if matches!(&state.values, Values::Packed(packed) if packed.format() == format) {
            return Ok(());
        }
        let packed = Packed::new(&state.array(&self.shape)?, format)?;
        state.values = Values::Packed(Arc::new(packed));
        self.version.fetch_add(1, Ordering::SeqCst);
        *lock(&self.grad) = None;
        Ok(())
    }

    /// An error where the leaf is quantized: `what` needs f32.
    pub fn require_plain(&self, what: &'static str) -> Result<()> {
        match self.packed() {
            None => Ok(()),
            Some(packed) => Err(Error::Quantized { shape: self.shape.clone(), format: packed.format().name(), what }),
        }
    }

    /// Bytes that the first use will take; 0 where the values are there.
    pub fn pending_bytes(&self) -> u64 {
        let state = lock(&self.state);
        match state.values {
            Values::Ready(_) | Values::Packed(_) | Values::Released => 0,
            Values::Pending(_) => bytes(&self.shape, state.dtype),
        }
    }

    /// Bytes of the values, and of a gradient.
    pub fn bytes(&self) -> u64 {
        bytes(&self.shape, self.dtype())
    }

    /// Replaces the values; graphs that were made from the old ones become stale.
    pub fn set(&self, values: Array) -> Result<()> {
        if values.dims() != self.shape {
            return invalid(format!("values of shape {:?} for a parameter of shape {:?}", values.dims(), self.shape));
        }
        let mut state = lock(&self.state);
        if let Values::Released = state.values {
            return Err(Error::Released { shape: self.shape.clone() });
        }
        state.values = Values::Ready(moved(&values, state.dtype, &state.device)?);
        self.version.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Moves values and gradient; not of a quantized leaf.
    pub fn move_to(&self, device: &Device, dtype: DType) -> Result<()> {
        if self.is_at(device, dtype) {
            return Ok(()); // graphs stay valid
        }
        self.require_plain("moving it")?;
        let mut state = lock(&self.state);
        if let Values::Ready(values) = &state.values {
            state.values = Values::Ready(moved(values, dtype, device)?);
        }
        (state.device, state.dtype) = (device.clone(), dtype);
        self.version.fetch_add(1, Ordering::SeqCst);
        let mut grad = lock(&self.grad);
        if let Some(old) = grad.as_mut() {
            *old = Gradient::of(moved(old.whole()?, dtype, device)?);
        }
        Ok(())
    }

    /// Whether [`Leaf::move_to`] has nothing to do.
    pub fn is_at(&self, device: &Device, dtype: DType) -> bool {
        let state = lock(&self.state);
        state.device.same_device(device) && state.dtype == dtype
    }

    /// Frees values and gradient for good, whoever else holds the leaf. Graphs that were made before become stale.
    pub fn release(&self) {
        lock(&self.state).values = Values::Released;
        self.version.fetch_add(1, Ordering::SeqCst);
        *lock(&self.grad) = None;
    }

    /// An error after [`Leaf::release`].
    pub fn require_held(&self) -> Result<()> {
        if self.is_released() {
            return Err(Error::Released { shape: self.shape.clone() });
        }
        Ok(())
    }

    fn is_released(&self) -> bool {
        matches!(lock(&self.state).values, Values::Released)
    }

    /// Counts the changes of the values.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Whether forwards made now lead a gradient here.
    pub fn requires_grad(&self) -> bool {
        self.requires_grad.load(Ordering::SeqCst)
    }

    /// Thaws or freezes. A graph that exists stays as it was made, and so does the gradient.
    pub fn set_requires_grad(&self, on: bool) {
        self.requires_grad.store(on, Ordering::SeqCst);
    }

    /// The gradient as it is now: what is added later does not change it.
    pub fn grad(&self) -> Result<Option<Array>> {
        lock(&self.grad).as_mut().map(Gradient::given).transpose()
    }

    /// An array, and how often it counts, which together are the gradient until something is added: to be read at once.
    pub fn grad_and_factor(&self) -> Option<(Array, f64)> {
        lock(&self.grad).as_ref().map(Gradient::parts)
    }

    /// Whether a gradient is there.
    pub fn has_grad(&self) -> bool {
        lock(&self.grad).is_some()
    }

    /// Multiplies the gradient; whoever reads it next does the work.
    pub fn scale_grad(&self, factor: f64) {
        if let Some(grad) = lock(&self.grad).as_mut() {
            grad.scale(factor);
        }
    }

    /// Sets or clears the gradient.
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
        *lock(&self.grad) = grad.map(Gradient::of);
        Ok(())
    }

    /// Adds to the gradient.
    pub fn add_grad(&self, more: Array) -> Result<()> {
        let mut grad = lock(&self.grad);
        match grad.as_mut() {
            Some(grad) => grad.add(&more),
            None => {
                *grad = Some(Gradient::of(xt_kernels::ops::layout::contiguous(&more)?));
                Ok(())
            }
        }
    }

    /// An error where the values have changed since `version`.
    pub fn require_version(&self, version: u64) -> Result<()> {
        if self.version() == version {
            return Ok(());
        }
        self.require_held()?;
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
        // the same again changes nothing, another format rounds further
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
        assert!(b.require_held().is_ok() && a.require_held().is_err());
    }

    #[test]
    fn a_change_of_a_leaf_that_was_frozen_makes_no_graph_stale() {
        let (a, b) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
        a.set_requires_grad(false);
        let loss = loss(&a, &b);
        a.set(Array::new(&[9.0, 9.0], &Device::Cpu).unwrap()).unwrap();
        loss.backward(false, &|| false).unwrap();
        // with the values of the forward
        assert_eq!(values(&b.grad().unwrap().unwrap()), [1.0, 2.0]);
    }
}
