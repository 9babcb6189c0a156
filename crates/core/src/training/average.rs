//! Exponential moving averages of weights.
//!
//! Source: Acceleration of stochastic approximation by averaging,
//! <https://doi.org/10.1137/0330046>; as an exponential average in Mean teachers,
//! <https://arxiv.org/abs/1703.01780>.

use crate::memory::BytesByDevice;
use crate::{Error, Leaf, Result};
use std::sync::Arc;
use xt_kernels::ops::elementwise::lerp;

/// Moves each average towards its parameter: `average ← decay · average + (1 - decay) · parameter`.
/// Averages follow their parameters to other devices.
///
/// # Errors
/// The lists do not fit together, a leaf was released, or memory does not suffice; only the latter
/// may leave a part of the averages as they were.
pub fn average(averages: &[Arc<Leaf>], leaves: &[Arc<Leaf>], decay: f64) -> Result<()> {
    check_alike(averages, leaves)?;
    let mut needed = BytesByDevice::default();
    for (average, leaf) in averages.iter().zip(leaves) {
        average.move_to(&leaf.device(), leaf.dtype())?;
        // an average of values that it still shares gets an array of its own
        match average.values()?.is_same(&leaf.values()?) {
            true => needed.add(&leaf.device(), leaf.bytes()),
            false => needed.add_in_turn(&leaf.device(), leaf.bytes()),
        }
    }
    needed.check_sum("averages of the weights")?;
    for (average, leaf) in averages.iter().zip(leaves) {
        average.set(lerp(&average.values()?, &leaf.values()?, 1.0 - decay)?)?;
    }
    Ok(())
}

/// Exchanges the values of leaves, pair by pair, without copying them.
///
/// # Errors
/// The lists do not fit together, a leaf is quantized or was released; nothing has changed then.
pub fn swap_values(some: &[Arc<Leaf>], others: &[Arc<Leaf>]) -> Result<()> {
    check_alike(some, others)?;
    for leaf in some.iter().chain(others) {
        leaf.require_plain("exchanging it for its average")?;
    }
    let pairs: Vec<_> = some.iter().zip(others).collect();
    for (a, b) in &pairs {
        // so that the exchange converts nothing
        b.move_to(&a.device(), a.dtype())?;
    }
    let values = pairs.iter().map(|(a, b)| Ok((a.values()?, b.values()?)));
    let values = values.collect::<Result<Vec<_>>>()?;
    for ((a, b), (of_a, of_b)) in pairs.into_iter().zip(values) {
        a.set(of_b)?;
        b.set(of_a)?;
    }
    Ok(())
}

fn check_alike(some: &[Arc<Leaf>], others: &[Arc<Leaf>]) -> Result<()> {
    let shapes = |leaves: &[Arc<Leaf>]| -> Vec<Vec<usize>> {
        leaves.iter().map(|leaf| leaf.shape().to_vec()).collect()
    };
    if shapes(some) != shapes(others) {
        return Err(Error::Internal("averages of other parameters".into()));
    }
    some.iter().chain(others).try_for_each(|leaf| Ok(leaf.require_not_released()?))
}
