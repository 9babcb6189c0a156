//! Cases of kernels that reduce or normalise rows.

use super::inputs::Inputs;
use crate::error::Result;
use xt_core::Array;
use xt_kernels::ops::cumsum::cumsum;
use xt_kernels::ops::extremes::{extreme, position, Extreme};
use xt_kernels::ops::layer_norm as layer;
use xt_kernels::ops::reduce;
use xt_kernels::ops::rotary::{rotate, Direction, Pairs};
use xt_kernels::ops::scale_norm::{self as scaled, Scale};
use xt_kernels::ops::softmax::{self as soft, Mask};
use xt_kernels::ops::sort::argsort;
use xt_kernels::ops::sparse_topk;

pub fn sum(of: &Inputs) -> Result<Vec<Array>> {
    // u8 holds the sums of 255 ones
    let (wide, long) = (of.any(&[255, of.size(40_009, 37)], 2, 1)?, of.size(40_009, 37));
    let x = of.any(&[long, 255], 2, 2)?;
    let mut all = vec![reduce::sum(&wide, &[0])?, reduce::sum(&x, &[1])?];
    if of.dtype.is_float() {
        let x = of.normal(&[7, of.size(1031, 11), 33], 3)?;
        all.extend([reduce::sum(&x, &[0, 2])?, reduce::sum(&x, &[1])?, x.sum_all()?]);
        all.push(reduce::sum(&of.normal(&[3, of.size(1_000_003, 5001)], 4)?, &[1])?);
    }
    Ok(all)
}

pub fn extremes(of: &Inputs) -> Result<Vec<Array>> {
    let x = of.any(&[of.size(1031, 11), of.size(517, 13), 5], 200, 1)?;
    let long = of.any(&[3, of.size(100_003, 3001)], 200, 2)?;
    let mut all = Vec::new();
    for kind in [Extreme::Max, Extreme::Min] {
        for axes in [&[0][..], &[1], &[2], &[0, 2]] {
            all.push(extreme(&x, axes, kind)?);
        }
        all.extend([extreme(&long, &[1], kind)?, position(&long, 1, kind)?]);
        for axis in 0..3 {
            all.push(position(&x, axis, kind)?);
        }
    }
    Ok(all)
}

pub fn sort(of: &Inputs) -> Result<Vec<Array>> {
    let x = of.any(&[of.size(517, 13), of.size(1031, 11)], 20, 1)?;
    let (_, width) = x.dims2()?;
    let kinds = [(width, false), (width, true), (5, true)];
    kinds.into_iter().map(|(k, descending)| Ok(argsort(&x, k, descending)?)).collect()
}

pub fn running_sums(of: &Inputs) -> Result<Vec<Array>> {
    let x = of.any(&[of.size(517, 13), of.size(1031, 301), 3], 20, 1)?;
    let both = |axis| [false, true].map(|reverse| Ok(cumsum(&x, axis, reverse)?));
    (0..3).flat_map(both).collect()
}

pub fn softmax(of: &Inputs) -> Result<Vec<Array>> {
    let (i, j) = (of.size(517, 9), of.size(1031, 13));
    let dims = [2, 3, i, j];
    let (scores, grad) = (of.normal(&dims, 1)?, of.normal(&dims, 2)?);
    let masks = [
        Mask::default(),
        Mask { causal: true, ..Mask::default() },
        Mask { causal: true, window: Some(j / 3), ..Mask::default() },
        Mask { allowed: Some(of.mask(&[2, 1, i, j], 3)?), ..Mask::default() },
        Mask { allowed: Some(of.mask(&[1, 3, 1, j], 4)?), causal: true, ..Mask::default() },
    ];
    let mut all = Vec::new();
    for mask in masks {
        let y = soft::forward(&scores, &mask)?;
        all.extend([soft::backward(&y, &grad, &mask)?, y]);
    }
    let square = of.normal(&[2, 3, i, i], 6)?;
    let packed = Mask { ranges: Some(of.documents(2, i)?), causal: true, ..Mask::default() };
    let y = soft::forward(&square, &packed)?;
    all.extend([soft::backward(&y, &of.normal(&[2, 3, i, i], 7)?, &packed)?, y]);
    let long = of.normal(&[1, 1, 3, of.size(100_003, 3001)], 5)?;
    all.push(soft::forward(&long, &Mask::default())?);
    Ok(all)
}

const NORM_ROWS: [(usize, usize); 2] = [(2051, 1023), (7, 40_009)];
const FEW_ROWS: [(usize, usize); 2] = [(9, 33), (3, 1500)];

pub fn layer_norm(of: &Inputs) -> Result<Vec<Array>> {
    let mut all = Vec::new();
    for (rows, dim) in if of.quick { FEW_ROWS } else { NORM_ROWS } {
        let (x, grad) = (of.normal(&[rows, dim], 1)?, of.normal(&[rows, dim], 2)?);
        let (weight, bias) = (of.normal(&[dim], 3)?, of.normal(&[dim], 4)?);
        all.push(layer::forward(&x, &weight, &bias, 1e-5)?);
        for residual in [None, Some(&grad)] {
            let gradients = layer::backward(&x, &weight, &grad, residual, 1e-5)?;
            all.extend([gradients.x, gradients.weight, gradients.bias]);
        }
    }
    Ok(all)
}

pub fn scale_norm(of: &Inputs) -> Result<Vec<Array>> {
    let mut all = Vec::new();
    for (rows, dim) in if of.quick { FEW_ROWS } else { NORM_ROWS } {
        let (x, grad) = (of.normal(&[rows, dim], 1)?, of.normal(&[rows, dim], 2)?);
        let gain = of.normal(&[dim], 3)?;
        let scale = Scale { scale: (dim as f64).powf(-0.5), eps: 1e-8, added: false };
        let added = Scale { eps: 1e-2, added: true, ..scale };
        let cases =
            [(None, None, scale), (Some(&gain), Some(&grad), scale), (Some(&gain), None, added)];
        for (gain, residual, scale) in cases {
            all.push(scaled::forward(&x, gain, scale)?);
            let (dx, dgain) = scaled::backward(&x, gain, &grad, residual, scale)?;
            all.push(dx);
            all.extend(dgain);
        }
    }
    Ok(all)
}

pub fn rotary(of: &Inputs) -> Result<Vec<Array>> {
    let (n, dim, half) = (of.size(1031, 11), of.size(96, 10), of.size(31, 3));
    let x = of.normal(&[3, n, 5, dim], 1)?;
    let (cos, sin) = (of.normal(&[n, half], 2)?, of.normal(&[n, half], 3)?);
    Ok(vec![
        rotate(&x, (&cos, &sin), Pairs::Halves, Direction::Forward)?,
        rotate(&x, (&cos, &sin), Pairs::Halves, Direction::Transposed)?,
        rotate(&x, (&cos, &sin), Pairs::Neighbours, Direction::Forward)?,
    ])
}

pub fn sparse_topk(of: &Inputs) -> Result<Vec<Array>> {
    let (i, j) = (of.size(517, 7), of.size(1031, 40));
    let scores = of.normal(&[2, 3, i, j], 1)?;
    let causal = Mask { causal: true, ..Mask::default() };
    Ok(vec![
        sparse_topk::largest(&scores, &Mask::default(), 1)?,
        sparse_topk::largest(&scores, &causal, j / 3)?,
    ])
}
