//! Cases of matrix products.

use super::inputs::Inputs;
use crate::error::Result;
use xt_core::Array;
use xt_kernels::ops::activation::Activation;
use xt_kernels::ops::feedforward::{self as ff, Inner};
use xt_kernels::ops::{linear as layers, matmul as product};

pub fn matmul(of: &Inputs) -> Result<Vec<Array>> {
    let sizes = match of.quick {
        true => [(7, 9, 5), (1, 33, 9), (70, 3, 66), (65, 17, 1)],
        false => [(517, 1031, 333), (1, 4099, 1001), (2050, 3, 1090), (1025, 517, 1)],
    };
    let mut all = Vec::new();
    for (m, k, n) in sizes {
        let (a, b) = (of.normal(&[3, m, k], 1)?, of.normal(&[3, k, n], 2)?);
        let (at, bt) = (of.normal(&[3, k, m], 3)?, of.normal(&[3, n, k], 4)?);
        all.push(product::matmul(&a, &b, 0.5)?);
        all.push(product::matmul(&at.t()?, &bt.t()?, 1.0)?);
    }
    Ok(all)
}

pub fn linear(of: &Inputs) -> Result<Vec<Array>> {
    let (rows, inner, outer) = (of.size(2051, 13), of.size(517, 17), of.size(769, 23));
    let x = of.normal(&[rows, inner], 1)?;
    let (weight, bias) = (of.normal(&[outer, inner], 2)?, of.normal(&[outer], 3)?);
    let (grad, second) = (of.normal(&[rows, outer], 4)?, of.normal(&[outer, inner], 5)?);
    let mut all = vec![
        layers::forward(&x, &weight, Some(&bias))?,
        layers::forward(&x, &weight, None)?,
        layers::grad_input(&grad, &weight)?,
        layers::grad_weight(&grad, &x)?,
        layers::grad_bias(&grad)?,
        layers::grad_input_all(&[(grad.clone(), weight.clone()), (grad.clone(), second.clone())])?,
    ];
    all.extend(layers::forward_all(&x, &[weight, second])?);
    all.extend(layers::grad_weight_all(&[grad.clone(), grad], &x)?);
    Ok(all)
}

pub fn feedforward(of: &Inputs) -> Result<Vec<Array>> {
    let (rows, dim, wide) = (of.size(1031, 9), of.size(259, 11), of.size(1034, 26));
    let x = of.normal(&[rows, dim], 1)?;
    let (weight, bias) = (of.normal(&[wide, dim], 2)?, of.normal(&[wide], 3)?);
    let grad = of.normal(&[rows, dim], 4)?;
    let mut all = Vec::new();
    for (inner, width) in
        [(Inner::Activation(Activation::Gelu), wide), (Inner::Glu(Activation::Silu), wide / 2)]
    {
        let second = of.normal(&[dim, width], 5)?;
        let (up, hidden) = ff::up_and_hidden(&x, &weight, Some(&bias), inner)?;
        let (grad_up, again) = ff::backward(&grad, &second, &up, inner)?;
        all.extend([up, hidden, grad_up, again, ff::hidden(&x, &weight, None, inner)?]);
    }
    Ok(all)
}
