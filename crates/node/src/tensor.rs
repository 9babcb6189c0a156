//! The handle of a tensor.

use crate::errors::to_napi;
use crate::memory::report;
use crate::work::now;
use napi::bindgen_prelude::{ClassInstance, Uint8Array};
use napi::Env;
use napi_derive::napi;
use xt_bindings::{self as bindings, Error, Tensor};

/// The handle of a tensor; empty once it is disposed.
#[napi]
pub struct NativeTensor(Option<Tensor>);

/// A result that contains tensors: `{"$tensor": i}` in the JSON refers to `tensors[i]`.
#[napi(object, object_from_js = false)]
pub struct NativeResult {
    /// The result as JSON.
    pub json: String,
    /// The tensors to which the JSON refers.
    pub tensors: Vec<NativeTensor>,
}

impl From<bindings::Reply> for NativeResult {
    fn from(reply: bindings::Reply) -> Self {
        Self {
            json: reply.json,
            tensors: reply.tensors.into_iter().map(NativeTensor::new).collect(),
        }
    }
}

impl NativeTensor {
    /// A handle of `tensor`.
    pub fn new(tensor: Tensor) -> Self {
        Self(Some(tensor))
    }

    /// The tensor; an error once it is disposed.
    pub fn get(&self) -> napi::Result<Tensor> {
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed("this tensor")))
    }
}

/// The tensors of handles; an error if one is disposed.
pub fn tensors(handles: &[ClassInstance<NativeTensor>]) -> napi::Result<Vec<Tensor>> {
    handles.iter().map(|h| h.get()).collect()
}

#[napi]
impl NativeTensor {
    /// The shape.
    #[napi]
    pub fn shape(&self) -> napi::Result<Vec<f64>> {
        Ok(self.get()?.dims().iter().map(|d| *d as f64).collect())
    }

    /// The name of the element type.
    #[napi]
    pub fn dtype(&self) -> napi::Result<&'static str> {
        Ok(self.get()?.kind().map_or("unknown", |kind| kind.name()))
    }

    /// The name of the device.
    #[napi]
    pub fn device(&self) -> napi::Result<String> {
        Ok(bindings::device_name(&self.get()?))
    }

    /// Whether a backward pass propagates a gradient to the tensor.
    #[napi]
    pub fn requires_grad(&self) -> napi::Result<bool> {
        Ok(self.get()?.requires_grad())
    }

    /// Whether the tensor is a leaf.
    #[napi]
    pub fn is_leaf(&self) -> napi::Result<bool> {
        Ok(self.get()?.as_leaf().is_some())
    }

    /// The gradient of a leaf, if there is one.
    #[napi]
    pub fn grad(&self) -> napi::Result<Option<NativeTensor>> {
        let tensor = self.get()?;
        let grad = now(|| bindings::grad(&tensor))?;
        Ok(grad.map(NativeTensor::new))
    }

    /// Sets the gradient of a leaf, or clears it.
    #[napi]
    pub fn set_grad(
        &self,
        env: Env,
        grad: Option<ClassInstance<NativeTensor>>,
    ) -> napi::Result<()> {
        let (tensor, grad) = (self.get()?, grad.map(|g| g.get()).transpose()?);
        report(env, now(|| bindings::set_grad(&tensor, grad.as_ref())))
    }

    /// Turns gradients of a leaf on or off.
    #[napi]
    pub fn set_requires_grad(&self, on: bool) -> napi::Result<()> {
        let tensor = self.get()?;
        now(|| bindings::set_requires_grad(&tensor, on))
    }

    /// Copies the values of `source` into a leaf.
    #[napi]
    pub fn assign(&self, env: Env, source: ClassInstance<NativeTensor>) -> napi::Result<()> {
        let (tensor, source) = (self.get()?, source.get()?);
        report(env, now(|| bindings::assign(&tensor, &source)))
    }

    /// Moves a leaf and its gradient to another device, in place.
    #[napi]
    pub fn move_to(&self, env: Env, device: String) -> napi::Result<()> {
        let tensor = self.get()?;
        report(env, now(|| bindings::move_to(&tensor, &device)))
    }

    /// A new leaf with the same values.
    #[napi]
    pub fn as_leaf(&self) -> napi::Result<NativeTensor> {
        let tensor = self.get()?;
        now(|| bindings::to_leaf(&tensor)).map(NativeTensor::new)
    }

    /// The same values without a graph.
    #[napi]
    pub fn detach(&self) -> napi::Result<NativeTensor> {
        let tensor = self.get()?;
        now(|| Ok(tensor.detach()?)).map(NativeTensor::new)
    }

    /// The values in row-major order, little-endian, see [`bindings::bytes_of`].
    #[napi]
    pub fn data(&self) -> napi::Result<Uint8Array> {
        let tensor = self.get()?;
        now(|| bindings::bytes_of(&tensor)).map(Uint8Array::from)
    }

    /// Frees the values and the gradient of a leaf for good.
    #[napi]
    pub fn free_leaf(&self, env: Env) -> napi::Result<()> {
        let tensor = self.get()?;
        report(env, now(|| bindings::release_leaf(&tensor)))
    }

    /// Releases the tensor.
    #[napi]
    pub fn dispose(&mut self, env: Env) -> napi::Result<()> {
        self.0 = None;
        report(env, Ok(()))
    }
}
