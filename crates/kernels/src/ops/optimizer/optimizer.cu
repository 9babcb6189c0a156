// One step of an optimizer for many parameters in a launch, and the sum of the squares of many
// arrays. Arrays are contiguous.
#include "rows.cuh"

/// Parameters of a launch, and elements of a block, as in cuda.rs.
constexpr int ENTRIES = 64;
constexpr u64 CHUNK = 4096;

/// A parameter: the blocks from `first` on compute it.
struct Entry {
  void* new_weight;
  const void* weight;
  const void* grad;
  void* state[2];
  u64 count;
  u32 first;
};

struct StepArgs {
  Entry entries[ENTRIES];
  double factor;       // of the gradients
  double settings[9];  // by kernel, see below
  u32 count;           // of entries
};

struct SquaresEntry {
  const void* x;
  u64 count;
  u32 first;
};

struct SquaresArgs {
  SquaresEntry entries[ENTRIES];
  double* sums;  // out: of each block
  u32 count;     // of entries
};

/// The entry that this block belongs to.
template <typename E>
DEVICE int own_entry(const E* entries, u32 count) {
  int entry = 0;
  while (entry + 1 < int(count) && entries[entry + 1].first <= blockIdx.x) entry++;
  return entry;
}

/// Calls `f` with the index of each element of this block.
template <typename E, typename F>
DEVICE void for_each_of(const E& entry, F f) {
  u64 first = (blockIdx.x - entry.first) * CHUNK;
  u64 end = first + CHUNK < entry.count ? first + CHUNK : entry.count;
  for (u64 i = first + threadIdx.x; i < end; i += blockDim.x) f(i);
}

/// Settings: rate, reciprocal root of the correction, eps, beta1, 1 - beta1, beta2, 1 - beta2,
/// the factor of the old weight (AdamW), and the factor of the weight in the gradient (Adam).
template <typename T>
DEVICE void adam(const StepArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const double* s = args.settings;
  C rate = C(s[0]), root = C(s[1]), eps = C(s[2]), b1 = C(s[3]), c1 = C(s[4]), b2 = C(s[5]);
  C c2 = C(s[6]), shrink = C(s[7]), decay = C(s[8]);
  const Entry& of = args.entries[own_entry(args.entries, args.count)];
  T* mean = static_cast<T*>(of.state[0]);
  T* square = static_cast<T*>(of.state[1]);
  for_each_of(of, [&](u64 i) {
    C w = N::load(static_cast<const T*>(of.weight)[i]);
    C g = N::load(static_cast<const T*>(of.grad)[i]) * C(args.factor) + decay * w;
    C m = b1 * N::load(mean[i]) + c1 * g;
    C v = b2 * N::load(square[i]) + c2 * g * g;
    mean[i] = N::store(m);
    square[i] = N::store(v);
    static_cast<T*>(of.new_weight)[i] = N::store(w * shrink - rate * m / (sqrt(v) * root + eps));
  });
}

/// Settings: learning rate, weight decay; factors of the old buffer and the gradient in the new
/// buffer; factors of the gradient and the new buffer in the direction.
template <typename T>
DEVICE void momentum(const StepArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const double* s = args.settings;
  C lr = C(s[0]), decay = C(s[1]), old = C(s[2]), more = C(s[3]), own = C(s[4]), sum = C(s[5]);
  const Entry& of = args.entries[own_entry(args.entries, args.count)];
  T* buffer = static_cast<T*>(of.state[0]);
  for_each_of(of, [&](u64 i) {
    C w = N::load(static_cast<const T*>(of.weight)[i]);
    C g = N::load(static_cast<const T*>(of.grad)[i]) * C(args.factor) + decay * w;
    // the first step does not read the buffer
    C b = old == C(0) ? more * g : old * N::load(buffer[i]) + more * g;
    buffer[i] = N::store(b);
    static_cast<T*>(of.new_weight)[i] = N::store(w - lr * (own * g + sum * b));
  });
}

/// Settings: learning rate, weight decay.
template <typename T>
DEVICE void sgd(const StepArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  C lr = C(args.settings[0]), decay = C(args.settings[1]);
  const Entry& of = args.entries[own_entry(args.entries, args.count)];
  for_each_of(of, [&](u64 i) {
    C w = N::load(static_cast<const T*>(of.weight)[i]);
    C g = N::load(static_cast<const T*>(of.grad)[i]) * C(args.factor) + decay * w;
    static_cast<T*>(of.new_weight)[i] = N::store(w - lr * g);
  });
}

/// Settings: learning rate, the factor of the old weight, beta1, 1 - beta1, beta2, 1 - beta2.
template <typename T>
DEVICE void lion(const StepArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const double* s = args.settings;
  C lr = C(s[0]), shrink = C(s[1]), b1 = C(s[2]), c1 = C(s[3]), b2 = C(s[4]), c2 = C(s[5]);
  const Entry& of = args.entries[own_entry(args.entries, args.count)];
  T* mean = static_cast<T*>(of.state[0]);
  for_each_of(of, [&](u64 i) {
    C w = N::load(static_cast<const T*>(of.weight)[i]);
    C g = N::load(static_cast<const T*>(of.grad)[i]) * C(args.factor);
    C m = N::load(mean[i]);
    C direction = b1 * m + c1 * g;
    C sign = C(direction > C(0)) - C(direction < C(0));
    mean[i] = N::store(b2 * m + c2 * g);
    static_cast<T*>(of.new_weight)[i] = N::store(w * shrink - lr * sign);
  });
}

/// Few squares are summed in the type of the array, their sums in f64.
template <typename T>
DEVICE void squares(const SquaresArgs& args) {
  typedef Number<T> N;
  typename N::Compute sum = 0;
  const SquaresEntry& of = args.entries[own_entry(args.entries, args.count)];
  const T* x = static_cast<const T*>(of.x);
  for_each_of(of, [&](u64 i) { sum += N::load(x[i]) * N::load(x[i]); });
  double all = sum_of_row(double(sum));
  if (threadIdx.x == 0) args.sums[blockIdx.x] = all;
}

#define ALL(suffix, T)                                       \
  KERNEL(adam_##suffix, StepArgs) { adam<T>(args); }         \
  KERNEL(momentum_##suffix, StepArgs) { momentum<T>(args); } \
  KERNEL(sgd_##suffix, StepArgs) { sgd<T>(args); }           \
  KERNEL(lion_##suffix, StepArgs) { lion<T>(args); }         \
  KERNEL(squares_##suffix, SquaresArgs) { squares<T>(args); }
REAL_TYPES(ALL)
