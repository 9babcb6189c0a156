// Philox4x32-10, the random numbers of philox.rs.
// Source: Parallel Random Numbers: As Easy as 1, 2, 3, <https://doi.org/10.1145/2063384.2063405>.
#pragma once
#include "common.cuh"

/// `Stream` in philox.rs.
struct Stream {
  u64 seed, call;
  u32 draw;
};

struct Words {
  u32 at[4];
};

/// The four words of block `index`.
DEVICE Words philox(const Stream& stream, u32 index) {
  u32 key[2] = {u32(stream.seed), u32(stream.seed >> 32)};
  Words x = {{index, stream.draw, u32(stream.call), u32(stream.call >> 32)}};
#pragma unroll
  for (int round = 0; round < 10; round++) {
    u64 a = u64(0xd2511f53u) * x.at[0], b = u64(0xcd9e8d57u) * x.at[2];
    x = {{u32(b >> 32) ^ x.at[1] ^ key[0], u32(b), u32(a >> 32) ^ x.at[3] ^ key[1], u32(a)}};
    key[0] += 0x9e3779b9u;
    key[1] += 0xbb67ae85u;
  }
  return x;
}
