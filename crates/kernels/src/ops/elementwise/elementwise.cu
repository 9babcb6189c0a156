// Functions of one and two arrays, element by element, with broadcasting by strides.
#include "half.cuh"

/// The order of `Unary` in unary.rs.
enum Unary { NEG, ABS, SIGN, SQUARE, SQRT, EXP, LOG, TANH };
/// The order of `Binary` in binary.rs.
enum Binary { ADD, SUB, MUL, DIV, MAX, MIN };

/// `Elementwise` in cuda.rs.
struct Elementwise {
  void* y;          // contiguous
  const void* a;
  const void* b;    // null for functions of one array
  u64 count;
  double scale, offset;  // of `affine`
  i64 a_strides[AXES], b_strides[AXES];
  u32 dims[AXES];
  u32 op;
};

/// Offsets of element `i`, in row-major order of `dims`, in both operands.
struct Offsets {
  i64 a, b;
};

template <typename Index>
static __device__ inline Offsets offsets(const Elementwise& args, Index i) {
  Offsets at = {0, 0};
  Index rest = i;
#pragma unroll
  for (int axis = AXES - 1; axis > 0; axis--) {
    Index size = args.dims[axis], next = rest / size;
    i64 place = i64(rest - next * size);
    at.a += place * args.a_strides[axis];
    at.b += place * args.b_strides[axis];
    rest = next;
  }
  at.a += i64(rest) * args.a_strides[0];
  at.b += i64(rest) * args.b_strides[0];
  return at;
}

static __device__ inline Offsets offsets_of(const Elementwise& args, u64 i) {
  // 32-bit divisions are several times faster
  return args.count >> 32 ? offsets<u64>(args, i) : offsets<u32>(args, u32(i));
}

/// `y` if `second`, `x` if `first`, and NaN where neither comparison holds.
template <typename C>
static __device__ inline C ordered(bool second, bool first, C x, C y) {
  return second ? y : first ? x : x + y;
}

template <typename C>
static __device__ inline C combine(u32 op, C x, C y) {
  switch (op) {
    case ADD: return x + y;
    case SUB: return x - y;
    case MUL: return x * y;
    case DIV: return x / y;
    case MAX: return ordered<C>(x < y, x >= y, x, y);
    default: return ordered<C>(x > y, x <= y, x, y);
  }
}

template <typename T>
static __device__ inline void binary(const Elementwise& args) {
  typedef Number<T> N;
  T* y = static_cast<T*>(args.y);
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  FOR_EACH(i, args.count) {
    Offsets at = offsets_of(args, i);
    typename N::Compute result = combine<typename N::Compute>(args.op, N::load(a[at.a]), N::load(b[at.b]));
    y[i] = N::store(result);
  }
}

template <typename C>
static __device__ inline C apply(u32 op, C x) {
  switch (op) {
    case NEG: return -x;
    case ABS: return fabs(x);
    case SIGN: return C((x > C(0)) - (x < C(0)));
    case SQUARE: return x * x;
    case SQRT: return sqrt(x);
    case EXP: return exp(x);
    case LOG: return log(x);
    default: return tanh(x);
  }
}

template <typename T>
static __device__ inline void unary(const Elementwise& args) {
  typedef Number<T> N;
  T* y = static_cast<T*>(args.y);
  const T* a = static_cast<const T*>(args.a);
  FOR_EACH(i, args.count) {
    y[i] = N::store(apply<typename N::Compute>(args.op, N::load(a[offsets_of(args, i).a])));
  }
}

template <typename T>
static __device__ inline void affine(const Elementwise& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  T* y = static_cast<T*>(args.y);
  const T* a = static_cast<const T*>(args.a);
  FOR_EACH(i, args.count) {
    y[i] = N::store(N::load(a[offsets_of(args, i).a]) * C(args.scale) + C(args.offset));
  }
}

#define WHOLE(suffix, T) \
  KERNEL(binary_##suffix, Elementwise) { binary<T>(args); }
#define REAL(suffix, T)                                     \
  WHOLE(suffix, T)                                          \
  KERNEL(unary_##suffix, Elementwise) { unary<T>(args); }   \
  KERNEL(affine_##suffix, Elementwise) { affine<T>(args); }

REAL(f32, float)
REAL(f64, double)
REAL(f16, f16)
REAL(bf16, bf16)
WHOLE(i64, i64)
WHOLE(u32, u32)
WHOLE(u8, u8)
