// Matrix products of strided operands: y = alpha · a b, plus a bias, plus what y held before.
#include "half.cuh"

struct ProductArgs {
  void* y;           // (batch, m, n), contiguous
  const void* a;     // (batch, m, k)
  const void* b;     // (batch, k, n)
  const void* bias;  // (n); null: none
  u64 batch, m, n, k;
  i64 a_row, a_column, b_row, b_column;  // strides
  double alpha;
  Axes<2> axes;    // of the batch, with the strides of a and b
  u32 accumulate;  // add to y
};

/// Threads of a block along each axis, as in cuda.rs.
constexpr int THREADS = 16;
/// Columns of a and rows of b in shared memory at a time.
constexpr int DEPTH = 16;

/// A block computes a square tile of y: each thread EACH x EACH numbers, which lie THREADS apart.
template <typename T, int EACH>
DEVICE void product(const ProductArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  constexpr int TILE = EACH * THREADS;
  SHARED(C, tile_a, [DEPTH][TILE + 1]);
  SHARED(C, tile_b, [DEPTH][TILE + 1]);
  int x = threadIdx.x, y = threadIdx.y, thread = y * THREADS + x;
  u64 tiles = (args.n + TILE - 1) / TILE;
  u64 row = blockIdx.x / tiles * TILE, column = blockIdx.x % tiles * TILE;
  // threads next to each other read numbers next to each other, whichever axis that is
  bool a_by_row = args.a_column == 1, b_by_row = args.b_column == 1;
  for (u64 matrix = blockIdx.y; matrix < args.batch; matrix += gridDim.y) {
    Offsets<2> from = offsets(args.axes, args.batch, matrix);
    const T* a = static_cast<const T*>(args.a) + from.at[0];
    const T* b = static_cast<const T*>(args.b) + from.at[1];
    C sums[EACH][EACH] = {};
    for (u64 first = 0; first < args.k; first += DEPTH) {
      __syncthreads();  // the tiles before are done
#pragma unroll
      for (int part = 0; part < DEPTH * TILE / (THREADS * THREADS); part++) {
        int at = part * THREADS * THREADS + thread;
        int depth = a_by_row ? at % DEPTH : at / TILE, i = a_by_row ? at / DEPTH : at % TILE;
        bool inside = row + i < args.m && first + depth < args.k;
        i64 place = i64(row + i) * args.a_row + i64(first + depth) * args.a_column;
        tile_a[depth][i] = inside ? N::load(a[place]) : C(0);
        depth = b_by_row ? at / TILE : at % DEPTH, i = b_by_row ? at % TILE : at / DEPTH;
        inside = column + i < args.n && first + depth < args.k;
        place = i64(first + depth) * args.b_row + i64(column + i) * args.b_column;
        tile_b[depth][i] = inside ? N::load(b[place]) : C(0);
      }
      __syncthreads();
#pragma unroll
      for (int depth = 0; depth < DEPTH; depth++) {
        C own_a[EACH], own_b[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
          own_a[i] = tile_a[depth][y + i * THREADS];
          own_b[i] = tile_b[depth][x + i * THREADS];
        }
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
          for (int j = 0; j < EACH; j++) sums[i][j] += own_a[i] * own_b[j];
      }
    }
    T* out = static_cast<T*>(args.y) + matrix * args.m * args.n;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
#pragma unroll
      for (int j = 0; j < EACH; j++) {
        u64 r = row + y + i * THREADS, c = column + x + j * THREADS;
        if (r >= args.m || c >= args.n) continue;
        C value = sums[i][j] * C(args.alpha);
        if (args.bias) value += N::load(static_cast<const T*>(args.bias)[c]);
        if (args.accumulate) value += N::load(out[r * args.n + c]);
        out[r * args.n + c] = N::store(value);
      }
    }
  }
}

// Small tiles for results with few rows or columns.
#define PRODUCT(suffix, T)                                       \
  KERNEL(product_##suffix, ProductArgs) { product<T, 4>(args); } \
  KERNEL(small_product_##suffix, ProductArgs) { product<T, 1>(args); }
REAL_TYPES(PRODUCT)
