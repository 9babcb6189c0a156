use super::blocks::f16_to_f32;
use super::format::{Format, BLOCK};
use super::packed::Packed;
use super::product::{forward, forward_all};
use crate::ops::linear;
use crate::testing::{assert_close, normal, values};
use crate::{Array, DType, Device};
use candle_core::quantized::{GgmlDType, QTensor};
use half::f16;

fn packed(rows: usize, width: usize, format: Format) -> Packed {
    Packed::new(&normal(&[rows, width], 7), format).unwrap()
}

#[test]
fn values_are_those_of_candle() {
    // Some blocks are so small that their scale is a subnormal f16, one contains only zeros.
    let mut weights = values(&normal(&[9, 96], 1));
    weights[..96].iter_mut().for_each(|w| *w *= 1e-4);
    weights[96..128].iter_mut().for_each(|w| *w *= 1e-6);
    weights[128..160].fill(0.0);
    let weight =
        Array::from_vec(weights, (9, 96), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    for (format, theirs) in [(Format::Q8_0, GgmlDType::Q8_0), (Format::Q4_0, GgmlDType::Q4_0)] {
        let want = QTensor::quantize(weight.host().unwrap(), theirs).unwrap();
        let got = Packed::new(&weight, format).unwrap();
        assert_eq!(
            values(&got.values().unwrap()),
            values(&want.dequantize(&candle_core::Device::Cpu).unwrap().into()),
            "{format:?}"
        );
        assert_eq!(format.bytes(9 * 96), want.storage_size_in_bytes());
    }
    let want = weight.to_dtype(DType::BF16).unwrap();
    assert_eq!(
        values(&Packed::new(&weight, Format::Bf16).unwrap().values().unwrap()),
        values(&want)
    );
}

#[test]
fn every_scale_is_widened_exactly() {
    for bits in (0..=u16::MAX).filter(|bits| f16::from_bits(*bits).is_finite()) {
        assert_eq!(f16_to_f32(bits).to_bits(), f16::from_bits(bits).to_f32().to_bits(), "{bits}");
    }
}

#[test]
fn what_was_rounded_stays_so() {
    for format in Format::ALL {
        let once = packed(8, 320, format).values().unwrap();
        assert_eq!(values(&Packed::new(&once, format).unwrap().values().unwrap()), values(&once));
    }
}

#[test]
fn rounds_within_half_a_step() {
    let weight = normal(&[4, 64], 3);
    for (format, steps) in [(Format::Q8_0, 127.0), (Format::Q4_0, 8.0)] {
        let got = values(&Packed::new(&weight, format).unwrap().values().unwrap());
        for (got, want) in got.chunks(BLOCK).zip(values(&weight).chunks(BLOCK)) {
            let most = want.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
            // With 4 bits, a positive weight of largest magnitude has no exact quant. The scale
            // is rounded too.
            let allowed =
                most / steps * if format == Format::Q8_0 { 0.51 } else { 1.01 } + most * 1e-3;
            got.iter()
                .zip(want)
                .for_each(|(g, w)| assert!((g - w).abs() <= allowed, "{format:?}: {g}, not {w}"));
        }
    }
}

#[test]
fn products_are_those_of_the_rounded_weights() {
    let sizes = [
        (1, 1, 32),
        (1, 7, 64),
        (2, 130, 96),
        (3, 700, 160),
        (5, 33, 4128),
        (24, 65, 512),
        (97, 1300, 288),
    ];
    for format in Format::ALL {
        for (m, n, k) in sizes.into_iter().chain([(0, 3, 32), (2, 0, 32)]) {
            let (x, w, b) = (normal(&[1, m, k], 1), packed(n, k, format), normal(&[n], 3));
            let plain = w.values().unwrap();
            let want = linear::forward(&x, &plain, None).unwrap();
            let got = forward(&x, &w, None).unwrap();
            assert_close(&got, &want, 1e-5);
            if m * n > 0 {
                let want = linear::forward(&x, &plain, Some(&b)).unwrap();
                assert_close(&forward(&x, &w, Some(&b)).unwrap(), &want, 1e-5);
            }
            let other = packed(5, k, format);
            let both = forward_all(&x, &[&w, &other]).unwrap();
            assert_eq!(values(&both[0]), values(&got));
            assert_close(
                &both[1],
                &linear::forward(&x, &other.values().unwrap(), None).unwrap(),
                1e-5,
            );
        }
    }
}

#[test]
fn a_width_without_blocks_takes_bf16_alone() {
    let (x, weight) = (normal(&[3, 19], 1), normal(&[6, 19], 2));
    let message = |format| Packed::new(&weight, format).err().unwrap().to_string();
    assert!(message(Format::Q8_0).contains("rows of 19"), "{}", message(Format::Q8_0));
    assert!(
        !Format::Q4_0.supports_width(48)
            && Format::Q4_0.supports_width(64)
            && Format::Bf16.supports_width(1)
            && !Format::Bf16.supports_width(0)
    );
    let w = Packed::new(&weight, Format::Bf16).unwrap();
    let want = linear::forward(&x, &w.values().unwrap(), None).unwrap();
    assert_close(&forward(&x, &w, None).unwrap(), &want, 1e-5);
}

#[test]
fn weights_that_a_format_cannot_hold_are_errors() {
    let with =
        |w: f32| Array::from_vec([vec![0.1; 31], vec![w]].concat(), (1, 32), &Device::Cpu).unwrap();
    for w in [f32::NAN, f32::INFINITY, 1e8] {
        let message = Packed::new(&with(w), Format::Q8_0).err().unwrap().to_string();
        assert!(message.contains("which q8_0 cannot hold"), "{message}");
    }
    assert!(Packed::new(&with(6e5), Format::Q8_0).is_ok());
    assert!(Packed::new(&with(6e5), Format::Q4_0).is_err());
    assert!(Packed::new(&with(f32::NAN), Format::Bf16)
        .unwrap()
        .values()
        .unwrap()
        .to_vec2::<f32>()
        .unwrap()[0][31]
        .is_nan());
}
