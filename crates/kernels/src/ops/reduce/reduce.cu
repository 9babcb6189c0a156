// Sums along an axis of a contiguous array, seen as (outer, count, inner). Long sums are split
// into chunks, whose sums the caller sums again: the order of additions is always the same.
#include "rows.cuh"

struct SumArgs {
  void* y;        // (outer, chunks, inner), in the type of the accumulator
  const void* x;  // (outer, count, inner)
  u64 outer, count, inner;
  u64 chunk, chunks;
};

/// The accumulator: f32 for 16-bit types, 64 bits for integers.
template <typename T>
struct Sum {
  typedef typename Number<T>::Compute Type;
};
template <>
struct Sum<u8> {
  typedef i64 Type;
};
template <>
struct Sum<u32> {
  typedef i64 Type;
};

/// A thread for each column, for sums over an axis that is not the last.
template <typename T>
DEVICE void sum(const SumArgs& args) {
  typedef typename Sum<T>::Type S;
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.outer * args.chunks * args.inner) {
    u64 row = i / args.inner, column = i - row * args.inner;
    u64 block = row / args.chunks, first = (row - block * args.chunks) * args.chunk;
    u64 end = first + args.chunk < args.count ? first + args.chunk : args.count;
    S total = 0;
    for (u64 at = first; at < end; at++)
      total += S(Number<T>::load(x[(block * args.count + at) * args.inner + column]));
    static_cast<S*>(args.y)[i] = total;
  }
}

/// A warp or a block for each row, for sums over the last axis: `inner` is 1.
template <typename T>
DEVICE void sum_rows(const SumArgs& args) {
  typedef typename Sum<T>::Type S;
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH_ROW(row, args.outer * args.chunks) {
    u64 block = row / args.chunks, first = (row - block * args.chunks) * args.chunk;
    u64 left = args.count - first, width = left < args.chunk ? left : args.chunk;
    S total = 0;
    FOR_EACH_COLUMN(at, width) total += S(Number<T>::load(x[block * args.count + first + at]));
    total = sum_of_row(total);
    if (threadIdx.x == 0) static_cast<S*>(args.y)[row] = total;
  }
}

#define SUM(suffix, T)                            \
  KERNEL(sum_##suffix, SumArgs) { sum<T>(args); } \
  KERNEL(sum_rows_##suffix, SumArgs) { sum_rows<T>(args); }
ALL_TYPES(SUM)
