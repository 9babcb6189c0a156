// Arrays of a constant, and arithmetic sequences.
#include "half.cuh"

struct FillArgs {
  void* y;  // contiguous
  u64 count;
  u64 bits;  // of the value, in the low bytes
};

struct RangeArgs {
  void* y;  // contiguous
  u64 count;
  double start;
};

template <typename T>
DEVICE void fill(const FillArgs& args) {
  T* y = static_cast<T*>(args.y);
  FOR_EACH(i, args.count) y[i] = T(args.bits);
}

template <typename T>
DEVICE void range(const RangeArgs& args) {
  T* y = static_cast<T*>(args.y);
  // integers below 2^53, which f64 holds
  FOR_EACH(i, args.count) y[i] = T(i64(args.start) + i64(i));
}

template <typename T>
DEVICE void range_real(const RangeArgs& args) {
  typedef Number<T> N;
  T* y = static_cast<T*>(args.y);
  FOR_EACH(i, args.count) y[i] = N::store(typename N::Compute(args.start + double(i)));
}

KERNEL(fill_u8, FillArgs) { fill<u8>(args); }
KERNEL(fill_f16, FillArgs) { fill<u16>(args); }
KERNEL(fill_u32, FillArgs) { fill<u32>(args); }
KERNEL(fill_i64, FillArgs) { fill<i64>(args); }

#define INTEGER(suffix, T) \
  KERNEL(range_##suffix, RangeArgs) { range<T>(args); }
#define REAL(suffix, T) \
  KERNEL(range_##suffix, RangeArgs) { range_real<T>(args); }
INTEGER_TYPES(INTEGER)
REAL_TYPES(REAL)
