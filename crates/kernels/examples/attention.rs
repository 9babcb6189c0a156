//! A matrix product and causal attention on plain arrays:
//! `cargo run --release --example attention -p xt-kernels`.

use xt_kernels::ops::attention::{forward, AttentionArgs};
use xt_kernels::ops::matmul::matmul;
use xt_kernels::ops::softmax::Mask;
use xt_kernels::philox::Stream;
use xt_kernels::{Array, Device, Result};

/// Seeded normal numbers.
fn normal(dims: &[usize], draw: u32) -> Result<Array> {
    let drawn = Stream { seed: 1, call: 0, draw }.normal(dims.iter().product());
    let values: Vec<f32> = drawn.into_iter().map(|x| x as f32).collect();
    Array::from_vec(values, dims, &Device::Cpu)
}

fn main() -> Result<()> {
    let a = Array::from_vec(vec![1f32, 2., 3., 4.], &[2, 2], &Device::Cpu)?;
    println!("a · aᵀ = {:?}", matmul(&a, &a.t()?, 1.0)?.to_vec2::<f32>()?);

    // 2 heads over 6 tokens, each of width 8: (batch, heads, tokens, width)
    let dims = [1, 2, 6, 8];
    let args = AttentionArgs {
        scale: 8f64.powf(-0.5),
        mask: Mask { causal: true, ..Mask::default() },
        ..AttentionArgs::new(normal(&dims, 0)?, normal(&dims, 1)?, normal(&dims, 2)?)
    };
    let (y, _) = forward(&args)?;
    println!("attention gives {:?}", y.dims());
    let first = |x: &Array| -> Result<Vec<f32>> {
        Ok(x.squeeze(0)?.to_vec3::<f32>()?.swap_remove(0).swap_remove(0))
    };
    println!("the first token sees itself alone: {}", first(&y)? == first(&args.v)?);
    Ok(())
}
