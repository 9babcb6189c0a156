// Rotation of pairs of features by their position. Arrays are contiguous: x is
// (batch, n, heads, dim), tables are (n, half).
#include "half.cuh"

struct RotateArgs {
  void* y;
  const void* x;
  const void* cos;
  const void* sin;
  u64 count;  // of x
  u64 n, heads, dim, half;
  u64 neighbours;  // 1: features 2 f and 2 f + 1 form a pair; 0: f and f + half
  double sign;  // -1: the transposed rotation
};

template <typename T>
DEVICE void rotate(const RotateArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const T* x = static_cast<const T*>(args.x);
  const T* cosines = static_cast<const T*>(args.cos);
  const T* sines = static_cast<const T*>(args.sin);
  FOR_EACH(i, args.count) {
    u64 feature = i % args.dim, position = i / args.dim / args.heads % args.n;
    C y = N::load(x[i]);
    if (feature < 2 * args.half) {
      bool second = args.neighbours ? feature % 2 : feature >= args.half;
      u64 apart = args.neighbours ? 1 : args.half;
      u64 pair = args.neighbours ? feature / 2 : second ? feature - args.half : feature;
      C other = N::load(x[second ? i - apart : i + apart]);
      C cosine = N::load(cosines[position * args.half + pair]);
      C sine = N::load(sines[position * args.half + pair]) * C(args.sign);
      y = second ? y * cosine + other * sine : y * cosine - other * sine;
    }
    static_cast<T*>(args.y)[i] = N::store(y);
  }
}

#define ROTATE(suffix, T) \
  KERNEL(rotary_##suffix, RotateArgs) { rotate<T>(args); }
REAL_TYPES(ROTATE)
