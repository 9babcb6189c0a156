//! The linear layer `y = x Wᵀ + bias`, with PyTorch's shapes and initialisation.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops::{self, CrossEntropy, Inner, Layer};

/// A linear layer with an optional bias.
pub struct Linear {
    /// `(out, in)`.
    weight: Param,
    /// `(out)`.
    bias: Option<Param>,
}

impl Linear {
    /// Registers a weight `(out, in)` and, if `bias` is set, a bias `(out)`, with PyTorch's default
    /// initialisation.
    pub fn new(inputs: usize, outputs: usize, bias: bool, p: &mut Params) -> Self {
        Self {
            weight: p.add_linear_weight("weight", &[outputs, inputs], Init::fan_in(inputs)),
            bias: bias.then(|| p.add("bias", &[outputs], Init::fan_in(inputs))),
        }
    }

    /// Registers weight and bias with the given initialisations.
    pub fn with_init(
        inputs: usize,
        outputs: usize,
        (weight, bias): (Init, Init),
        p: &mut Params,
    ) -> Self {
        Self {
            weight: p.add_linear_weight("weight", &[outputs, inputs], weight),
            bias: Some(p.add("bias", &[outputs], bias)),
        }
    }

    /// Initialises weight and bias to 0, so that the output of a branch that ends with this layer
    /// is initially 0.
    pub fn zero_init(&self) {
        self.weight.set_init(Init::Constant(0.0));
        self.bias.iter().for_each(|bias| bias.set_init(Init::Constant(0.0)));
    }

    /// Initialises the weight with a standard deviation of one over the square root of
    /// `2 · inputs · depth`, as the last layer of a branch of block `depth`, counted from 1.
    ///
    /// Source: Depth-muP, <https://arxiv.org/abs/2310.02244>.
    pub fn scale_init_to_depth(&self, depth: usize) {
        let inputs = self.weight.leaf().shape().last().copied().unwrap_or(1);
        self.weight.set_init(Init::Normal { std: ((2 * inputs * depth) as f64).powf(-0.5) });
    }

    /// Applies several layers to the same input: `(.., in)` to `(.., out)` for each layer.
    pub fn forward_all(layers: &[&Linear], x: &Tensor) -> Result<Vec<Tensor>> {
        let weights: Vec<_> = layers.iter().map(|layer| layer.weight.tensor()).collect();
        let outputs = ops::linear_all(x, &weights)?;
        let with_rest = |(layer, mut y): (&&Linear, Tensor)| {
            if let Some(bias) = &layer.bias {
                y = ops::add(&y, &bias.tensor())?;
            }
            layer.add_low_rank(x, y)
        };
        layers.iter().zip(outputs).map(with_rest).collect()
    }

    /// `y`, `(.., out)`, and what the low-rank update of the weight makes of `x`, `(.., in)`.
    fn add_low_rank(&self, x: &Tensor, y: Tensor) -> Result<Tensor> {
        match self.weight.low_rank() {
            Some(update) => Ok(ops::add(&y, &update.forward(x)?)?),
            None => Ok(y),
        }
    }

    /// Whether the weight has a low-rank update.
    pub fn has_low_rank(&self) -> bool {
        self.weight.low_rank().is_some()
    }

    /// Computes `down(factors * inner(self(x)))` as one fused operation: `(.., in)` to
    /// `(.., output width of down)`. `factors` are those of the features in between; absent: 1.
    /// Neither layer may have a low-rank update; with `factors`, `down` must not be quantized.
    pub fn feedforward(
        &self,
        x: &Tensor,
        inner: Inner,
        down: &Linear,
        factors: Option<&Tensor>,
    ) -> Result<Tensor> {
        let tensors =
            |layer: &Linear| (layer.weight.tensor(), layer.bias.as_ref().map(Param::tensor));
        let ((w1, b1), (mut w2, b2)) = (tensors(self), tensors(down));
        if let Some(factors) = factors {
            w2 = ops::mul(&w2, factors)?;
        }
        let (up, down) =
            (Layer { weight: &w1, bias: b1.as_ref() }, Layer { weight: &w2, bias: b2.as_ref() });
        Ok(ops::feedforward(x, up, inner, down)?)
    }

    /// The width of the output.
    pub fn outputs(&self) -> usize {
        self.weight.leaf().shape().first().copied().unwrap_or(0)
    }

    /// Whether the weight is quantized.
    pub fn is_quantized(&self) -> bool {
        self.weight.tensor().packed().is_some()
    }

    /// `(.., in)` to `(.., out)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        self.add_low_rank(x, ops::linear(x, &self.weight.tensor(), bias.as_ref())?)
    }

    /// The mean cross-entropy between the output of this layer for `x`, `(.., in)`, as `logits`
    /// and `targets`, i64 `(..)`. `of` says which targets count.
    pub fn cross_entropy(
        &self,
        x: &Tensor,
        logits: Logits,
        targets: &Tensor,
        of: CrossEntropy,
    ) -> Result<Tensor> {
        // the product is linear in both `x` and the bias, which are smaller than the logits
        let (mut weight, bias) = (self.weight.tensor(), self.bias.as_ref().map(Param::tensor));
        let bias = bias.map(|bias| scaled(&bias, logits.scale)).transpose()?;
        if let Some(update) = self.weight.low_rank() {
            weight = update.merged(&weight)?;
        }
        logits.cross_entropy(x, (&weight, bias.as_ref()), targets, of)
    }
}

/// How logits follow from the output of a linear layer.
#[derive(Clone, Copy)]
pub struct Logits {
    /// The factor.
    pub scale: f64,
    /// The limit c of the scaled logits, each of which becomes `c tanh(logit / c)`.
    ///
    /// Source: Gemma 2, <https://arxiv.org/abs/2408.00118>.
    pub softclamp: Option<f64>,
}

impl Logits {
    /// The logits of the output `y` of a layer.
    pub fn of(&self, y: &Tensor) -> Result<Tensor> {
        let y = scaled(y, self.scale)?;
        let Some(limit) = self.softclamp else { return Ok(y) };
        let tanh = ops::tanh(&scaled(&y, 1.0 / limit)?)?;
        scaled(&tanh, limit)
    }

    /// The mean cross-entropy between the logits of a layer with this weight and this bias, which
    /// is scaled already, for `x` and `targets`.
    pub fn cross_entropy(
        &self,
        x: &Tensor,
        layer: (&Tensor, Option<&Tensor>),
        targets: &Tensor,
        of: CrossEntropy,
    ) -> Result<Tensor> {
        let x = scaled(x, self.scale)?;
        Ok(ops::softclamped_cross_entropy(&x, layer, targets, of, self.softclamp)?)
    }
}

/// `scale · x`; `x` itself for a scale of 1.
pub fn scaled(x: &Tensor, scale: f64) -> Result<Tensor> {
    if scale == 1.0 {
        return Ok(x.clone());
    }
    Ok(ops::affine(x, scale, 0.0)?)
}
