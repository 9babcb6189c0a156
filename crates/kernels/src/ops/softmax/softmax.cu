// Softmax of rows with the masks of attention, and its gradient. Arrays are contiguous: (rows,
// width). A masked score counts as the lowest finite number, so that a row that sees nothing gets
// the same weight everywhere.
#include "mask.cuh"

struct ForwardArgs {
  void* y;
  const void* scores;
  u64 rows, width;
  Mask mask;
};

struct BackwardArgs {
  void* dscores;
  const void* y;
  const void* grad;
  u64 rows, width;
  Mask mask;
};

template <typename T>
DEVICE void forward(const ForwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  FOR_EACH_ROW(row, args.rows) {
    const T* scores = static_cast<const T*>(args.scores) + row * args.width;
    T* y = static_cast<T*>(args.y) + row * args.width;
    RowMask mask = mask_of(args.mask, row);
    auto score = [&](u64 at) { return mask.hides(at) ? lowest(C(0)) : C(N::load(scores[at])); };
    C top = -INFINITY_F;
    FOR_EACH_COLUMN(at, args.width) top = greater_of(top, score(at));
    top = max_of_row(top);
    C sum = 0;
    FOR_EACH_COLUMN(at, args.width) sum += exp(score(at) - top);
    sum = sum_of_row(sum);
    FOR_EACH_COLUMN(at, args.width) y[at] = N::store(exp(score(at) - top) / sum);
  }
}

template <typename T>
DEVICE void backward(const BackwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  FOR_EACH_ROW(row, args.rows) {
    const T* y = static_cast<const T*>(args.y) + row * args.width;
    const T* grad = static_cast<const T*>(args.grad) + row * args.width;
    T* dscores = static_cast<T*>(args.dscores) + row * args.width;
    RowMask mask = mask_of(args.mask, row);
    C dot = 0;
    FOR_EACH_COLUMN(at, args.width) dot += N::load(y[at]) * N::load(grad[at]);
    dot = sum_of_row(dot);
    FOR_EACH_COLUMN(at, args.width) {
      C value = N::load(y[at]) * (N::load(grad[at]) - dot);
      dscores[at] = N::store(mask.hides(at) ? C(0) : value);
    }
  }
}

#define BOTH(suffix, T)                                       \
  KERNEL(softmax_##suffix, ForwardArgs) { forward<T>(args); } \
  KERNEL(softmax_backward_##suffix, BackwardArgs) { backward<T>(args); }
REAL_TYPES(BOTH)
