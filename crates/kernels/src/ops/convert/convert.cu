// Checked conversion of floating-point numbers to 64-bit integers.
#include "half.cuh"

/// `kind` in flag.rs.
enum { INTEGER = 6 };

struct ConvertArgs {
  i64* y;
  const void* x;  // contiguous
  Flag* flag;
  u64 count;
};

template <typename T>
DEVICE void convert(const ConvertArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  FOR_EACH(i, args.count) {
    double value = Number<T>::load(x[i]);
    bool fits = value >= -9223372036854775808.0 && value < 9223372036854775808.0;
    if (!fits) report(args.flag, INTEGER, 0, 0);
    args.y[i] = fits ? i64(value) : 0;
  }
}

#define CONVERT(suffix, T) \
  KERNEL(convert_##suffix, ConvertArgs) { convert<T>(args); }
REAL_TYPES(CONVERT)
