//! Launches of the kernels in `optimizer.cu`.

use super::step::{Adam, Lion, Sgd, Step, Update};
use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::error::bail;
use crate::kernel::Arrays;
use crate::ops::layout::contiguous;
use crate::ops::reduce;
use crate::{Array, DType, Result};
use std::sync::Arc;

/// As in `optimizer.cu`: parameters of a launch, elements of a block, and settings.
const ENTRIES: usize = 64;
const CHUNK: usize = 4096;
const SETTINGS: usize = 9;

/// Threads of a block.
const THREADS: u32 = 256;

const MODULE: &str = "optimizer";

/// `Entry` in `optimizer.cu`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Entry {
    new_weight: u64,
    weight: u64,
    grad: u64,
    state: [u64; 2],
    count: u64,
    first: u32,
}

/// `SquaresEntry` in `optimizer.cu`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct SquaresEntry {
    x: u64,
    count: u64,
    first: u32,
}

kernel_args! {
    StepArgs { entries: [Entry; ENTRIES], factor: f64, settings: [f64; SETTINGS], count: u32 }
    SquaresArgs { entries: [SquaresEntry; ENTRIES], sums: u64, count: u32 }
}

/// The kernel of a step, and its settings: see `optimizer.cu`.
fn settings(step: &Step) -> (&'static str, [f64; SETTINGS]) {
    let mut all = [0.0; SETTINGS];
    let mut set = |values: &[f64]| all[..values.len()].copy_from_slice(values);
    let kernel = match step {
        Step::Adam { settings: s, .. } => {
            set(&adam(*s));
            "adam"
        }
        Step::Sgd { settings: s, buffer } => {
            set(&sgd(*s));
            if buffer.is_some() {
                "momentum"
            } else {
                "sgd"
            }
        }
        Step::Lion { settings: s, .. } => {
            set(&lion(*s));
            "lion"
        }
    };
    (kernel, all)
}

fn adam(s: Adam) -> [f64; SETTINGS] {
    let (rate, root) = s.corrections();
    let (shrink, decay) = match s.decoupled {
        true => (1.0 - s.lr * s.weight_decay, 0.0),
        false => (1.0, s.weight_decay),
    };
    [rate, 1.0 / root, s.eps, s.beta1, 1.0 - s.beta1, s.beta2, 1.0 - s.beta2, shrink, decay]
}

fn sgd(s: Sgd) -> [f64; 6] {
    let (old, more) = if s.first { (0.0, 1.0) } else { (s.momentum, 1.0 - s.dampening) };
    let (own, sum) = if s.nesterov { (1.0, s.momentum) } else { (0.0, 1.0) };
    [s.lr, s.weight_decay, old, more, own, sum]
}

fn lion(s: Lion) -> [f64; 6] {
    let shrink = 1.0 - s.lr * s.weight_decay;
    [s.lr, shrink, s.beta1, 1.0 - s.beta1, s.beta2, 1.0 - s.beta2]
}

/// The updates of a launch, which share kernel, dtype, settings and factor.
struct Batch {
    name: Name,
    args: StepArgs,
    blocks: u32,
}

impl Batch {
    fn new(name: Name, settings: [f64; SETTINGS], factor: f64) -> Self {
        let args = StepArgs { entries: [Entry::default(); ENTRIES], factor, settings, count: 0 };
        Self { name, args, blocks: 0 }
    }

    /// Whether another update can join.
    fn takes(&self, name: Name, settings: [f64; SETTINGS], factor: f64) -> bool {
        (self.name.kernel, self.name.dtype) == (name.kernel, name.dtype)
            && self.args.settings == settings
            && self.args.factor == factor
            && (self.args.count as usize) < ENTRIES
    }

    fn add(&mut self, entry: Entry) -> Result<()> {
        let Ok(blocks) = u32::try_from((entry.count as usize).div_ceil(CHUNK)) else {
            bail!("a parameter of {} numbers is too large", entry.count);
        };
        self.args.entries[self.args.count as usize] = Entry { first: self.blocks, ..entry };
        self.args.count += 1;
        self.blocks += blocks;
        Ok(())
    }

    fn launch(&self, gpu: &Gpu) -> Result<()> {
        gpu.launch(self.name, [self.blocks, 1], [THREADS, 1], &self.args)
    }
}

/// The new weights; the states change in place.
pub(super) fn in_place(updates: &[Update], gpu: &Arc<Gpu>) -> Result<Vec<Array>> {
    let (mut batch, mut weights, mut kept) = (None::<Batch>, Vec::new(), Vec::new());
    for Update { weight, grad, factor, step } in updates {
        let (weight, grad) = (contiguous(weight)?, contiguous(grad)?);
        let mut state = [0; 2];
        for (address, array) in state.iter_mut().zip(step.state()) {
            if !array.cuda()?.is_whole() {
                bail!("a state {:?} is a part of a larger array", array.dims());
            }
            *address = array.address()?;
        }
        let new = CudaArray::uninit(gpu, weight.dtype(), weight.shape())?;
        let (kernel, settings) = settings(step);
        let name = Name { module: MODULE, kernel, dtype: weight.dtype() };
        if let Some(full) = batch.take_if(|batch| !batch.takes(name, settings, *factor)) {
            full.launch(gpu)?;
        }
        batch.get_or_insert_with(|| Batch::new(name, settings, *factor)).add(Entry {
            new_weight: new.address(),
            weight: weight.address()?,
            grad: grad.address()?,
            state,
            count: weight.elem_count() as u64,
            first: 0,
        })?;
        weights.push(new.into());
        // what `contiguous` has copied is freed after the launch
        kept.push((weight, grad));
    }
    if let Some(last) = batch {
        last.launch(gpu)?;
    }
    Ok(weights)
}

/// The new weight and the new state.
pub(super) fn out_of_place(update: &Update, gpu: &Arc<Gpu>) -> Result<(Array, Step)> {
    let mut update = update.clone();
    let mut failed = None;
    update.step.each_mut(&mut |array| match array.copy() {
        Ok(copy) => *array = copy,
        Err(error) => failed = Some(error),
    });
    if let Some(error) = failed {
        return Err(error);
    }
    match in_place(std::slice::from_ref(&update), gpu)?.pop() {
        Some(weight) => Ok((weight, update.step)),
        None => bail!("an update without a weight"),
    }
}

/// The sum of the squares of all arrays, which have one dtype.
pub(super) fn sum_of_squares(all: &[Array], gpu: &Arc<Gpu>) -> Result<f64> {
    let arrays = all.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let Some(dtype) = arrays.first().map(Array::dtype) else { return Ok(0.0) };
    let blocks = |array: &Array| array.elem_count().div_ceil(CHUNK);
    let total = arrays.iter().map(blocks).sum::<usize>();
    let sums = CudaArray::uninit(gpu, DType::F64, total)?;
    let mut done = 0;
    for some in arrays.chunks(ENTRIES) {
        let mut args = SquaresArgs {
            entries: [SquaresEntry::default(); ENTRIES],
            sums: sums.address() + (done * size_of::<f64>()) as u64,
            count: some.len() as u32,
        };
        let mut first = 0;
        for (entry, array) in args.entries.iter_mut().zip(some) {
            let (x, count) = (array.address()?, array.elem_count() as u64);
            *entry = SquaresEntry { x, count, first: first as u32 };
            first += blocks(array);
        }
        let Ok(blocks) = u32::try_from(first) else { bail!("gradients are too large") };
        gpu.launch(
            Name { module: MODULE, kernel: "squares", dtype },
            [blocks, 1],
            [THREADS, 1],
            &args,
        )?;
        done += first;
    }
    reduce::sum(&sums.into(), &[0])?.reshape(())?.to_scalar()
}
