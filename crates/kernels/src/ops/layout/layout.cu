// Copies between views, by the size of an element.
#include "half.cuh"

struct CopyArgs {
  void* to;
  const void* from;
  u64 count;
  Axes<2> axes;
};

template <typename T>
DEVICE void copy(const CopyArgs& args) {
  T* to = static_cast<T*>(args.to);
  const T* from = static_cast<const T*>(args.from);
  FOR_EACH(i, args.count) {
    Offsets<2> place = offsets(args.axes, args.count, i);
    to[place.at[0]] = from[place.at[1]];
  }
}

KERNEL(copy_u8, CopyArgs) { copy<u8>(args); }
KERNEL(copy_f16, CopyArgs) { copy<u16>(args); }
KERNEL(copy_u32, CopyArgs) { copy<u32>(args); }
KERNEL(copy_i64, CopyArgs) { copy<i64>(args); }
