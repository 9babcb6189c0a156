// Dropout: a random word of Philox for each element decides whether it is kept.
#include "half.cuh"
#include "philox.cuh"

struct DropoutArgs {
  void* y;
  const void* x;  // contiguous
  u64 count;
  Stream stream;
  u64 threshold;  // smaller words drop their element
  double scale;   // of the elements that are kept
};

/// A thread for each block of four words.
template <typename T>
DEVICE void dropout(const DropoutArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  FOR_EACH(block, (args.count + 3) / 4) {
    Words words = philox(args.stream, u32(block));
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u64 at = 4 * block + i;
      if (at >= args.count) break;
      // dropped elements are 0 even if they were not finite
      bool kept = words.at[i] >= args.threshold;
      y[at] = N::store(kept ? N::load(x[at]) * C(args.scale) : C(0));
    }
  }
}

#define DROPOUT(suffix, T) \
  KERNEL(dropout_##suffix, DropoutArgs) { dropout<T>(args); }
REAL_TYPES(DROPOUT)
