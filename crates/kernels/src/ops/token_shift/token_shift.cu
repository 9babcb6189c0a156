// Segments of features taken from neighbouring positions. Arrays are contiguous: x and y are
// (batch, n, dim), the mask is (batch, n), ranges are (batch, n, 2).
#include "half.cuh"

/// As in cuda.rs.
constexpr int SHIFTS = 64;

struct ShiftArgs {
  void* y;
  const void* x;
  const u8* mask;     // null: none
  const i64* ranges;  // the first position of the document and the one after the last; null: all
  u64 rows;        // batch · n
  u64 n, dim;
  u64 first;     // feature of the first segment
  u64 features;  // of all segments
  u64 width;     // of a segment
  i64 by[SHIFTS];
  u32 masks_source;  // the mask is of the source, else of the target
};

template <typename T>
DEVICE void shift(const ShiftArgs& args) {
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.rows * args.features) {
    u64 row = i / args.features, feature = i - row * args.features;
    i64 by = args.by[feature / args.width], position = i64(row % args.n);
    i64 start = args.ranges ? args.ranges[2 * row] : 0;
    i64 end = args.ranges ? args.ranges[2 * row + 1] : i64(args.n);
    // that of the source, if there is one
    bool inside = by >= position - end + 1 && by <= position - start;
    u64 source = inside ? row - u64(by) : row;
    if (inside && by != 0 && args.mask) inside = args.mask[args.masks_source ? source : row] != 0;
    feature += args.first;
    y[row * args.dim + feature] = inside ? x[source * args.dim + feature] : T(0);
  }
}

// Only moves elements, so their size is enough.
KERNEL(token_shift_f16, ShiftArgs) { shift<u16>(args); }
KERNEL(token_shift_u32, ShiftArgs) { shift<u32>(args); }
KERNEL(token_shift_i64, ShiftArgs) { shift<i64>(args); }
