// The masks of attention.
#pragma once
#include "rows.cuh"

/// `MaskArgs` in softmax/cuda.rs. Rows are those of scores (batch, heads, queries, keys).
struct Mask {
  const u8* allowed;  // null: every key
  i64 strides[4];     // of `allowed`; 0 where it repeats
  const i64* ranges;  // (batch, queries, 2): the first key and the one after the last; null: all
  i64 range_strides[3];
  u64 heads, queries, keys;
  i64 window;  // negative: none
  u32 causal;
};

/// The mask of one row.
struct RowMask {
  const u8* allowed;
  i64 stride;
  i64 start, end;  // the keys that are visible by position

  __device__ bool hides(u64 key) const {
    return i64(key) < start || i64(key) >= end || (allowed && !allowed[i64(key) * stride]);
  }
};

DEVICE RowMask mask_of(const Mask& mask, u64 row) {
  u64 query = row % mask.queries, head = row / mask.queries % mask.heads;
  u64 batch = row / mask.queries / mask.heads;
  i64 keys = i64(mask.keys), last = i64(query) + keys - i64(mask.queries);
  RowMask own;
  own.allowed = mask.allowed;
  if (own.allowed)
    own.allowed +=
        i64(batch) * mask.strides[0] + i64(head) * mask.strides[1] + i64(query) * mask.strides[2];
  own.stride = mask.strides[3];
  own.end = mask.causal ? (last < -1 ? 0 : last + 1 < keys ? last + 1 : keys) : keys;
  own.start = mask.window >= 0 && last > mask.window ? last - mask.window : 0;
  if (mask.ranges) {
    const i64* start =
        mask.ranges + i64(batch) * mask.range_strides[0] + i64(query) * mask.range_strides[1];
    i64 end = start[mask.range_strides[2]];
    if (own.start < *start) own.start = *start;
    if (own.end > end) own.end = end;
  }
  if (own.start > own.end) own.start = own.end;
  return own;
}
