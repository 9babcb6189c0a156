//! Builds tensors from the values that were read.

use super::file::TensorPlan;
use super::sink::Sink;
use crate::{Array, Device, Error, Result, Tensor};

/// The tensors that `plans` describe, and scalar tensors for `numbers`, by name.
pub fn assemble(
    plans: Vec<TensorPlan>,
    sinks: Vec<Sink>,
    numbers: Vec<(String, f64)>,
) -> Result<Vec<(String, Tensor)>> {
    // views are copied first; the other tensors then take over the storages without a copy
    let views = plans.iter().map(|plan| match (&plan.view, sinks.get(plan.sink)) {
        (Some(layout), Some(sink)) => sink.view(layout).map(Some),
        _ => Ok(None),
    });
    let views: Vec<Option<Array>> = views.collect::<Result<_>>()?;
    let boolean: Vec<bool> = sinks.iter().map(Sink::is_boolean).collect();
    let arrays: Vec<Array> = sinks.into_iter().map(Sink::into_array).collect::<Result<_>>()?;
    let tensor = |(plan, view): (TensorPlan, Option<Array>)| {
        let array = view.as_ref().or(arrays.get(plan.sink));
        let array = array
            .ok_or_else(|| Error::Internal("a tensor has no values".into()))?
            .reshape(plan.shape)?;
        let boolean = boolean.get(plan.sink).is_some_and(|b| *b);
        Ok((plan.name, if boolean { Tensor::boolean(array) } else { Tensor::constant(array) }))
    };
    let mut tensors = plans.into_iter().zip(views).map(tensor).collect::<Result<Vec<_>>>()?;
    for (name, value) in numbers {
        tensors.push((name, Tensor::constant(Array::full(value, (), &Device::Cpu)?)));
    }
    Ok(tensors)
}
