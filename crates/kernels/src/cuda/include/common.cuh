// What every kernel file includes: kernel declarations, integer names, grid-stride loops.
#pragma once

#ifdef __CUDACC_RTC__
/// Declares a kernel. Its only argument is a struct, which is passed by value.
#define KERNEL(name, Args) extern "C" __global__ void name(const __grid_constant__ Args args)
/// An array of shared memory, with a size known to the compiler.
#define SHARED(type, name, dims) __shared__ type name dims
#define INFINITY_F __int_as_float(0x7f800000)
typedef unsigned char u8;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned short u16;
#else
#include "shim.h"
#endif

/// Axes of a strided operand; collapsed shapes with more are refused on the host.
constexpr int AXES = 6;

/// A loop over `count` elements in which the whole grid takes part.
#define FOR_EACH(i, count)                                                       \
  for (u64 i = blockIdx.x * u64(blockDim.x) + threadIdx.x, step_ = u64(gridDim.x) * blockDim.x; \
       i < (count); i += step_)
