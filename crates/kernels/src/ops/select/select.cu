// Selection between two arrays, by the size of an element.
#include "half.cuh"

struct SelectArgs {
  void* y;  // contiguous
  const void* yes;
  const void* no;
  const u8* condition;
  u64 count;
  Axes<3> axes;  // of yes, no and condition
};

template <typename T>
DEVICE void select(const SelectArgs& args) {
  T* y = static_cast<T*>(args.y);
  const T* yes = static_cast<const T*>(args.yes);
  const T* no = static_cast<const T*>(args.no);
  FOR_EACH(i, args.count) {
    Offsets<3> from = offsets(args.axes, args.count, i);
    y[i] = args.condition[from.at[2]] ? yes[from.at[0]] : no[from.at[1]];
  }
}

KERNEL(select_u8, SelectArgs) { select<u8>(args); }
KERNEL(select_f16, SelectArgs) { select<u16>(args); }
KERNEL(select_u32, SelectArgs) { select<u32>(args); }
KERNEL(select_i64, SelectArgs) { select<i64>(args); }
