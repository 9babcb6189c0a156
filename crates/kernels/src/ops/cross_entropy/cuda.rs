//! Launches of the kernels in `cross_entropy.cu`.

use super::settings::CrossEntropy;
use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::{contiguous, indices};
use crate::{Array, DType, Result};
use std::sync::Arc;

const MODULE: &str = "cross_entropy";

kernel_args! {
    CountArgs { count: u64, targets: u64, rows: u64, ignore_index: i64 }
    RowsArgs {
        losses: u64, dlogits: u64, logits: u64, targets: u64, count: u64, grad: u64, flag: u64,
        rows: u64, width: u64, ignore_index: i64, own: f64, each: f64, softclamp: f64,
    }
    MeanArgs { loss: u64, losses: u64, count: u64, rows: u64 }
}

/// Targets of rows of logits on a GPU, and how many are not ignored.
pub(crate) struct Targets {
    targets: Array,
    /// A number, f64.
    count: CudaArray,
    of: CrossEntropy,
}

impl Targets {
    pub fn new(targets: &Array, of: CrossEntropy, gpu: &Arc<Gpu>) -> Result<Self> {
        let targets = indices(targets)?;
        let rows = targets.elem_count();
        let count = CudaArray::uninit(gpu, DType::F64, ())?;
        let args = CountArgs {
            count: count.address(),
            targets: targets.address()?,
            rows: rows as u64,
            ignore_index: of.ignore_index,
        };
        let name = Name { module: MODULE, kernel: "count", dtype: DType::I64 };
        gpu.launch(name, [1, 1], [SUM_THREADS, 1], &args)?;
        Ok(Self { targets, count, of })
    }

    /// The mean of losses, f64, of all rows: a scalar of `dtype`.
    pub fn mean(&self, losses: &CudaArray, dtype: DType) -> Result<Array> {
        let gpu = losses.gpu();
        let loss = CudaArray::uninit(gpu, dtype, ())?;
        let args = MeanArgs {
            loss: loss.address(),
            losses: losses.address(),
            count: self.count.address(),
            rows: losses.layout().shape().elem_count() as u64,
        };
        gpu.launch(
            Name { module: MODULE, kernel: "loss_mean", dtype },
            [1, 1],
            [SUM_THREADS, 1],
            &args,
        )?;
        Ok(loss.into())
    }

    /// Computes the loss of each row, or the gradient of its logits, or both.
    pub fn rows(&self, rows: &Rows) -> Result<()> {
        let Rows { logits, first, losses, dlogits, grad, softclamp } = rows;
        let (gpu, (count, width)) = (logits.cuda()?.gpu(), logits.dims2()?);
        let (own, each) = self.of.shares(width);
        let place = |address: u64| address + (*first * size_of::<i64>()) as u64;
        let args = RowsArgs {
            losses: losses.map_or(0, |losses| place(losses.address())),
            dlogits: dlogits.map_or(0, CudaArray::address),
            logits: logits.address()?,
            targets: place(self.targets.address()?),
            count: self.count.address(),
            grad: Array::address_or_null(*grad)?,
            flag: gpu.flag(),
            rows: count as u64,
            width: width as u64,
            ignore_index: self.of.ignore_index,
            own,
            each,
            softclamp: softclamp.unwrap_or(0.0),
        };
        let name = Name { module: MODULE, kernel: "loss_rows", dtype: logits.dtype() };
        gpu.rows(name, (count, width), &args)
    }
}

/// Threads of the block that sums over all rows.
const SUM_THREADS: u32 = 256;

/// Rows of logits, and what to compute of them.
pub(crate) struct Rows<'a> {
    /// (rows, classes), contiguous.
    pub logits: &'a Array,
    /// The first row's index among all targets.
    pub first: usize,
    /// Where to write the losses of all rows, f64.
    pub losses: Option<&'a CudaArray>,
    /// Where to write the gradient; may be the logits.
    pub dlogits: Option<&'a CudaArray>,
    /// The gradient of the loss, a scalar of the dtype of the logits; 1 if `None`.
    pub grad: Option<&'a Array>,
    /// The limit c of the logits, which become `c tanh(logit / c)`; the gradient is that before the
    /// limit.
    pub softclamp: Option<f64>,
}

pub(super) fn forward(
    logits: &Array,
    targets: &Array,
    of: CrossEntropy,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let logits = contiguous(logits)?;
    let targets = Targets::new(targets, of, gpu)?;
    let losses = CudaArray::uninit(gpu, DType::F64, logits.dims2()?.0)?;
    targets.rows(&Rows {
        logits: &logits,
        first: 0,
        losses: Some(&losses),
        dlogits: None,
        grad: None,
        softclamp: None,
    })?;
    targets.mean(&losses, logits.dtype())
}

pub(super) fn backward(
    logits: &Array,
    targets: &Array,
    of: CrossEntropy,
    grad: &Array,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let (logits, grad) = (contiguous(logits)?, grad.to_dtype(logits.dtype())?);
    let targets = Targets::new(targets, of, gpu)?;
    let dlogits = CudaArray::uninit(gpu, logits.dtype(), logits.shape())?;
    targets.rows(&Rows {
        logits: &logits,
        first: 0,
        losses: None,
        dlogits: Some(&dlogits),
        grad: Some(&grad),
        softclamp: None,
    })?;
    Ok(dlogits.into())
}
