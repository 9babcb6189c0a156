// Functions of one and two arrays, element by element, with broadcasting by strides.
#include "rows.cuh"

/// The order of `Unary` in unary.rs.
enum Unary { NEG, ABS, SIGN, SQUARE, SQRT, EXP, LOG, TANH, SIN, COS, ROUND, FLOOR, CEIL };
/// The order of `Binary` in binary.rs.
enum Binary { ADD, SUB, MUL, DIV, MAX, MIN };

struct BinaryArgs {
  void* y;  // contiguous
  const void* a;
  const void* b;
  u64 count;
  Axes<2> axes;
  u32 op;
};

struct UnaryArgs {
  void* y;  // contiguous
  const void* x;
  u64 count;
  Axes<1> axes;
  u32 op;
};

struct LerpArgs {
  void* y;
  const void* a;
  const void* b;
  u64 count;
  double t;
  Axes<2> axes;
};

struct AffineArgs {
  void* y;  // contiguous
  const void* x;
  u64 count;
  double scale, offset;
  Axes<1> axes;
};

template <typename C>
DEVICE C divide(C x, C y) {
  return x / y;
}
/// Divisors of integers are checked on the host; a division by zero here must not trap.
template <>
__device__ i64 divide(i64 x, i64 y) {
  return y == 0 ? 0 : y == -1 ? -x : x / y;
}

template <typename C>
DEVICE C combine(u32 op, C x, C y) {
  switch (op) {
    case ADD: return x + y;
    case SUB: return x - y;
    case MUL: return x * y;
    case DIV: return divide(x, y);
    case MAX: return greater_of(x, y);
    default: return smaller_of(x, y);
  }
}

template <typename T>
DEVICE void binary(const BinaryArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  T* y = static_cast<T*>(args.y);
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  FOR_EACH(i, args.count) {
    Offsets<2> from = offsets(args.axes, args.count, i);
    y[i] = N::store(combine<C>(args.op, N::load(a[from.at[0]]), N::load(b[from.at[1]])));
  }
}

template <typename C>
DEVICE C apply(u32 op, C x) {
  switch (op) {
    case NEG: return -x;
    case ABS: return fabs(x);
    case SIGN: return C((x > C(0)) - (x < C(0)));
    case SQUARE: return x * x;
    case SQRT: return sqrt(x);
    case EXP: return exp(x);
    case LOG: return log(x);
    case TANH: return tanh(x);
    case SIN: return sin(x);
    case COS: return cos(x);
    case ROUND: return rint(x);
    case FLOOR: return floor(x);
    default: return ceil(x);
  }
}

template <typename T>
DEVICE void unary(const UnaryArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.count) {
    y[i] = N::store(apply<C>(args.op, N::load(x[offsets(args.axes, args.count, i).at[0]])));
  }
}

/// The functions that integers have.
template <typename T>
DEVICE T apply_integer(u32 op, T x) {
  if (op == ABS) return x < T(0) ? T(0) - x : x;
  return T(x > T(0)) - T(x < T(0));
}

template <typename T>
DEVICE void unary_integer(const UnaryArgs& args) {
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.count) {
    y[i] = apply_integer<T>(args.op, x[offsets(args.axes, args.count, i).at[0]]);
  }
}

template <typename T>
DEVICE void affine(const AffineArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.count) {
    C value = N::load(x[offsets(args.axes, args.count, i).at[0]]);
    y[i] = N::store(value * C(args.scale) + C(args.offset));
  }
}

/// a + t (b - a)
template <typename T>
DEVICE void lerp(const LerpArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  T* y = static_cast<T*>(args.y);
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  FOR_EACH(i, args.count) {
    Offsets<2> from = offsets(args.axes, args.count, i);
    C start = N::load(a[from.at[0]]);
    y[i] = N::store(start + C(args.t) * (N::load(b[from.at[1]]) - start));
  }
}

#define BINARY(suffix, T) \
  KERNEL(binary_##suffix, BinaryArgs) { binary<T>(args); }
#define REAL(suffix, T)                                 \
  KERNEL(unary_##suffix, UnaryArgs) { unary<T>(args); } \
  KERNEL(lerp_##suffix, LerpArgs) { lerp<T>(args); }    \
  KERNEL(affine_##suffix, AffineArgs) { affine<T>(args); }
#define INTEGER(suffix, T)                                      \
  KERNEL(unary_##suffix, UnaryArgs) { unary_integer<T>(args); } \
  KERNEL(affine_##suffix, AffineArgs) { affine<T>(args); }

ALL_TYPES(BINARY)
REAL_TYPES(REAL)
INTEGER_TYPES(INTEGER)
