// Rows of a table by index, and the gradient of the table. Arrays are contiguous: the table is
// (size, width), ids are (count).
#include "half.cuh"

/// `kind` in flag.rs.
enum { EMBEDDING_INDEX = 1 };

struct ForwardArgs {
  void* y;            // (count, width)
  const void* table;  // (size, width)
  const i64* ids;     // (count)
  Flag* flag;
  u64 count, width, size;
};

struct BackwardArgs {
  void* dtable;      // (size, width), filled with 0
  const void* grad;  // (count, width)
  const i64* ids;    // (count)
  Flag* flag;
  u64 count, width, size;
};

template <typename T>
DEVICE void forward(const ForwardArgs& args) {
  const T* table = static_cast<const T*>(args.table);
  FOR_EACH(i, args.count * args.width) {
    u64 row = i / args.width;
    i64 id = checked(args.flag, EMBEDDING_INDEX, args.ids[row], i64(args.size));
    static_cast<T*>(args.y)[i] = table[u64(id) * args.width + (i - row * args.width)];
  }
}

/// Threads of a block in `backward`, as in cuda.rs.
constexpr int TILE = 128;

/// A block for each position whose id has not occurred before: it adds the gradients of all
/// positions with this id, in order, so that sums are always the same. Each thread has a column.
template <typename T>
DEVICE void backward(const BackwardArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  SHARED(u32, same, [TILE / 32]);  // a bit for each position of a tile: whether it has the id
  SHARED(u32, seen, [1]);
  const T* grad = static_cast<const T*>(args.grad);
  u64 column = blockIdx.y * u64(TILE) + threadIdx.x;
  for (u64 position = blockIdx.x; position < args.count; position += gridDim.x) {
    i64 id = args.ids[position];
    __syncthreads();  // the position before is done
    if (threadIdx.x == 0) {
      checked(args.flag, EMBEDDING_INDEX, id, i64(args.size));
      seen[0] = id < 0 || id >= i64(args.size);
    }
    __syncthreads();
    for (u64 before = threadIdx.x; before < position; before += TILE) {
      if (args.ids[before] == id) seen[0] = 1;
    }
    __syncthreads();
    if (seen[0]) continue;
    C sum = 0;
    for (u64 first = position; first < args.count; first += TILE) {
      u64 own = first + threadIdx.x;
      u32 bits = __ballot_sync(0xffffffffu, own < args.count && args.ids[own] == id);
      __syncthreads();  // the tile before is done
      if (threadIdx.x % 32 == 0) same[threadIdx.x / 32] = bits;
      __syncthreads();
      if (column >= args.width) continue;
      for (int word = 0; word < TILE / 32; word++) {
        for (u32 rest = same[word]; rest; rest &= rest - 1) {
          u64 at = first + word * 32 + (__ffs(int(rest)) - 1);
          sum += N::load(grad[at * args.width + column]);
        }
      }
    }
    if (column < args.width)
      static_cast<T*>(args.dtable)[u64(id) * args.width + column] = N::store(sum);
  }
}

// Looking up only moves elements, so their size is enough.
KERNEL(embedding_u8, ForwardArgs) { forward<u8>(args); }
KERNEL(embedding_f16, ForwardArgs) { forward<u16>(args); }
KERNEL(embedding_u32, ForwardArgs) { forward<u32>(args); }
KERNEL(embedding_i64, ForwardArgs) { forward<i64>(args); }

#define BACKWARD(suffix, T) \
  KERNEL(embedding_backward_##suffix, BackwardArgs) { backward<T>(args); }
REAL_TYPES(BACKWARD)
