#pragma once

#include <cstdint>
#include <vector>

#include "plan_impl.h"

namespace relprop {

// A Gather op in memory order, which is channels last on both sides, read from either end: output
// k takes value source[k]; value i went to the outputs reader[begin[i]] .. reader[begin[i + 1]).
struct GatherTable {
  std::vector<std::int32_t> source, begin, reader;
};
GatherTable make_gather(const Gather& op, const Shape& from, const Shape& to);

void forward_gather(const Execution& run, const CompiledStep& step);
// r_in = or += the sum of r over all places that a value went to.
void back_gather(const Execution& run, const CompiledStep& step, const float* r, float* r_in,
                 bool accumulate);

}  // namespace relprop
