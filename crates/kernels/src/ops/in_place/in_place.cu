// Sums in place. Arrays are contiguous.
#include "half.cuh"

struct AddArgs {
  void* sum;
  const void* more;
  u64 count;
};

template <typename T>
DEVICE void add(const AddArgs& args) {
  T* sum = static_cast<T*>(args.sum);
  const T* more = static_cast<const T*>(args.more);
  FOR_EACH(i, args.count) sum[i] += more[i];
}

KERNEL(add_f32, AddArgs) { add<float>(args); }
KERNEL(add_f64, AddArgs) { add<double>(args); }
