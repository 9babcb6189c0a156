// The gates of a GRU. Arrays are contiguous: gates are (rows, 3 dim), states are (rows, dim).
#include "activation.cuh"

struct ForwardArgs {
  void* y;
  const void* input;
  const void* hidden;
  const void* state;
  u64 count;  // of the state
  u64 dim;
};

struct BackwardArgs {
  void* dinput;
  void* dhidden;
  void* dstate;
  const void* input;
  const void* hidden;
  const void* state;
  const void* grad;
  u64 count;  // of the state
  u64 dim;
};

/// The gates of one element: reset, update, the new state, and its part of the hidden values.
template <typename C>
struct Gates {
  C reset, update, fresh, hidden;
};

template <typename T>
DEVICE Gates<typename Number<T>::Compute> gates(const T* input, const T* hidden, u64 at, u64 dim) {
  typedef Number<T> N;
  Gates<typename N::Compute> all;
  all.reset = logistic(N::load(input[at]) + N::load(hidden[at]));
  all.update = logistic(N::load(input[at + dim]) + N::load(hidden[at + dim]));
  all.hidden = N::load(hidden[at + 2 * dim]);
  all.fresh = tanh(N::load(input[at + 2 * dim]) + all.reset * all.hidden);
  return all;
}

template <typename T>
DEVICE void forward(const ForwardArgs& args) {
  typedef Number<T> N;
  const T* state = static_cast<const T*>(args.state);
  FOR_EACH(i, args.count) {
    u64 at = i / args.dim * 2 * args.dim + i;
    auto of =
        gates(static_cast<const T*>(args.input), static_cast<const T*>(args.hidden), at, args.dim);
    static_cast<T*>(args.y)[i] = N::store(of.fresh + of.update * (N::load(state[i]) - of.fresh));
  }
}

template <typename T>
DEVICE void backward(const BackwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  T* dinput = static_cast<T*>(args.dinput);
  T* dhidden = static_cast<T*>(args.dhidden);
  FOR_EACH(i, args.count) {
    u64 dim = args.dim, at = i / dim * 2 * dim + i;
    auto of = gates(static_cast<const T*>(args.input), static_cast<const T*>(args.hidden), at, dim);
    C g = N::load(static_cast<const T*>(args.grad)[i]);
    C state = N::load(static_cast<const T*>(args.state)[i]);
    C dfresh = g * (C(1) - of.update) * (C(1) - of.fresh * of.fresh);
    C dupdate = g * (state - of.fresh) * of.update * (C(1) - of.update);
    C dreset = dfresh * of.hidden * of.reset * (C(1) - of.reset);
    dinput[at] = dhidden[at] = N::store(dreset);
    dinput[at + dim] = dhidden[at + dim] = N::store(dupdate);
    dinput[at + 2 * dim] = N::store(dfresh);
    dhidden[at + 2 * dim] = N::store(dfresh * of.reset);
    static_cast<T*>(args.dstate)[i] = N::store(g * of.update);
  }
}

#define BOTH(suffix, T)                                   \
  KERNEL(gru_##suffix, ForwardArgs) { forward<T>(args); } \
  KERNEL(gru_backward_##suffix, BackwardArgs) { backward<T>(args); }
REAL_TYPES(BOTH)
