// The table of one instruction set. Included once per translation unit, behind the Vec of that set.
// Everything but the table has internal linkage, and only headers without inline functions of their
// own are included: a weak symbol compiled for AVX-512 here could be the copy that the linker keeps
// for a machine without it.

#include "kernels.h"

// Loops over registers only pay if they dissolve into the loop around them.
#define RELPROP_INLINE inline __attribute__((always_inline))
#define RELPROP_INLINED __attribute__((always_inline))  // behind the parameters of a lambda

namespace relprop::RELPROP_ISA {
namespace {

template <class T>
inline T least(T a, T b) {
  return b < a ? b : a;
}

// Read in place of pixels that are not there.
constexpr float kZeros[kMostPanelRows] = {};

// f(0) ... f(kCount - 1) with constants as arguments. A loop that is unrolled later than this
// leaves arrays of vectors in memory.
template <int kValue>
struct Constant {
  constexpr operator int() const { return kValue; }
};
template <int kCount, int kFirst = 0, class F>
RELPROP_INLINE void unrolled(const F& f) {
  if constexpr (kFirst < kCount) {
    f(Constant<kFirst>{});
    unrolled<kCount, kFirst + 1>(f);
  }
}

// clang-format off: in the order in which they need each other
#include "vectors.inl"
#include "transpose.inl"
#include "list.inl"
#include "sums.inl"
#include "skip.inl"
#include "pairs.inl"
#include "partition.inl"
#include "planar.inl"
#include "dense.inl"
#include "elementwise.inl"
#include "fold.inl"
#include "scatter.inl"
#include "pixels.inl"
#include "depthwise.inl"
#include "narrow.inl"
#include "pool.inl"
// clang-format on

}  // namespace

static_assert(sizeof kSkipBelow == kModes * sizeof(float));

#define RELPROP_NAME_OF(isa) #isa
#define RELPROP_NAME(isa) RELPROP_NAME_OF(isa)

extern const Kernels kernels = {
    RELPROP_NAME(RELPROP_ISA),
    Vec::kWidth,
    kLaneBlock,
    kSlidingLanes,
    kDenseLanes,
    kPanelLanes,
    kSkipBelow,
    kListsPairs,
    kShortLists,
    list,
    {skip<Mode::plain>, skip<Mode::split_product>, skip<Mode::split_weight>, skip<Mode::blend>,
     skip<Mode::blend_both>},
    fold,
    {scatter<Mode::plain>, nullptr, scatter<Mode::split_weight>, scatter<Mode::blend>,
     scatter<Mode::blend_both>},
    {narrow<Mode::plain>, narrow<Mode::split_product>, narrow<Mode::split_weight>,
     narrow<Mode::blend>, narrow<Mode::blend_both>},
    {partition<Mode::plain>, partition<Mode::split_product>, partition<Mode::split_weight>,
     partition<Mode::blend>, partition<Mode::blend_both>},
    {planar<Mode::plain>, planar<Mode::split_product>, planar<Mode::split_weight>,
     planar<Mode::blend>, planar<Mode::blend_both>},
    dense,
    {depthwise<Mode::plain>, depthwise<Mode::split_product>, depthwise<Mode::split_weight>,
     depthwise<Mode::blend>, depthwise<Mode::blend_both>},
    finish,
    map,
    tie,
    tail_gradient,
    max_pool,
    average_pool,
    unpool_max,
    unpool_average,
    add,
    scale_shift,
    transpose,
    {},
    nullptr,
};

}  // namespace relprop::RELPROP_ISA
