// Activation functions and their gradients, element by element. All arrays are contiguous.
#include "activation.cuh"

struct ForwardArgs {
  void* y;
  const void* x;
  u64 count;
  u32 kind;
};

struct BackwardArgs {
  void* dx;
  const void* x;
  const void* grad;
  u64 count;
  u32 kind;
};

template <typename T>
DEVICE void forward(const ForwardArgs& args) {
  typedef Number<T> N;
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.count) y[i] = N::store(activate(args.kind, N::load(x[i])));
}

template <typename T>
DEVICE void backward(const BackwardArgs& args) {
  typedef Number<T> N;
  T* dx = static_cast<T*>(args.dx);
  const T* x = static_cast<const T*>(args.x);
  const T* grad = static_cast<const T*>(args.grad);
  FOR_EACH(i, args.count) { dx[i] = N::store(N::load(grad[i]) * slope(args.kind, N::load(x[i]))); }
}

#define BOTH(suffix, T)                                          \
  KERNEL(activation_##suffix, ForwardArgs) { forward<T>(args); } \
  KERNEL(activation_backward_##suffix, BackwardArgs) { backward<T>(args); }
REAL_TYPES(BOTH)
