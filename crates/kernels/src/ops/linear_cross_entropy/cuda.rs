//! The loss on GPUs: blocks of logits, as on the CPU.

use super::inputs::{block_rows, Gradients, LossArgs, NeedsGrad, GPU_BLOCK};
use crate::cuda::{Array as CudaArray, Gpu};
use crate::ops::cross_entropy::{Rows, Targets};
use crate::ops::layout::{contiguous, narrow};
use crate::ops::matmul::Product;
use crate::ops::{elementwise, linear};
use crate::{Array, DType, Device, Result};
use std::sync::Arc;

pub(super) fn forward(
    of: &LossArgs,
    needs: NeedsGrad,
    gpu: &Arc<Gpu>,
) -> Result<(Array, Gradients)> {
    let (x, weight) = (contiguous(of.x)?, contiguous(of.weight)?);
    let ((rows, inner), (width, _)) = (x.dims2()?, weight.dims2()?);
    let dtype = x.dtype();
    let targets = Targets::new(of.targets, of.of, gpu)?;
    let losses = CudaArray::uninit(gpu, DType::F64, rows)?;
    let zeros = |needed: bool, dims: &[usize]| {
        needed.then(|| Array::zeros(dims, dtype, &Device::Cuda(gpu.clone()))).transpose()
    };
    let mut gradients = Gradients {
        x: zeros(needs.x, &[rows, inner])?,
        weight: zeros(needs.weight, &[width, inner])?,
        bias: zeros(needs.bias, &[width])?,
    };
    let size = block_rows(rows, width, GPU_BLOCK);
    for first in (0..rows).step_by(size) {
        let count = size.min(rows - first);
        let x = narrow(&x, 0, first, count)?;
        let logits = linear::forward(&x, &weight, of.bias)?;
        // in place of the logits
        let dlogits = needs.any().then_some(logits.cuda()?);
        let (logits, losses) = (&logits, Some(&losses));
        let softclamp = of.softclamp;
        targets.rows(&Rows { logits, first, losses, dlogits, grad: None, softclamp })?;
        if let Some(dx) = &gradients.x {
            Product::new(logits, &weight).write(narrow(dx, 0, first, count)?.cuda()?)?;
        }
        if let Some(dweight) = &gradients.weight {
            Product { accumulate: true, ..Product::new(&logits.t()?, &x) }
                .write(dweight.cuda()?)?;
        }
        if let Some(dbias) = &mut gradients.bias {
            *dbias = elementwise::add(dbias, &linear::grad_bias(logits)?)?;
        }
    }
    Ok((targets.mean(&losses, dtype)?, gradients))
}
