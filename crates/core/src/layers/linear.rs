//! `y = x Wᵀ + bias`, with PyTorch's shapes and first values.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops::{self, Inner, Layer};

pub struct Linear {
    weight: Param,
    bias: Option<Param>,
}

impl Linear {
    /// Weight (out, in), bias (out).
    pub fn new(inputs: usize, outputs: usize, bias: bool, p: &mut Params) -> Self {
        Self {
            weight: p.add_matrix("weight", &[outputs, inputs], Init::fan_in(inputs)),
            bias: bias.then(|| p.add("bias", &[outputs], Init::fan_in(inputs))),
        }
    }

    /// With other laws for weight and bias.
    pub fn with_laws(inputs: usize, outputs: usize, (weight, bias): (Init, Init), p: &mut Params) -> Self {
        Self { weight: p.add_matrix("weight", &[outputs, inputs], weight), bias: Some(p.add("bias", &[outputs], bias)) }
    }

    /// Weight and bias start at 0, so that the branch that this layer ends does so too.
    pub fn start_at_zero(&self) {
        self.weight.set_law(Init::Constant(0.0));
        self.bias.iter().for_each(|bias| bias.set_law(Init::Constant(0.0)));
    }

    /// (.., in) to (.., out) for each of some layers without a bias.
    pub fn forward_all(layers: &[&Linear], x: &Tensor) -> Result<Vec<Tensor>> {
        let weights: Vec<_> = layers.iter().map(|layer| layer.weight.tensor()).collect();
        Ok(ops::linears(x, &weights)?)
    }

    /// `down(inner(self(x)))`, (.., in) to what `down` gives.
    pub fn forward_through(&self, x: &Tensor, inner: Inner, down: &Linear) -> Result<Tensor> {
        let tensors = |layer: &Linear| (layer.weight.tensor(), layer.bias.as_ref().map(Param::tensor));
        let ((w1, b1), (w2, b2)) = (tensors(self), tensors(down));
        let (up, down) = (Layer { weight: &w1, bias: b1.as_ref() }, Layer { weight: &w2, bias: b2.as_ref() });
        Ok(ops::feedforward(x, up, inner, down)?)
    }

    /// (.., in) to (.., out).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        Ok(ops::linear(x, &self.weight.tensor(), bias.as_ref())?)
    }

    /// Mean cross-entropy of what this layer gives for `x` (.., in), with targets, i64 (..).
    pub fn cross_entropy(&self, x: &Tensor, targets: &Tensor, ignore_index: i64) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        Ok(ops::linear_cross_entropy(x, (&self.weight.tensor(), bias.as_ref()), targets, ignore_index)?)
    }
}
