// What every kernel file includes: declarations of kernels, names of types, loops over elements,
// strided operands, and the report of bad values.
#pragma once

#ifdef __CUDACC_RTC__
/// Declares a kernel. Its only argument is a struct, which is passed by value.
#define KERNEL(name, Args) extern "C" __global__ void name(const __grid_constant__ Args args)
/// An array of shared memory, with a size known to the compiler.
#define SHARED(type, name, dims) __shared__ type name dims
#define INFINITY_F __int_as_float(0x7f800000)
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;
#else
#include "shim.h"
#endif

#define DEVICE static __device__ __forceinline__

/// A loop over `count` elements in which the whole grid takes part.
#define FOR_EACH(i, count)                                                                      \
  for (u64 i = blockIdx.x * u64(blockDim.x) + threadIdx.x, step_ = u64(gridDim.x) * blockDim.x; \
       i < (count); i += step_)

/// The most axes of a strided operand, as in axes.rs.
constexpr int AXES = 6;

/// `Axes` in axes.rs: a loop over `dims` in row-major order, and the strides of N operands.
template <int N>
struct Axes {
  u32 dims[AXES];
  u32 first;  // the first axis that does not just fill up
  i64 strides[N][AXES];
};

/// The offset of an element in each operand.
template <int N>
struct Offsets {
  i64 at[N];
};

template <typename Index, int N>
DEVICE Offsets<N> offsets_by(const Axes<N>& axes, Index i) {
  Offsets<N> offsets = {};
  Index rest = i;
#pragma unroll
  for (int axis = AXES - 1; axis >= 0; axis--) {
    // no division for the first axis: for contiguous operands there is none
    bool last = axis == int(axes.first);
    Index size = axes.dims[axis], next = last ? 0 : rest / size;
    i64 place = i64(rest - next * size);
#pragma unroll
    for (int operand = 0; operand < N; operand++)
      offsets.at[operand] += place * axes.strides[operand][axis];
    if (last) break;
    rest = next;
  }
  return offsets;
}

/// The offsets of element `i` of `count`, in row-major order.
template <int N>
DEVICE Offsets<N> offsets(const Axes<N>& axes, u64 count, u64 i) {
  // 32-bit divisions are several times faster
  return count >> 32 ? offsets_by<u64>(axes, i) : offsets_by<u32>(axes, u32(i));
}

/// A bad value that a kernel has found, in memory of the host: see flag.rs.
struct Flag {
  u32 kind;  // 0: none
  i64 value;
  i64 limit;
};

/// Reports a bad value. All threads of a kernel report the same kind and limit, so that it does
/// not matter which of them is the last. Later kernels with bad values of another kind do not
/// replace it.
DEVICE void report(Flag* flag, u32 kind, i64 value, i64 limit) {
  if (flag->kind != 0 && flag->kind != kind) return;
  flag->value = value;
  flag->limit = limit;
  flag->kind = kind;
}

/// `index` if it is in range; otherwise reports it and returns 0.
DEVICE i64 checked(Flag* flag, u32 kind, i64 index, i64 limit) {
  if (index >= 0 && index < limit) return index;
  report(flag, kind, index, limit);
  return 0;
}
