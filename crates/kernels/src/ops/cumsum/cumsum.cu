// Running sums along an axis of a contiguous array, seen as (outer, count, inner). A thread has a
// chunk of a line. In reverse, lines and their chunks begin at their end.
#include "half.cuh"

struct ScanArgs {
  void* y;             // (outer, count, inner); for `sum_chunks` (outer, chunks, inner)
  const void* x;       // (outer, count, inner)
  const void* before;  // running sums of the chunks, (outer, chunks, inner); null: one chunk
  u64 outer, count, inner, chunk, chunks;
  u32 reverse;
};

/// The type of sums: 64 bits.
template <typename T>
struct Sum {
  typedef double Type;
};
template <>
struct Sum<i64> {
  typedef i64 Type;
};

/// The chunk of a thread: elements `start` to before `end`, one every `inner`.
struct Chunk {
  u64 block, column, at, start, end;
};

DEVICE Chunk chunk_of(const ScanArgs& args, u64 thread) {
  Chunk own;
  u64 row = thread / args.inner;
  own.column = thread - row * args.inner;
  own.block = row / args.chunks;
  own.at = row - own.block * args.chunks;
  own.start = own.at * args.chunk;
  own.end = own.start + args.chunk < args.count ? own.start + args.chunk : args.count;
  return own;
}

/// The chunks of a line run from its end in reverse, too: chunk 0 of the array is then the last.
template <typename T, bool ONLY_SUMS>
DEVICE void scan_chunks(const ScanArgs& args) {
  typedef Number<T> N;
  typedef typename Sum<T>::Type S;
  const T* x = static_cast<const T*>(args.x);
  const S* before = static_cast<const S*>(args.before);
  FOR_EACH(thread, args.outer * args.chunks * args.inner) {
    Chunk own = chunk_of(args, thread);
    S sum = 0;
    bool first = args.reverse ? own.at + 1 == args.chunks : own.at == 0;
    if (!ONLY_SUMS && before && !first) {
      u64 other = args.reverse ? own.at + 1 : own.at - 1;
      sum = before[(own.block * args.chunks + other) * args.inner + own.column];
    }
    for (u64 i = own.start; i < own.end; i++) {
      u64 place = args.reverse ? own.end - 1 - (i - own.start) : i;
      u64 from = (own.block * args.count + place) * args.inner + own.column;
      sum += S(N::load(x[from]));
      if (!ONLY_SUMS) static_cast<T*>(args.y)[from] = N::store(typename N::Compute(sum));
    }
    if (ONLY_SUMS) static_cast<S*>(args.y)[thread] = sum;
  }
}

#define SCAN(suffix, T)                                                       \
  KERNEL(sum_chunks_##suffix, ScanArgs) { scan_chunks<T, true>(args); }       \
  KERNEL(scan_##suffix, ScanArgs) { scan_chunks<T, false>(args); }
REAL_TYPES(SCAN)
SCAN(i64, i64)
