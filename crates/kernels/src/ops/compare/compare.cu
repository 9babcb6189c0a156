// Comparisons of two arrays, element by element, with broadcasting by strides.
#include "half.cuh"

/// The order of `Comparison` in mod.rs.
enum Comparison { EQ, NE, LT, LE, GT, GE };

struct CompareArgs {
  u8* y;  // contiguous
  const void* a;
  const void* b;
  u64 count;
  Axes<2> axes;
  u32 op;
};

template <typename C>
DEVICE bool holds(u32 op, C x, C y) {
  switch (op) {
    case EQ: return x == y;
    case NE: return x != y;
    case LT: return x < y;
    case LE: return x <= y;
    case GT: return x > y;
    default: return x >= y;
  }
}

template <typename T>
DEVICE void compare(const CompareArgs& args) {
  typedef Number<T> N;
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  FOR_EACH(i, args.count) {
    Offsets<2> from = offsets(args.axes, args.count, i);
    args.y[i] = holds(args.op, N::load(a[from.at[0]]), N::load(b[from.at[1]]));
  }
}

#define COMPARE(suffix, T) \
  KERNEL(compare_##suffix, CompareArgs) { compare<T>(args); }
ALL_TYPES(COMPARE)
