//! Invalid arguments are errors with a message that names them, never a panic.

use crate::common::{array, ids, leaf, normal};
use xt_autograd::ops::{self, Activation, CrossEntropy, Inner, Layer, Mask};
use xt_autograd::{no_grad, Array, DType, Device, Error, Format, Result, Tensor};
use xt_kernels::ops::rotary::Pairs;
use xt_kernels::philox::Stream;

fn x(dims: &[usize]) -> Tensor {
    Tensor::constant(normal(dims, 1))
}

fn f32s(dims: &[usize]) -> Tensor {
    Tensor::constant(normal(dims, 1).to_dtype(DType::F32).unwrap())
}

fn bools(values: &[u8]) -> Tensor {
    Tensor::boolean(bytes(values).array().unwrap())
}

fn bytes(values: &[u8]) -> Tensor {
    Tensor::constant(Array::new(values, &Device::Cpu).unwrap())
}

fn array_of(value: f64) -> Tensor {
    Tensor::constant(Array::new(&[value], &Device::Cpu).unwrap())
}

type InvalidCase = (&'static str, fn() -> Result<Tensor>);

fn assert_errors(cases: &[InvalidCase]) {
    for (words, op) in cases {
        let message = op().err().unwrap_or_else(|| panic!("`{words}` was taken")).to_string();
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
}

#[test]
fn arithmetic() {
    assert_errors(&[
        ("add: shapes [2, 3] and [2, 4] do not broadcast", || ops::add(&x(&[2, 3]), &x(&[2, 4]))),
        ("mul: types f64 and f32 differ", || ops::mul(&x(&[2]), &f32s(&[2]))),
        ("add: types i64 and f32 differ", || ops::add(&ids(&[1], &[1]), &f32s(&[1]))),
        ("1 to the power -1 is no whole number", || ops::pow(&ids(&[1], &[1]), &ids(&[-1], &[1]))),
        ("truth values have no difference", || ops::sub(&bools(&[1]), &bools(&[0]))),
        ("truth values have no powers", || ops::pow(&bools(&[1]), &bools(&[0]))),
        ("neg of truth values", || ops::neg(&bools(&[1]))),
        ("abs of truth values", || ops::abs(&bools(&[1]))),
        ("300 is not one of the whole numbers of u8, 0 to 255", || {
            ops::scalar_like(&bytes(&[1]), 300.0)
        }),
        ("NaN with whole numbers", || ops::scalar_like(&ids(&[1], &[1]), f64::NAN)),
        ("does not fit a 64-bit integer", || ops::cast(&array_of(f64::NAN), DType::I64, false)),
        ("0.5 with whole numbers", || ops::scalar_like(&ids(&[1], &[1]), 0.5)),
        ("matmul: both need one axis", || ops::matmul(&x(&[]), &x(&[2, 2]), 1.0)),
        ("[2, 3] and [4, 2]", || ops::matmul(&x(&[2, 3]), &x(&[4, 2]), 1.0)),
        ("[3] and [4]", || ops::matmul(&x(&[3]), &x(&[4]), 1.0)),
        ("[3] and [5, 4, 2]", || ops::matmul(&x(&[3]), &x(&[5, 4, 2]), 1.0)),
        ("[2, 3] and [2]", || ops::matmul(&x(&[2, 3]), &x(&[2]), 1.0)),
        ("types", || ops::matmul(&x(&[2, 2]), &f32s(&[2, 2]), 1.0)),
        ("matmul needs floating-point values, got i64", || {
            ops::matmul(&ids(&[1], &[1, 1]), &x(&[1, 1]), 1.0)
        }),
        ("exp needs floating-point values", || ops::exp(&ids(&[1], &[1]))),
        ("gelu needs floating-point values", || {
            ops::activation(&ids(&[1], &[1]), Activation::Gelu)
        }),
        ("out of memory", || {
            let wide = |dims: &[usize]| ops::broadcast_to(&x(&[1, 1]), dims);
            ops::add(&wide(&[1 << 31, 1])?, &wide(&[1, 1 << 31])?)
        }),
    ]);
}

#[test]
fn shapes() {
    assert_errors(&[
        ("6 elements", || ops::reshape(&x(&[2, 3]), &[4])),
        ("6 elements", || ops::reshape(&x(&[2, 3]), &[usize::MAX, 2])),
        ("no order of the 2 axes", || ops::permute(&x(&[2, 3]), &[0, 0])),
        ("no order of the 2 axes", || ops::permute(&x(&[2, 3]), &[0])),
        ("no axes 0 and 2", || ops::transpose(&x(&[2, 3]), 0, 2)),
        ("slice", || ops::narrow(&x(&[2, 3]), 1, 2, 2)),
        ("slice", || ops::narrow(&x(&[2, 3]), 1, usize::MAX, 2)),
        ("slice", || ops::narrow(&x(&[2, 3]), 2, 0, 1)),
        ("cat: no tensors", || ops::cat(&[], 0)),
        ("differ in type or outside of axis 0", || ops::cat(&[&x(&[2, 3]), &x(&[2, 4])], 0)),
        ("differ in type or outside of axis 2", || ops::cat(&[&x(&[2, 3])], 2)),
        ("no place for axis 3", || ops::stack(&[&x(&[2, 3])], 3)),
        ("differ", || ops::stack(&[&x(&[2, 3]), &x(&[3, 2])], 0)),
        ("", || ops::broadcast_to(&x(&[2, 3]), &[3])),
        ("", || ops::broadcast_to(&x(&[2, 3]), &[4, 3])),
    ]);
}

#[test]
fn reductions() {
    assert_errors(&[
        ("no axis 2", || ops::sum(&x(&[2, 3]), Some(&[2]), false)),
        ("mean needs floating-point values", || ops::mean(&ids(&[1], &[1]), None, false)),
        ("no largest of nothing: axis 0 of shape [0, 3]", || ops::max(&x(&[0, 3]), None, false)),
        ("no smallest of nothing: axis 1 of shape [2, 0]", || {
            ops::min(&x(&[2, 0]), Some(&[1]), false)
        }),
        ("nothing", || ops::argmax(&x(&[2, 0]), 1, false)),
        ("nothing", || ops::argmin(&x(&[2, 0]), 1, false)),
        ("no axis 2", || ops::var(&x(&[2, 3]), Some(&[2]), 1.0, false)),
        ("std needs floating-point values", || ops::std(&ids(&[1], &[1]), None, 1.0, false)),
        ("norm needs floating-point values", || ops::norm(&ids(&[1], &[1]), None, 2.0, false)),
        ("p is NaN", || ops::norm(&x(&[1]), None, f64::NAN, false)),
        ("no largest of nothing", || ops::norm(&x(&[0]), None, f64::INFINITY, false)),
        ("no axis 1", || ops::cumsum(&x(&[2]), 1)),
        ("no axis 0", || ops::softmax(&x(&[]), 0)),
        ("softmax needs floating-point values", || ops::log_softmax(&ids(&[1], &[1]), 0)),
    ]);
}

#[test]
fn selection() {
    assert_errors(&[
        ("indices must be i64", || ops::embedding(&x(&[2, 3]), &x(&[2]))),
        ("index 2 is out of range", || ops::embedding(&x(&[2, 3]), &ids(&[0, 2], &[2]))),
        ("", || ops::embedding(&x(&[2]), &ids(&[0], &[1]))),
        ("index 3 is out of range", || ops::gather(&x(&[2, 3]), &ids(&[3], &[1, 1]), 1)),
        ("index -1 is out of range", || ops::gather(&x(&[2, 3]), &ids(&[-1], &[1, 1]), 1)),
        ("do not fit", || ops::gather(&x(&[2, 3]), &ids(&[0], &[1]), 1)),
        ("no 4 elements along axis 1", || ops::argsort(&x(&[2, 3]), 1, 4, false)),
        ("no 0 elements along axis 0", || ops::argsort(&x(&[]), 0, 0, false)),
        ("a triangle needs two axes", || ops::triangle(&x(&[3]), 0, true)),
        ("outer needs two vectors", || ops::outer(&x(&[3]), &x(&[3, 1]))),
        ("more elements than", || ops::broadcast_to(&x(&[1]), &[1 << 40, 1 << 40])),
        ("too long an axis", || ops::repeat(&x(&[1 << 4, 0]), &[1 << 62, 1])),
        ("memory", || ops::repeat(&x(&[1]), &[1 << 50])),
        ("fewer counts", || ops::repeat(&x(&[2, 3]), &[2])),
        ("more than once", || ops::flip(&x(&[2, 3]), &[1, 1])),
        ("condition must be bool", || ops::where_cond(&x(&[2]), &x(&[2]), &x(&[2]))),
        ("do not broadcast", || {
            ops::where_cond(&ops::cast(&x(&[3]), DType::U8, true)?, &x(&[2]), &x(&[2]))
        }),
    ]);
}

#[test]
fn layers() {
    assert_errors(&[
        ("weights [4, 3] does not take [2, 2]", || ops::linear(&x(&[2, 2]), &x(&[4, 3]), None)),
        ("F32, the weights are F64", || ops::linear(&f32s(&[2, 3]), &x(&[4, 3]), None)),
        ("bias", || ops::linear(&x(&[2, 3]), &x(&[4, 3]), Some(&x(&[3])))),
        ("F64", || ops::linear(&x(&[2, 3]), &x(&[4, 3]), Some(&f32s(&[4])))),
        ("norm over [4]", || ops::layer_norm(&x(&[2, 3]), &x(&[4]), &x(&[4]), 1e-5)),
        ("F64", || ops::layer_norm(&x(&[2, 3]), &f32s(&[3]), &x(&[3]), 1e-5)),
        ("", || ops::masked_softmax(&x(&[2, 3]), &Mask { causal: true, ..Mask::default() })),
        ("rotary table", || {
            ops::rotary(
                &x(&[1, 2, 1, 4]),
                (&normal(&[3, 2], 1), &normal(&[3, 2], 1)),
                Pairs::Halves,
            )
        }),
        ("rotary table", || {
            ops::rotary(
                &x(&[1, 2, 1, 3]),
                (&normal(&[2, 2], 1), &normal(&[2, 2], 1)),
                Pairs::Halves,
            )
        }),
        ("targets must be i64 of shape [2]", || {
            ops::cross_entropy(&x(&[2, 3]), &ids(&[0], &[1]), CrossEntropy::ignoring(0))
        }),
        ("target 3 is out of range", || {
            ops::cross_entropy(&x(&[2, 3]), &ids(&[0, 3], &[2]), CrossEntropy::ignoring(-1))
        }),
        ("targets must be i64 of shape [2]", || {
            ops::linear_cross_entropy(
                &x(&[2, 3]),
                (&x(&[4, 3]), None),
                &ids(&[0], &[1]),
                CrossEntropy::ignoring(0),
            )
        }),
        ("does not take a bias", || {
            ops::linear_cross_entropy(
                &x(&[1, 3]),
                (&x(&[4, 3]), Some(&x(&[3]))),
                &ids(&[0], &[1]),
                CrossEntropy::ignoring(0),
            )
        }),
        ("axis of classes", || {
            ops::cross_entropy(&x(&[]), &ids(&[0], &[1]), CrossEntropy::ignoring(0))
        }),
        ("mse: shapes [2] and [3] differ", || ops::mse(&x(&[2]), &x(&[3]))),
    ]);
}

#[test]
fn quantized_weights_compute_as_their_values_and_record_no_graph() {
    let of_rows = |rows, seed, format: Option<Format>| {
        let (tensor, leaf) = leaf(normal(&[rows, 32], seed).to_dtype(DType::F32).unwrap());
        leaf.set_requires_grad(false);
        if let Some(format) = format {
            leaf.quantize(format).unwrap();
        }
        tensor
    };
    let weight = |seed, format| of_rows(6, seed, format);
    let of_input = leaf(normal(&[3, 32], 1).to_dtype(DType::F32).unwrap()).0;
    let input = of_input.detach().unwrap();
    let bias = leaf(normal(&[6], 2).to_dtype(DType::F32).unwrap()).0;
    for format in Format::ALL {
        let w = weight(3, Some(format));
        let plain = w.detach().unwrap();
        let near = |got: Result<Tensor>, want: Result<Tensor>| {
            let [got, want] =
                [got, want].map(|y| crate::common::values(&y.unwrap().array().unwrap()));
            got.iter()
                .zip(&want)
                .for_each(|(g, w)| assert!((g - w).abs() < 1e-4, "{format:?}: {g}, not {w}"));
        };
        near(ops::linear(&input, &w, None), ops::linear(&input, &plain, None));
        // one or both of a feed-forward network's layers
        let up = of_rows(64, 6, Some(format));
        let through = |up: &Tensor, down: &Tensor| {
            let [up, down] = [up, down].map(|weight| Layer { weight, bias: None });
            ops::feedforward(&input, up, Inner::Glu(Activation::Gelu), down)
        };
        let plain_up = up.detach().unwrap();
        for (up, down) in [(&up, &w), (&up, &plain), (&plain_up, &w)] {
            near(through(up, down), through(&plain_up, &plain));
        }
        // some of them quantized
        let mixed = [w.clone(), weight(4, None), weight(5, Some(format))];
        for (y, w) in ops::linear_all(&input, &mixed).unwrap().into_iter().zip(&mixed) {
            near(Ok(y), ops::linear(&input, &w.detach().unwrap(), None));
        }
        // whichever input requires the gradient
        let refused = [
            ops::linear(&of_input, &w, None),
            ops::linear(&input, &w, Some(&bias)),
            ops::linear_all(&of_input, std::slice::from_ref(&w)).map(|mut all| all.remove(0)),
        ];
        for result in refused {
            assert!(matches!(result, Err(Error::Quantized { what: "training", .. })));
        }
        no_grad(|| ops::linear(&of_input, &w, Some(&bias))).unwrap();
    }
    let quantized = weight(3, Some(Format::Q8_0));
    assert!(ops::linear(&input, &quantized, Some(&x(&[6])))
        .unwrap_err()
        .to_string()
        .contains("F64"));
    assert!(ops::linear(&x(&[2, 32]), &quantized, None)
        .unwrap_err()
        .to_string()
        .contains("cast one of them"));
}

#[test]
fn empty_tensors_are_accepted() {
    let empty = x(&[2, 0, 4]);
    let stream = Stream { seed: 1, call: 1, draw: 1 };
    for y in [
        ops::exp(&empty),
        ops::add(&empty, &x(&[4])),
        ops::activation(&empty, Activation::Silu),
        ops::layer_norm(&empty, &x(&[4]), &x(&[4]), 1e-5),
        ops::dropout(&empty, 0.5, stream),
        ops::softmax(&empty, 2),
        ops::linear(&empty, &x(&[4, 4]), Some(&x(&[4]))),
    ] {
        assert_eq!(y.unwrap().dims(), [2, 0, 4]);
    }
    assert_eq!(
        crate::common::values(&ops::sum(&empty, None, false).unwrap().array().unwrap()),
        [0.0]
    );
}

#[test]
fn values_and_gradients_must_have_the_shape_of_the_leaf() {
    let (_, of_x) = leaf(normal(&[2, 3], 1));
    assert!(of_x.set(array(&[1.0], &[1])).is_err());
    assert!(of_x.set_grad(Some(array(&[1.0], &[1]))).is_err());
    assert_eq!((of_x.version(), of_x.grad().unwrap().is_none()), (0, true));
}
