// Cross-entropy of rows of logits, (rows, width), and the gradient of the logits.
#include "rows.cuh"

/// `kind` in flag.rs.
enum { TARGET = 2 };

struct CountArgs {
  double* count;  // out: the targets that are not ignored
  const i64* targets;
  u64 rows;
  i64 ignore_index;
};

struct RowsArgs {
  double* losses;  // out: of each row; null: not needed
  void* dlogits;   // out: may be the logits themselves; null: not needed
  const void* logits;
  const i64* targets;
  const double* count;  // of the targets that are not ignored
  const void* grad;     // of the loss; null: 1
  Flag* flag;
  u64 rows, width;
  i64 ignore_index;
  double own, each;  // probabilities: of the target beyond the others, of each class
  double softclamp;  // the limit of the logits; 0: none
};

struct MeanArgs {
  void* loss;  // out
  const double* losses;
  const double* count;
  u64 rows;
};

KERNEL(count_i64, CountArgs) {
  double count = 0;
  FOR_EACH_COLUMN(row, args.rows) count += args.targets[row] != args.ignore_index;
  count = sum_of_row(count);
  if (threadIdx.x == 0 && threadIdx.y == 0) args.count[0] = count;
}

/// `limit tanh(x / limit)`; x itself for a limit of 0.
template <typename C>
DEVICE C limited(C x, C limit) {
  return limit > C(0) ? limit * tanh(x / limit) : x;
}

template <typename T>
DEVICE void rows(const RowsArgs& args) {
  typedef Number<T> N;
  typedef typename N::Compute C;
  const C limit = C(args.softclamp);
  FOR_EACH_ROW(row, args.rows) {
    const T* logits = static_cast<const T*>(args.logits) + row * args.width;
    i64 target = args.targets[row];
    bool counted = target != args.ignore_index;
    u64 own = counted ? u64(checked(args.flag, TARGET, target, i64(args.width))) : 0;
    // before the logits are overwritten, by any thread of the row
    C expected = args.width ? C(args.own) * limited(C(N::load(logits[own])), limit) : C(0);
    __syncwarp();
    if (args.each > 0) {
      C all = 0;
      FOR_EACH_COLUMN(at, args.width) all += limited(C(N::load(logits[at])), limit);
      expected += C(args.each) * sum_of_row(all);
    }
    C top = -INFINITY_F;
    FOR_EACH_COLUMN(at, args.width) {
      top = greater_of(top, limited(C(N::load(logits[at])), limit));
    }
    top = max_of_row(top);
    C sum = 0;
    FOR_EACH_COLUMN(at, args.width) sum += exp(limited(C(N::load(logits[at])), limit) - top);
    sum = sum_of_row(sum);
    if (args.losses && threadIdx.x == 0)
      args.losses[row] = counted ? double(log(sum) + top - expected) : 0.0;
    if (!args.dlogits) continue;
    C weight = C(1.0 / args.count[0]);
    if (args.grad) weight *= N::load(static_cast<const T*>(args.grad)[0]);
    T* dlogits = static_cast<T*>(args.dlogits) + row * args.width;
    FOR_EACH_COLUMN(at, args.width) {
      C logit = limited(C(N::load(logits[at])), limit);
      C share = exp(logit - top) / sum - C(args.each) - C(args.own) * C(at == own);
      // the slope of the hyperbolic tangent
      if (limit > C(0)) share *= C(1) - logit / limit * (logit / limit);
      dlogits[at] = N::store(counted ? share * weight : C(0));
    }
  }
}

template <typename T>
DEVICE void mean(const MeanArgs& args) {
  double sum = 0;
  FOR_EACH_COLUMN(row, args.rows) sum += args.losses[row];
  sum = sum_of_row(sum) / args.count[0];
  if (threadIdx.x == 0 && threadIdx.y == 0)
    static_cast<T*>(args.loss)[0] = Number<T>::store(typename Number<T>::Compute(sum));
}

#define ALL(suffix, T)                                    \
  KERNEL(loss_rows_##suffix, RowsArgs) { rows<T>(args); } \
  KERNEL(loss_mean_##suffix, MeanArgs) { mean<T>(args); }
REAL_TYPES(ALL)
