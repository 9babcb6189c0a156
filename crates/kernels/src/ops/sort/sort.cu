// One step of a merge sort of rows, by index: a thread finds the place of one element. NaN is
// greater than every number; equal elements keep their order.
#include "half.cuh"

struct MergeArgs {
  i64* to;          // (rows, width)
  const i64* from;  // indices, in sorted runs; null: 0, 1, ..
  const void* x;    // (rows, width)
  u64 rows, width;
  u64 run;  // length of the runs
  u32 descending;
};

template <typename C>
DEVICE bool less(C x, C y) {
  return x < y || (x == x && y != y);
}

/// Whether `x` comes before `y`.
template <typename C>
DEVICE bool before(u32 descending, C x, C y) {
  return descending ? less(y, x) : less(x, y);
}

template <typename T>
DEVICE void merge(const MergeArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  FOR_EACH(i, args.rows * args.width) {
    u64 row = i / args.width, at = i - row * args.width;
    const T* x = static_cast<const T*>(args.x) + row * args.width;
    const i64* from = args.from ? args.from + row * args.width : nullptr;
    auto index = [from](u64 place) { return from ? from[place] : i64(place); };
    u64 start = at / (2 * args.run) * 2 * args.run;
    u64 middle = start + args.run < args.width ? start + args.run : args.width;
    u64 end = middle + args.run < args.width ? middle + args.run : args.width;
    bool left = at < middle;
    i64 own_index = index(at);
    C own = N::load(x[own_index]);
    // how many of the other run come before this one: of equal ones those of the left run
    u64 first = left ? middle : start, low = first, high = left ? end : middle;
    while (low < high) {
      u64 half = low + (high - low) / 2;
      C other = N::load(x[index(half)]);
      bool earlier = left ? before(args.descending, other, own) : !before(args.descending, own, other);
      if (earlier) low = half + 1;
      else high = half;
    }
    u64 place = start + (at - (left ? start : middle)) + (low - first);
    args.to[row * args.width + place] = own_index;
  }
}

#define MERGE(suffix, T) \
  KERNEL(merge_##suffix, MergeArgs) { merge<T>(args); }
ALL_TYPES(MERGE)
