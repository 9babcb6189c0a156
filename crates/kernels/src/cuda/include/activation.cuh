// The activation functions and their derivatives.
#pragma once
#include "half.cuh"

/// The order of `Activation` in activation/mod.rs.
enum Activation { GELU, SILU, RELU, RELU_SQUARED, SIGMOID, GELU_TANH, QUICK_GELU };

template <typename C>
DEVICE C logistic(C x) {
  return C(1) / (C(1) + exp(-x));
}

/// The cumulative distribution function of the normal distribution.
template <typename C>
DEVICE C phi(C x) {
  return C(0.5) * (C(1) + erf(x * C(0.70710678118654752440)));
}

/// `max(x, 0)`; NaN for NaN.
template <typename C>
DEVICE C rectified(C x) {
  return x <= C(0) ? C(0) : x;
}

/// The factor of x in QUICK_GELU.
template <typename C>
DEVICE C quick() {
  return C(1.702);
}

/// 2 sqrt(2/pi) (1 + `cubic` x^2). x^2 is limited as in activation/mod.rs: there the logistic
/// function is 0 or 1, while x^2 may be infinite.
template <typename C>
DEVICE C steepness(C x, C cubic) {
  C square = x * x;
  square = square > C(900) ? C(900) : square;
  return C(1.59576912160573071) * (C(1) + cubic * square);
}

/// The u of GELU_TANH = x logistic(u), since tanh(y) = 2 logistic(2y) - 1.
template <typename C>
DEVICE C tanh_argument(C x) {
  return x * steepness(x, C(0.044715));
}

template <typename C>
DEVICE C activate(u32 kind, C x) {
  switch (kind) {
    case GELU: return x * phi(x);
    case SILU: return x * logistic(x);
    case RELU: return rectified(x);
    case RELU_SQUARED: return rectified(x) * rectified(x);
    case SIGMOID: return logistic(x);
    case GELU_TANH: return x * logistic(tanh_argument(x));
    default: return x * logistic(quick<C>() * x);
  }
}

/// The derivative. That of ReLU is 0 at 0 and 1 at NaN, as in PyTorch.
template <typename C>
DEVICE C slope(u32 kind, C x) {
  switch (kind) {
    case GELU: return phi(x) + x * (exp(C(-0.5) * x * x) * C(0.398942280401432678));
    case SILU: {
      C s = logistic(x);
      return s + x * s * (C(1) - s);
    }
    case RELU: return x <= C(0) ? C(0) : C(1);
    case RELU_SQUARED: return C(2) * rectified(x);
    case SIGMOID: {
      C s = logistic(x);
      return s * (C(1) - s);
    }
    case GELU_TANH: {
      C s = logistic(tanh_argument(x));
      return s + x * s * (C(1) - s) * steepness(x, C(3 * 0.044715));
    }
    default: {
      C s = logistic(quick<C>() * x);
      return s + x * s * (C(1) - s) * quick<C>();
    }
  }
}
