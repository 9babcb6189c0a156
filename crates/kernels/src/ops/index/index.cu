// Selection and addition along an axis by index. Arrays are contiguous, seen as
// (outer, size, inner).
#include "half.cuh"

/// `kind` in flag.rs.
enum { GATHER_INDEX = 3, SELECT_INDEX = 4, SCATTER_INDEX = 5 };

struct TakeArgs {
  void* y;         // (outer, count, inner)
  const void* x;   // (outer, size, inner)
  const i64* ids;  // (count), or of the shape of y
  Flag* flag;
  u64 outer, size, inner, count;
  u32 by_row;  // ids are (count)
};

struct ScatterArgs {
  void* y;         // (outer, size, inner): the sums so far
  const void* x;   // (outer, count, inner)
  const i64* ids;  // of the shape of x
  Flag* flag;
  u64 outer, size, inner, count;
  u64 parts;  // threads of a line of y
};

template <typename T>
DEVICE void take(const TakeArgs& args) {
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  u32 kind = args.by_row ? SELECT_INDEX : GATHER_INDEX;
  FOR_EACH(i, args.outer * args.count * args.inner) {
    u64 row = i / args.inner, column = i - row * args.inner;
    u64 block = row / args.count;
    i64 id = args.ids[args.by_row ? row - block * args.count : i];
    u64 from = u64(checked(args.flag, kind, id, i64(args.size)));
    y[i] = x[(block * args.size + from) * args.inner + column];
  }
}

/// A thread adds all that goes to its elements of a line of y, in order, so that sums are always
/// the same. Thread `part` of a line has the elements `part`, `part + parts`, ..
template <typename T>
DEVICE void scatter_add(const ScatterArgs& args) {
  typedef Number<T> N;
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  u64 lines = args.outer * args.inner;
  FOR_EACH(thread, lines * args.parts) {
    u64 part = thread / lines, line = thread - part * lines;
    u64 block = line / args.inner, column = line - block * args.inner;
    for (u64 i = 0; i < args.count; i++) {
      u64 from = (block * args.count + i) * args.inner + column;
      u64 id = u64(checked(args.flag, SCATTER_INDEX, args.ids[from], i64(args.size)));
      if (id % args.parts != part) continue;
      T& sum = y[(block * args.size + id) * args.inner + column];
      sum = N::store(N::load(sum) + N::load(x[from]));
    }
  }
}

KERNEL(take_u8, TakeArgs) { take<u8>(args); }
KERNEL(take_f16, TakeArgs) { take<u16>(args); }
KERNEL(take_u32, TakeArgs) { take<u32>(args); }
KERNEL(take_i64, TakeArgs) { take<i64>(args); }

#define SCATTER(suffix, T) \
  KERNEL(scatter_add_##suffix, ScatterArgs) { scatter_add<T>(args); }
ALL_TYPES(SCATTER)
