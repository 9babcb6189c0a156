//! Updates of single parameters, for arrays that cannot be changed in place.

#[cfg(feature = "cuda")]
use super::cuda;
use super::step::{Adam, Lion, Sgd, Step, Update};
use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`update_out_of_place`].
#[derive(Clone)]
pub(super) struct OutOfPlace {
    pub(super) update: Update,
}

arrays!(OutOfPlace { update });

impl Kernel for OutOfPlace {
    const NAME: &'static str = "optimizer, out of place";
    type Out = (Array, Step);

    fn check(&self) -> Result<()> {
        self.update.check()
    }

    fn reference(&self) -> Result<(Array, Step)> {
        let Update { weight, grad, factor, step } = &self.update;
        let (weight, grad) = (weight.host()?, grad.host()?);
        let grad = if *factor == 1.0 { grad.clone() } else { grad.affine(*factor, 0.0)? };
        match step {
            Step::Adam { settings, mean, square } => {
                adam_on_host(weight, grad, (mean.host()?, square.host()?), *settings)
            }
            Step::Sgd { settings, buffer } => {
                sgd_on_host(weight, grad, buffer.as_ref().map(Array::host).transpose()?, *settings)
            }
            Step::Lion { settings, mean } => lion_on_host(weight, grad, mean.host()?, *settings),
        }
        .map_err(Into::into)
    }

    fn cpu<T: Blas>(&self) -> Result<(Array, Step)> {
        self.reference()
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<(Array, Step)> {
        cuda::out_of_place(&self.update, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |step| {
            [1.0, 0.3].map(|factor| {
                let (weight, grad) = (normal64(&[3, 7], 1), normal64(&[3, 7], 2));
                Self { update: Update { weight, grad, factor, step: Step::clone(&step) } }
            })
        };
        super::tests::steps(&[3, 7]).into_iter().flat_map(of).collect()
    }
}

/// Computes the new weight and the new state of one parameter without changing the old ones, for
/// updates that [`super::update_all`] does not accept.
pub fn update_out_of_place(update: &Update) -> Result<(Array, Step)> {
    run(&OutOfPlace { update: update.clone() })
}

fn adam_on_host(
    weight: &HostArray,
    mut grad: HostArray,
    (mean, square): (&HostArray, &HostArray),
    s: Adam,
) -> HostResult<(Array, Step)> {
    let mut weight = weight.clone();
    if s.decoupled {
        weight = (weight * (1.0 - s.lr * s.weight_decay))?;
    } else if s.weight_decay != 0.0 {
        grad = (grad + (&weight * s.weight_decay)?)?;
    }
    let mean = ((mean * s.beta1)? + (&grad * (1.0 - s.beta1))?)?;
    let square = ((square * s.beta2)? + (grad.sqr()? * (1.0 - s.beta2))?)?;
    let (rate, root) = s.corrections();
    let weight = (weight - ((&mean * rate)? / ((square.sqrt()? / root)? + s.eps)?)?)?;
    Ok((weight.into(), Step::Adam { settings: s, mean: mean.into(), square: square.into() }))
}

fn lion_on_host(
    weight: &HostArray,
    grad: HostArray,
    mean: &HostArray,
    s: Lion,
) -> HostResult<(Array, Step)> {
    let direction = ((mean * s.beta1)? + (&grad * (1.0 - s.beta1))?)?;
    let is = |sign: HostArray| sign.to_dtype(weight.dtype());
    let sign = (is(direction.gt(0.0)?)? - is(direction.lt(0.0)?)?)?;
    let mean = ((mean * s.beta2)? + (grad * (1.0 - s.beta2))?)?;
    let weight = ((weight * (1.0 - s.lr * s.weight_decay))? - (sign * s.lr)?)?;
    Ok((weight.into(), Step::Lion { settings: s, mean: mean.into() }))
}

fn sgd_on_host(
    weight: &HostArray,
    mut grad: HostArray,
    buffer: Option<&HostArray>,
    s: Sgd,
) -> HostResult<(Array, Step)> {
    if s.weight_decay != 0.0 {
        grad = (grad + (weight * s.weight_decay)?)?;
    }
    let Some(buffer) = buffer else {
        return Ok(((weight - (grad * s.lr)?)?.into(), Step::Sgd { settings: s, buffer: None }));
    };
    let buffer = match s.first {
        true => grad.clone(),
        false => ((buffer * s.momentum)? + (&grad * (1.0 - s.dampening))?)?,
    };
    let direction = if s.nesterov { (grad + (&buffer * s.momentum)?)? } else { buffer.clone() };
    Ok((
        (weight - (direction * s.lr)?)?.into(),
        Step::Sgd { settings: s, buffer: Some(buffer.into()) },
    ))
}
