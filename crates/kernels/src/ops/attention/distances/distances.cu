// Biases by the distance between query and key. Arrays are contiguous: (heads, i + j - 1) by
// distance, (heads, i, j) as a matrix.
#include "half.cuh"

struct DistanceArgs {
  void* to;
  const void* from;
  u64 heads, queries, keys;
};

template <typename T>
DEVICE void expand(const DistanceArgs& args) {
  u64 matrix = args.queries * args.keys, distances = args.queries + args.keys - 1;
  FOR_EACH(i, args.heads * matrix) {
    u64 head = i / matrix, query = i % matrix / args.keys, key = i % args.keys;
    u64 at = head * distances + key + args.queries - 1 - query;
    static_cast<T*>(args.to)[i] = static_cast<const T*>(args.from)[at];
  }
}

/// A thread for each distance adds the entries of its diagonal in order.
template <typename T>
DEVICE void collect(const DistanceArgs& args) {
  typedef Number<T> N;
  const T* from = static_cast<const T*>(args.from);
  u64 distances = args.queries + args.keys - 1;
  FOR_EACH(i, args.heads * distances) {
    u64 head = i / distances, distance = i - head * distances;
    typename N::Compute sum = 0;
    for (u64 query = 0; query < args.queries; query++) {
      i64 key = i64(distance + query + 1) - i64(args.queries);
      if (key >= 0 && key < i64(args.keys))
        sum += N::load(from[(head * args.queries + query) * args.keys + u64(key)]);
    }
    static_cast<T*>(args.to)[i] = N::store(sum);
  }
}

#define DISTANCES(suffix, T)                                 \
  KERNEL(expand_##suffix, DistanceArgs) { expand<T>(args); } \
  KERNEL(collect_##suffix, DistanceArgs) { collect<T>(args); }
REAL_TYPES(DISTANCES)
