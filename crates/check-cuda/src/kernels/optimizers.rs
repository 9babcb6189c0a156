//! Cases of optimizers.

use super::inputs::Inputs;
use crate::error::Result;
use xt_core::Array;
use xt_kernels::ops::optimizer::{
    self, Adafactor, Adam, AdjustLr, Lion, Muon, Second, Sgd, Step, Update,
};

/// More than one launch takes.
const PARAMETERS: u64 = 70;

fn updates(of: &Inputs) -> Result<Vec<Update>> {
    let (mut all, widest) = (Vec::new(), of.size(20_011, 37) as u64);
    for i in 0..PARAMETERS {
        let dims = [3, (1 + i * 7919 % widest) as usize];
        let step = match i % 4 {
            0 => Step::Adam {
                settings: Adam {
                    lr: 1e-2,
                    beta1: 0.9,
                    beta2: 0.999,
                    eps: 1e-8,
                    weight_decay: 0.1,
                    decoupled: i % 2 == 0,
                    step: 3,
                },
                mean: of.normal(&dims, 3)?,
                square: of.floats(&dims, 4, f64::abs)?,
            },
            3 => Step::Lion {
                settings: Lion { lr: 1e-2, beta1: 0.9, beta2: 0.99, weight_decay: 0.1 },
                // far from 0, where rounding would decide on the sign
                mean: of.floats(&dims, 4, |x| x.abs() + 8.0)?,
            },
            kind => {
                let settings = Sgd {
                    lr: 0.1,
                    momentum: if kind == 1 { 0.9 } else { 0.0 },
                    dampening: 0.1,
                    weight_decay: 0.01,
                    nesterov: false,
                    first: false,
                };
                let buffer = if kind == 1 { Some(of.normal(&dims, 5)?) } else { None };
                Step::Sgd { settings, buffer }
            }
        };
        let (weight, grad) = (of.normal(&dims, 1)?, of.normal(&dims, 2)?);
        all.push(Update { weight, grad, factor: 0.3, step });
    }
    Ok(all)
}

fn state(step: &Step) -> Vec<Array> {
    match step {
        Step::Adam { mean, square, .. } => vec![mean.clone(), square.clone()],
        Step::Sgd { buffer, .. } => buffer.iter().cloned().collect(),
        Step::Lion { mean, .. } => vec![mean.clone()],
    }
}

pub fn in_place(of: &Inputs) -> Result<Vec<Array>> {
    let updates = updates(of)?;
    let mut all = optimizer::update_all(&updates)?;
    all.extend(updates.iter().flat_map(|update| state(&update.step)));
    Ok(all)
}

pub fn out_of_place(of: &Inputs) -> Result<Vec<Array>> {
    let mut all = Vec::new();
    for update in updates(of)?.into_iter().take(12) {
        let (weight, step) = optimizer::update_out_of_place(&update)?;
        all.push(weight);
        all.extend(state(&step));
    }
    Ok(all)
}

pub fn muon(of: &Inputs) -> Result<Vec<Array>> {
    let settings = Muon {
        lr: 0.1,
        weight_decay: 0.1,
        momentum: 0.9,
        nesterov: true,
        // they converge: the published ones make rounding errors larger from step to step
        coefficients: [1.5, -0.5, 0.0],
        eps: 1e-7,
        steps: 3,
        adjust: AdjustLr::Original,
    };
    let mut all = Vec::new();
    for dims in [[of.size(400, 13), of.size(1500, 37)], [of.size(1500, 37), of.size(400, 13)]] {
        let arrays = [of.normal(&dims, 1)?, of.normal(&dims, 2)?, of.normal(&dims, 3)?];
        let (weight, buffer) = optimizer::muon(arrays.each_ref(), 0.5, &settings)?;
        all.extend([weight, buffer]);
    }
    Ok(all)
}

pub fn adafactor(of: &Inputs) -> Result<Vec<Array>> {
    let mut all = Vec::new();
    for dims in [&[of.size(400, 13), of.size(1500, 37)][..], &[of.size(20_011, 37)]] {
        let (weight, grad) = (of.normal(dims, 1)?, of.normal(dims, 2)?);
        let settings = Adafactor {
            lr: 0.1,
            beta2_decay: -0.8,
            eps1: Some(1e-3),
            eps2: 1e-3,
            d: 1.0,
            weight_decay: 0.1,
            step: 1,
        };
        let zeros = Second::zeros(&weight)?;
        let (weight, second) = optimizer::adafactor([&weight, &grad], 0.5, &zeros, &settings)?;
        all.push(weight);
        all.extend(second.arrays().into_iter().cloned());
    }
    Ok(all)
}

pub fn sum_of_squares(of: &Inputs) -> Result<Vec<Array>> {
    let arrays = updates(of)?.into_iter().map(|update| update.grad).collect::<Vec<_>>();
    let sum = optimizer::sum_of_squares(&arrays)?;
    Ok(vec![Array::new(&[sum.sqrt()], &xt_core::Device::Cpu)?])
}
