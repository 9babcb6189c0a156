// The number types: 16-bit storage, conversions, and the type in which each is computed.
#pragma once
#include "common.cuh"

struct f16 {
  u16 bits;
};
struct bf16 {
  u16 bits;
};

#ifdef __CUDACC_RTC__
DEVICE float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
DEVICE f16 to_f16(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
DEVICE float to_float(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }
DEVICE bf16 to_bf16(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
#else
DEVICE float to_float(f16 x) { return emulated::from_f16(x.bits); }
DEVICE f16 to_f16(float x) { return {emulated::to_f16(x)}; }
DEVICE float to_float(bf16 x) { return emulated::from_bf16(x.bits); }
DEVICE bf16 to_bf16(float x) { return {emulated::to_bf16(x)}; }
#endif

/// `x` as f32, rounded so that a second rounding to 16 bits gives the same as one from f64: toward
/// zero, with the last bit set where that was not exact ("round to odd").
DEVICE float to_odd_float(double x) {
  float y = float(x);
  if (double(y) == x || x != x) return y;
  u32 bits = __float_as_uint(y);
  if (fabs(double(y)) > fabs(x)) bits--;
  return __uint_as_float(bits | 1);
}

/// The type in which values of `T` are computed, its lowest finite value, and conversions.
template <typename T>
struct Number {
  typedef T Compute;
  DEVICE T load(T x) { return x; }
  DEVICE T store(T x) { return x; }
};
template <>
struct Number<f16> {
  typedef float Compute;
  DEVICE float load(f16 x) { return to_float(x); }
  DEVICE f16 store(float x) { return to_f16(x); }
};
template <>
struct Number<bf16> {
  typedef float Compute;
  DEVICE float load(bf16 x) { return to_float(x); }
  DEVICE bf16 store(float x) { return to_bf16(x); }
};

/// The lowest finite number.
DEVICE float lowest(float) { return -3.40282347e+38f; }
DEVICE double lowest(double) { return -1.7976931348623157e+308; }

/// Expands `MACRO(suffix, type)` for each type of this kind.
#define REAL_TYPES(MACRO) MACRO(f32, float) MACRO(f64, double) MACRO(f16, f16) MACRO(bf16, bf16)
#define INTEGER_TYPES(MACRO) MACRO(i64, i64) MACRO(u32, u32) MACRO(u8, u8)
#define ALL_TYPES(MACRO) REAL_TYPES(MACRO) INTEGER_TYPES(MACRO)
