#pragma once

#include <cstdint>
#include <vector>

#include "plan_impl.h"

namespace relprop {

// The non-zero weights of one axis of a Resample op: output o reads source[k] with weight[k] for k
// in begin[o] .. begin[o + 1].
struct WeightedTaps {
  std::vector<std::int32_t> begin{0}, source;
  std::vector<float> weight;
};

// Both axes, in both directions.
struct ResampleTable {
  WeightedTaps y, x, back_y, back_x;
  std::array<std::int64_t, 2> source{1, 1}, out{1, 1};
};
ResampleTable make_resample(const Resample& op, const Shape& from, const Shape& to);

void forward_resample(const Execution& run, const CompiledStep& step);
// r_in = or += the transposed resampling of s, times x unless x is null.
void back_resample(const Execution& run, const CompiledStep& step, const float* s, const float* x,
                   float* r_in, bool accumulate);

}  // namespace relprop
