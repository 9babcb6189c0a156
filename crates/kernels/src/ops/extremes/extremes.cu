// Maximum and minimum along an axis of a contiguous array, seen as (outer, count, inner), and their
// positions. NaN counts as the greatest and the smallest number.
#include "rows.cuh"

struct ExtremeArgs {
  void* y;        // (outer, inner)
  const void* x;  // (outer, count, inner)
  u64 outer, count, inner;
  u32 min;
};

struct PositionArgs {
  i64* y;         // (rows)
  const void* x;  // (rows, width)
  u64 rows, width;
  u32 min;
};

/// A type that holds all values, and that warps can exchange.
DEVICE i64 wide(u8 x) { return x; }
DEVICE i64 wide(u32 x) { return x; }
DEVICE i64 wide(i64 x) { return x; }
DEVICE float wide(f16 x) { return to_float(x); }
DEVICE float wide(bf16 x) { return to_float(x); }
DEVICE float wide(float x) { return x; }
DEVICE double wide(double x) { return x; }

template <typename T, typename W>
DEVICE T narrow(W x) {
  return Number<T>::store(typename Number<T>::Compute(x));
}

template <typename W>
DEVICE W extreme_of(u32 min, W x, W y) {
  return min ? smaller_of(x, y) : greater_of(x, y);
}

/// A thread for each column, for an axis that is not the last.
template <typename T>
DEVICE void extreme(const ExtremeArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.outer * args.inner) {
    const T* column = x + i / args.inner * args.count * args.inner + i % args.inner;
    auto best = wide(column[0]);
    for (u64 at = 1; at < args.count; at++)
      best = extreme_of(args.min, best, wide(column[at * args.inner]));
    static_cast<T*>(args.y)[i] = narrow<T>(best);
  }
}

/// A warp or a block for each row, for the last axis.
template <typename T>
DEVICE void extreme_rows(const ExtremeArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH_ROW(row, args.outer) {
    const T* own = x + row * args.count;
    auto best = wide(own[0]);
    FOR_EACH_COLUMN(at, args.count) best = extreme_of(args.min, best, wide(own[at]));
    u32 min = args.min;
    typedef decltype(best) W;
    best = combine_row(best, [min](W a, W b) { return extreme_of(min, a, b); });
    if (threadIdx.x == 0) static_cast<T*>(args.y)[row] = narrow<T>(best);
  }
}

/// A value and its position.
template <typename W>
struct Place {
  W value;
  i64 index;
};

/// Whether `b` wins over `a`: it is greater (smaller if `min`), or NaN, or equal and earlier.
template <typename W>
DEVICE bool wins(u32 min, const Place<W>& b, const Place<W>& a) {
  bool nan_a = a.value != a.value, nan_b = b.value != b.value;
  if (nan_a || nan_b) return nan_b && (!nan_a || b.index < a.index);
  if (b.value == a.value) return b.index < a.index;
  return min ? b.value < a.value : b.value > a.value;
}

template <typename W>
DEVICE Place<W> __shfl_xor_sync(u32 mask, Place<W> of, int distance) {
  W value = ::__shfl_xor_sync(mask, of.value, distance);
  i64 index = ::__shfl_xor_sync(mask, of.index, distance);
  return {value, index};
}

template <typename T>
DEVICE void position(const PositionArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH_ROW(row, args.rows) {
    const T* own = x + row * args.width;
    typedef decltype(wide(own[0])) W;
    Place<W> best = {wide(own[0]), 0};
    FOR_EACH_COLUMN(at, args.width) {
      Place<W> here = {wide(own[at]), i64(at)};
      if (wins(args.min, here, best)) best = here;
    }
    u32 min = args.min;
    best = combine_row(best, [min](Place<W> a, Place<W> b) { return wins(min, b, a) ? b : a; });
    if (threadIdx.x == 0) args.y[row] = best.index;
  }
}

#define EXTREME(suffix, T)                                              \
  KERNEL(extreme_##suffix, ExtremeArgs) { extreme<T>(args); }           \
  KERNEL(extreme_rows_##suffix, ExtremeArgs) { extreme_rows<T>(args); } \
  KERNEL(position_##suffix, PositionArgs) { position<T>(args); }
ALL_TYPES(EXTREME)
