// The 16-bit types: storage, and conversions that round to nearest even.
#pragma once
#include "common.cuh"

struct f16 {
  u16 bits;
};
struct bf16 {
  u16 bits;
};

#ifdef __CUDACC_RTC__
__device__ inline float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
__device__ inline f16 to_f16(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
__device__ inline float to_float(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }
__device__ inline bf16 to_bf16(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
#else
static inline float to_float(f16 x) { return emulated::from_f16(x.bits); }
static inline f16 to_f16(float x) { return {emulated::to_f16(x)}; }
static inline float to_float(bf16 x) { return emulated::from_bf16(x.bits); }
static inline bf16 to_bf16(float x) { return {emulated::to_bf16(x)}; }
#endif

/// The type in which values of `T` are computed, and the conversions from and to it.
template <typename T>
struct Number {
  typedef T Compute;
  static __device__ inline T load(T x) { return x; }
  static __device__ inline T store(T x) { return x; }
};
template <>
struct Number<f16> {
  typedef float Compute;
  static __device__ inline float load(f16 x) { return to_float(x); }
  static __device__ inline f16 store(float x) { return to_f16(x); }
};
template <>
struct Number<bf16> {
  typedef float Compute;
  static __device__ inline float load(bf16 x) { return to_float(x); }
  static __device__ inline bf16 store(float x) { return to_bf16(x); }
};
