// Conversion between number types, as `as` does in Rust: to integers toward zero, numbers
// beyond the range give its end, NaN gives 0.
#include "half.cuh"

/// The order of `code` in cuda.rs.
enum Type { U8, U32, I64, F16, BF16, F32, F64 };

struct CastArgs {
  void* y;  // contiguous
  const void* x;
  u64 count;
  Axes<1> axes;
  u32 to;
};

DEVICE i64 to_i64(double x) {
  if (x != x) return 0;
  if (x >= 9223372036854775808.0) return 0x7fffffffffffffffll;
  if (x < -9223372036854775808.0) return -0x7fffffffffffffffll - 1;
  return i64(x);
}
DEVICE i64 within(double x, double most) { return x > 0 ? i64(x < most ? x : most) : 0; }

DEVICE u8 to_u8(double x) { return u8(within(x, 255.0)); }
DEVICE u8 to_u8(i64 x) { return u8(x); }
DEVICE u32 to_u32(double x) { return u32(within(x, 4294967295.0)); }
DEVICE u32 to_u32(i64 x) { return u32(x); }
DEVICE i64 to_i64(i64 x) { return x; }
DEVICE float to_f32(double x) { return float(x); }
DEVICE float to_f32(i64 x) { return float(x); }
/// To 16 bits by way of an f32, which must not round a second time.
DEVICE float for_half(double x) { return to_odd_float(x); }
DEVICE float for_half(i64 x) { return float(x); }

/// The value in a type that holds all of its source.
DEVICE i64 wide(u8 x) { return x; }
DEVICE i64 wide(u32 x) { return x; }
DEVICE i64 wide(i64 x) { return x; }
DEVICE double wide(f16 x) { return to_float(x); }
DEVICE double wide(bf16 x) { return to_float(x); }
DEVICE double wide(float x) { return x; }
DEVICE double wide(double x) { return x; }

template <typename T>
DEVICE void cast(const CastArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.count) {
    auto value = wide(x[offsets(args.axes, args.count, i).at[0]]);
    switch (args.to) {
      case U8: static_cast<u8*>(args.y)[i] = to_u8(value); break;
      case U32: static_cast<u32*>(args.y)[i] = to_u32(value); break;
      case I64: static_cast<i64*>(args.y)[i] = to_i64(value); break;
      case F16: static_cast<f16*>(args.y)[i] = to_f16(for_half(value)); break;
      case BF16: static_cast<bf16*>(args.y)[i] = to_bf16(for_half(value)); break;
      case F32: static_cast<float*>(args.y)[i] = to_f32(value); break;
      default: static_cast<double*>(args.y)[i] = double(value);
    }
  }
}

#define CAST(suffix, T) \
  KERNEL(cast_##suffix, CastArgs) { cast<T>(args); }
ALL_TYPES(CAST)
