#pragma once

#include "plan_impl.h"

namespace relprop {

// What a backward pass starts from, of the output: r is (n, shape of the output), channels last.
// `target` counts the targets of a sample.
void write_start(const Execution& run, const RelevanceRequest& request, std::int64_t first_sample,
                 int target, float* r);

}  // namespace relprop
