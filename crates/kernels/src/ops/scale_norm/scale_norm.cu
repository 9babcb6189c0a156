// Normalisation of rows by their length, and its gradients. Arrays are contiguous: (rows, width).
#include "rows.cuh"

/// Rows whose share of the gain's gradient one thread sums, as in cuda.rs.
constexpr u64 CHUNK = 64;

struct ForwardArgs {
  void* y;
  const void* x;
  const void* gain;  // (width); null: none
  u64 rows, width;
  double scale, eps;
  u32 added;  // eps is added to the square of the divisor; otherwise it is the least one
};

struct BackwardArgs {
  void* dx;
  void* factors;  // out: the reciprocal divisor of each row, (rows)
  const void* x;
  const void* gain;  // null: none
  const void* grad;
  const void* residual_grad;  // null: none
  u64 rows, width;
  double scale, eps;
  u32 added;
};

struct GainArgs {
  void* sums;           // out: (chunks, width)
  const void* factors;  // (rows)
  const void* x;
  const void* grad;
  u64 rows, width, chunks;
};

/// The divisor of a row, and whether it is a constant: the least one.
template <typename C>
struct Divisor {
  C value;
  bool least;
};

template <typename T, typename Args>
DEVICE Divisor<typename Number<T>::Compute> divisor(const T* x, const Args& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  C squares = 0, eps = C(args.eps);
  FOR_EACH_COLUMN(at, args.width) squares += N::load(x[at]) * N::load(x[at]);
  squares = sum_of_row(squares);
  if (args.added) return {sqrt(squares * C(args.scale * args.scale) + eps), false};
  C length = sqrt(squares) * C(args.scale);
  return {greater_of(length, eps), length <= eps};
}

template <typename T>
DEVICE void forward(const ForwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const T* gain = static_cast<const T*>(args.gain);
  FOR_EACH_ROW(row, args.rows) {
    const T* x = static_cast<const T*>(args.x) + row * args.width;
    T* y = static_cast<T*>(args.y) + row * args.width;
    C by = divisor(x, args).value;
    FOR_EACH_COLUMN(at, args.width) {
      C value = N::load(x[at]) / by;
      y[at] = N::store(gain ? value * N::load(gain[at]) : value);
    }
  }
}

template <typename T>
DEVICE void backward(const BackwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const T* gain = static_cast<const T*>(args.gain);
  FOR_EACH_ROW(row, args.rows) {
    u64 first = row * args.width;
    const T* x = static_cast<const T*>(args.x) + first;
    const T* grad = static_cast<const T*>(args.grad) + first;
    auto weighted = [&](u64 at) {
      return gain ? N::load(grad[at]) * N::load(gain[at]) : C(N::load(grad[at]));
    };
    Divisor<C> by = divisor(x, args);
    C factor = C(1) / by.value;
    C dot = 0;
    FOR_EACH_COLUMN(at, args.width) dot += weighted(at) * N::load(x[at]);
    // a row that reaches the smallest divisor is divided by a constant
    dot = sum_of_row(dot) * (by.least ? C(0) : factor * C(args.scale * args.scale));
    FOR_EACH_COLUMN(at, args.width) {
      C dx = (weighted(at) - N::load(x[at]) * factor * dot) * factor;
      if (args.residual_grad) dx += N::load(static_cast<const T*>(args.residual_grad)[first + at]);
      static_cast<T*>(args.dx)[first + at] = N::store(dx);
    }
    if (threadIdx.x == 0) static_cast<C*>(args.factors)[row] = factor;
  }
}

/// The gradient of the gain, summed over chunks of rows.
template <typename T>
DEVICE void gains(const GainArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const T* x = static_cast<const T*>(args.x);
  const T* grad = static_cast<const T*>(args.grad);
  const C* factors = static_cast<const C*>(args.factors);
  FOR_EACH(i, args.chunks * args.width) {
    u64 chunk = i / args.width, column = i - chunk * args.width;
    u64 end = (chunk + 1) * CHUNK < args.rows ? (chunk + 1) * CHUNK : args.rows;
    C sum = 0;
    for (u64 row = chunk * CHUNK; row < end; row++) {
      u64 at = row * args.width + column;
      sum += N::load(grad[at]) * N::load(x[at]) * factors[row];
    }
    static_cast<C*>(args.sums)[i] = sum;
  }
}

#define ALL(suffix, T)                                                      \
  KERNEL(scale_norm_##suffix, ForwardArgs) { forward<T>(args); }            \
  KERNEL(scale_norm_backward_##suffix, BackwardArgs) { backward<T>(args); } \
  KERNEL(scale_norm_gain_##suffix, GainArgs) { gains<T>(args); }
REAL_TYPES(ALL)
