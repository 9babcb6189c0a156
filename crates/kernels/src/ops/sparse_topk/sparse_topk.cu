// Selection of the k largest scores of each row. Arrays are contiguous: (rows, width).
#include "mask.cuh"

struct LargestArgs {
  u8* chosen;
  const void* scores;
  u64 rows, width, k;
  Mask mask;
};

/// The bits of a number as an integer of the same order; NaN counts as infinity.
DEVICE u32 key_of(float x) {
  if (x != x) x = INFINITY_F;
  u32 bits = __float_as_uint(x == 0 ? 0.0f : x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
DEVICE u64 key_of(double x) {
  if (x != x) x = INFINITY_F;
  u64 bits = u64(__double_as_longlong(x == 0 ? 0.0 : x));
  return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
}

/// Finds the k-th largest key bit by bit: a bit is set if at least k keys are not less then.
template <typename T>
DEVICE void largest(const LargestArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  typedef decltype(key_of(C(0))) Key;
  FOR_EACH_ROW(row, args.rows) {
    const T* scores = static_cast<const T*>(args.scores) + row * args.width;
    RowMask mask = mask_of(args.mask, row);
    auto key = [&](u64 at) {
      return key_of(mask.hides(at) ? lowest(C(0)) : C(N::load(scores[at])));
    };
    Key limit = 0;
    for (int bit = 8 * int(sizeof(Key)) - 1; bit >= 0; bit--) {
      Key candidate = limit | Key(1) << bit;
      u32 count = 0;
      FOR_EACH_COLUMN(at, args.width) count += key(at) >= candidate;
      if (sum_of_row(count) >= args.k) limit = candidate;
    }
    FOR_EACH_COLUMN(at, args.width) {
      args.chosen[row * args.width + at] = !mask.hides(at) && key(at) >= limit;
    }
  }
}

#define LARGEST(suffix, T) \
  KERNEL(largest_##suffix, LargestArgs) { largest<T>(args); }
REAL_TYPES(LARGEST)
