// Loops over rows: a warp for each where rows are short, a block where they are long. See
// `Gpu::rows` in launch.rs.
#pragma once
#include "half.cuh"

/// A loop over rows. The threads with the same `threadIdx.y` share a row: a warp, or the block.
#define FOR_EACH_ROW(row, rows)                                                                   \
  for (u64 row = blockIdx.x * u64(blockDim.y) + threadIdx.y, step_ = u64(gridDim.x) * blockDim.y; \
       row < (rows); row += step_)

/// A loop over the elements of a row, shared by its threads.
#define FOR_EACH_COLUMN(column, width) \
  for (u64 column = threadIdx.x; column < (width); column += blockDim.x)

/// Combines `x` of all threads of a row by `f`, which is associative and commutative. The order
/// is fixed, and all threads get the result.
template <typename C, typename F>
DEVICE C combine_row(C x, F f) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    x = f(x, __shfl_xor_sync(0xffffffffu, x, distance));
  if (blockDim.x == 32) return x;
  SHARED(C, partial, [32]);
  __syncthreads();  // the values of the call before have been read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  C all = partial[0];
  for (u32 warp = 1; warp < blockDim.x / 32; warp++) all = f(all, partial[warp]);
  return all;
}

template <typename C>
DEVICE C sum_of_row(C x) {
  return combine_row(x, [](C a, C b) { return a + b; });
}

/// The greater one; NaN if one of them is NaN.
template <typename C>
DEVICE C greater_of(C x, C y) {
  return x < y ? y : x >= y ? x : x + y;
}
/// The smaller one; NaN if one of them is NaN.
template <typename C>
DEVICE C smaller_of(C x, C y) {
  return x > y ? y : x <= y ? x : x + y;
}

template <typename C>
DEVICE C max_of_row(C x) {
  return combine_row(x, [](C a, C b) { return greater_of(a, b); });
}
