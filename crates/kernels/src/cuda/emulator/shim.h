// What a .cu file needs to be compiled by a C++ compiler and run by the emulated driver.
#pragma once
#include <math.h>
#include <cstdint>
#include <cstring>

struct dim3 {
  unsigned int x = 1, y = 1, z = 1;
};

namespace emulated {
struct Place {
  dim3 thread, block, block_size, grid_size;
};
extern __thread const Place* place;  // of the thread that runs; __thread and not thread_local: no
                                     // call in front of each access

void barrier();                                // __syncthreads
void* shared(const void* site, size_t bytes);  // the block's array of this place in the source
void* dynamic_shared();
unsigned lane();
unsigned living();  // lanes of this warp that have not returned
const unsigned char* collective(unsigned mask, const char* what, const void* give,
                                size_t bytes);  // -> 32 lanes x 32 bytes, of those in mask

/// A kernel, whose only argument is a struct.
struct Kernel {
  const char* name;
  size_t size;  // of the struct
  void (*call)(const void* args);
};
void add(Kernel kernel);

template <typename Args, void (*kernel)(const Args&)>
static bool enter(const char* name) {
  add({name, sizeof(Args), [](const void* args) { kernel(*static_cast<const Args*>(args)); }});
  return true;
}
}  // namespace emulated

#define __device__
#define __global__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __restrict__ __restrict
#define KERNEL(name, Args)                                               \
  static void name(const Args& args);                                    \
  static const bool entered_##name = emulated::enter<Args, name>(#name); \
  static void name(const Args& args)
#define SHARED(type, name, dims)     \
  static const char site_##name = 0; \
  type(&name) dims = *static_cast<type(*) dims>(emulated::shared(&site_##name, sizeof(type dims)))
#define DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(emulated::dynamic_shared())

#define threadIdx emulated::place->thread
#define blockIdx emulated::place->block
#define blockDim emulated::place->block_size
#define gridDim emulated::place->grid_size

static inline void __syncthreads() { emulated::barrier(); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) {
  emulated::collective(mask, "__syncwarp", nullptr, 0);
}
template <typename T>
static inline T from_lane(unsigned mask, const char* what, T v, int source) {
  const unsigned char* all = emulated::collective(mask, what, &v, sizeof v);
  if (source >= 0 && source < 32 && (mask >> source & 1))
    std::memcpy(&v, all + 32 * source, sizeof v);
  return v;
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned d) {
  return from_lane(mask, "__shfl_down_sync", v,
                   emulated::lane() + d < 32 ? int(emulated::lane() + d) : -1);
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T v, int x) {
  return from_lane(mask, "__shfl_xor_sync", v, int(emulated::lane()) ^ x);
}
template <typename T>
static inline T __shfl_sync(unsigned mask, T v, int source) {
  return from_lane(mask, "__shfl_sync", v, source & 31);
}
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __ballot_sync(unsigned mask, int v) {
  unsigned char on = v != 0;
  const unsigned char* all = emulated::collective(mask, "__ballot_sync", &on, 1);
  unsigned set = 0;
  for (unsigned l = 0; l < 32; l++)
    if ((mask & emulated::living()) >> l & 1 && all[32 * l]) set |= 1u << l;
  return set;
}
template <typename T>
static inline T atomicAdd(T* p, T v) {
  T old = *p;
  *p = old + v;
  return old;
}  // one thread at a time: blocks run on one core
template <typename T>
static inline T __ldg(const T* p) {
  return *p;
}
struct alignas(16) float4 {
  float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float __uint_as_float(unsigned v) {
  float f;
  std::memcpy(&f, &v, 4);
  return f;
}
static inline long long __double_as_longlong(double x) {
  long long bits;
  std::memcpy(&bits, &x, 8);
  return bits;
}
static inline unsigned __float_as_uint(float f) {
  unsigned v;
  std::memcpy(&v, &f, 4);
  return v;
}

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
#define INFINITY_F __builtin_inff()

namespace emulated {
inline float from_bf16(u16 bits) { return __uint_as_float(u32(bits) << 16); }
/// Rounds to nearest even; NaN becomes the canonical one, as in PTX.
inline u16 to_bf16(float x) {
  u32 bits = __float_as_uint(x);
  return x != x ? 0x7fff : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}
inline float from_f16(u16 bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return float(half);
}
inline u16 to_f16(float x) {
  _Float16 half = _Float16(x);
  u16 bits;
  std::memcpy(&bits, &half, 2);
  return x != x ? 0x7fff : bits;
}
}  // namespace emulated
