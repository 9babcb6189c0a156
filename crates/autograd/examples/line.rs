//! Fits a line to points, by gradients: `cargo run --release --example line -p xt-autograd`.

use std::sync::Arc;
use xt_autograd::{ops, Array, Device, Leaf, Result, Tensor};

const RATE: f64 = 0.5;

/// A column of numbers.
fn column(values: Vec<f64>) -> Result<Array> {
    let rows = values.len();
    Ok(Array::from_vec(values, &[rows, 1], &Device::Cpu)?)
}

fn main() -> Result<()> {
    let xs: Vec<f64> = (0..20).map(|i| f64::from(i) / 20.0).collect();
    let ys = xs.iter().map(|x| 3.0 * x - 1.0).collect();
    let (x, y) = (Tensor::constant(column(xs)?), Tensor::constant(column(ys)?));
    let [slope, offset] = [0.0, 0.0].map(|value| column(vec![value]).map(Leaf::new).map(Arc::new));
    let (slope, offset) = (slope?, offset?);
    for step in 0..=300 {
        let line = ops::mul(&x, &Tensor::leaf(slope.clone()))?;
        let loss = ops::mse(&ops::add(&line, &Tensor::leaf(offset.clone()))?, &y)?;
        if step % 100 == 0 {
            println!("step {step}: loss {:.6}", loss.array()?.to_scalar::<f64>()?);
        }
        loss.backward(false, &|| false)?;
        for leaf in [&slope, &offset] {
            if let Some(gradient) = leaf.grad()? {
                let step = ops::affine(&Tensor::constant(gradient), -RATE, 0.0)?;
                leaf.set(ops::add(&Tensor::constant(leaf.values()?), &step)?.array()?)?;
            }
            leaf.set_grad(None)?;
        }
    }
    let number =
        |leaf: &Leaf| -> Result<f64> { Ok(leaf.values()?.squeeze(0)?.to_vec1::<f64>()?[0]) };
    println!("y = {:.2} x + {:.2}", number(&slope)?, number(&offset)?);
    Ok(())
}
