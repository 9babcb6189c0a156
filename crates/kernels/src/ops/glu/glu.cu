// Gated linear units. Arrays are contiguous: x is (rows, 2 half), y is (rows, half).
#include "activation.cuh"

struct ForwardArgs {
  void* y;
  const void* x;
  u64 count;  // of y
  u64 half;
  u32 kind;
};

struct BackwardArgs {
  void* dx;
  const void* x;
  const void* grad;  // of y
  u64 count;         // of y
  u64 half;
  u32 kind;
};

template <typename T>
DEVICE void forward(const ForwardArgs& args) {
  typedef Number<T> N;
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.count) {
    u64 a = i / args.half * args.half + i, b = a + args.half;
    y[i] = N::store(N::load(x[a]) * activate(args.kind, N::load(x[b])));
  }
}

template <typename T>
DEVICE void backward(const BackwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  T* dx = static_cast<T*>(args.dx);
  const T* x = static_cast<const T*>(args.x);
  const T* grad = static_cast<const T*>(args.grad);
  FOR_EACH(i, args.count) {
    u64 a = i / args.half * args.half + i, b = a + args.half;
    C g = N::load(grad[i]), gate = N::load(x[b]);
    dx[a] = N::store(g * activate(args.kind, gate));
    dx[b] = N::store(g * N::load(x[a]) * slope(args.kind, gate));
  }
}

#define BOTH(suffix, T)                                   \
  KERNEL(glu_##suffix, ForwardArgs) { forward<T>(args); } \
  KERNEL(glu_backward_##suffix, BackwardArgs) { backward<T>(args); }
REAL_TYPES(BOTH)
