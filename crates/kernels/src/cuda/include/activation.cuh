// The activation functions and their derivatives.
#pragma once
#include "half.cuh"

/// The order of `Activation` in activation/mod.rs.
enum Activation { GELU, SILU, RELU, RELU_SQUARED, SIGMOID };

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

template <typename C>
DEVICE C activate(u32 kind, C x) {
  switch (kind) {
    case GELU: return x * phi(x);
    case SILU: return x * logistic(x);
    case RELU: return rectified(x);
    case RELU_SQUARED: return rectified(x) * rectified(x);
    default: return logistic(x);
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
    default: {
      C s = logistic(x);
      return s * (C(1) - s);
    }
  }
}
