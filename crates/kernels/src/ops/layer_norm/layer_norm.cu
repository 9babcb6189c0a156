// Layer normalisation of rows, and its gradients. Arrays are contiguous: (rows, width).
#include "rows.cuh"

/// Rows whose share of the parameters' gradients one thread sums, as in cuda.rs.
constexpr u64 CHUNK = 64;

struct ForwardArgs {
  void* y;
  const void* x;
  const void* weight;  // (width)
  const void* bias;    // (width)
  u64 rows, width;
  double eps;
};

struct BackwardArgs {
  void* dx;
  void* moments;  // out: mean and reciprocal deviation of each row, (rows, 2)
  const void* x;
  const void* weight;
  const void* grad;
  const void* residual_grad;  // null: none
  u64 rows, width;
  double eps;
};

struct ParamsArgs {
  void* sums;           // out: of weight and bias, (2, chunks, width)
  const void* moments;  // (rows, 2)
  const void* x;
  const void* grad;
  u64 rows, width, chunks;
};

/// The mean of a row, and the reciprocal of its standard deviation.
template <typename C>
struct Moments {
  C mean, scale;
};

template <typename T>
DEVICE Moments<typename Number<T>::Compute> moments(const T* x, u64 width, double eps) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  C sum = 0;
  FOR_EACH_COLUMN(at, width) sum += N::load(x[at]);
  C mean = sum_of_row(sum) / C(width);
  C squares = 0;
  FOR_EACH_COLUMN(at, width) {
    C centred = N::load(x[at]) - mean;
    squares += centred * centred;
  }
  return {mean, C(1) / sqrt(sum_of_row(squares) / C(width) + C(eps))};
}

template <typename T>
DEVICE void forward(const ForwardArgs& args) {
  typedef Number<T> N;
  const T* weight = static_cast<const T*>(args.weight);
  const T* bias = static_cast<const T*>(args.bias);
  FOR_EACH_ROW(row, args.rows) {
    const T* x = static_cast<const T*>(args.x) + row * args.width;
    T* y = static_cast<T*>(args.y) + row * args.width;
    auto of = moments(x, args.width, args.eps);
    FOR_EACH_COLUMN(at, args.width) {
      y[at] =
          N::store((N::load(x[at]) - of.mean) * of.scale * N::load(weight[at]) + N::load(bias[at]));
    }
  }
}

template <typename T>
DEVICE void backward(const BackwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const T* weight = static_cast<const T*>(args.weight);
  FOR_EACH_ROW(row, args.rows) {
    u64 first = row * args.width;
    const T* x = static_cast<const T*>(args.x) + first;
    const T* grad = static_cast<const T*>(args.grad) + first;
    auto of = moments(x, args.width, args.eps);
    C sum = 0, dot = 0;
    FOR_EACH_COLUMN(at, args.width) {
      C weighted = N::load(grad[at]) * N::load(weight[at]);
      sum += weighted;
      dot += weighted * ((N::load(x[at]) - of.mean) * of.scale);
    }
    C offset = sum_of_row(sum) / C(args.width);
    dot = sum_of_row(dot) / C(args.width);
    FOR_EACH_COLUMN(at, args.width) {
      C weighted = N::load(grad[at]) * N::load(weight[at]);
      C hat = (N::load(x[at]) - of.mean) * of.scale;
      C dx = (weighted - offset - hat * dot) * of.scale;
      if (args.residual_grad) dx += N::load(static_cast<const T*>(args.residual_grad)[first + at]);
      static_cast<T*>(args.dx)[first + at] = N::store(dx);
    }
    if (threadIdx.x == 0) {
      static_cast<C*>(args.moments)[2 * row] = of.mean;
      static_cast<C*>(args.moments)[2 * row + 1] = of.scale;
    }
  }
}

/// The gradients of the parameters, summed over chunks of rows.
template <typename T>
DEVICE void params(const ParamsArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const T* x = static_cast<const T*>(args.x);
  const T* grad = static_cast<const T*>(args.grad);
  const C* moments = static_cast<const C*>(args.moments);
  C* sums = static_cast<C*>(args.sums);
  FOR_EACH(i, args.chunks * args.width) {
    u64 chunk = i / args.width, column = i - chunk * args.width;
    u64 end = (chunk + 1) * CHUNK < args.rows ? (chunk + 1) * CHUNK : args.rows;
    C dweight = 0, dbias = 0;
    for (u64 row = chunk * CHUNK; row < end; row++) {
      u64 at = row * args.width + column;
      C g = N::load(grad[at]);
      dweight += g * ((N::load(x[at]) - moments[2 * row]) * moments[2 * row + 1]);
      dbias += g;
    }
    sums[i] = dweight;
    sums[args.chunks * args.width + i] = dbias;
  }
}

#define ALL(suffix, T)                                                      \
  KERNEL(layer_norm_##suffix, ForwardArgs) { forward<T>(args); }            \
  KERNEL(layer_norm_backward_##suffix, BackwardArgs) { backward<T>(args); } \
  KERNEL(layer_norm_params_##suffix, ParamsArgs) { params<T>(args); }
REAL_TYPES(ALL)
