#pragma once

#include "plan_impl.h"

namespace relprop {

// Throw Error for what would read or write outside the caller's memory, naming what came and what
// is accepted. What the pointers point to cannot be checked.
void check_batch(std::int64_t n, const void* in, const void* out, int n_threads);
void check_request(const Plan::Impl& plan, const RelevanceRequest& request);

// Layers the explained output does not depend on have no relevance.
void clear_unreached_layers(const Plan::Impl& plan, const RelevanceRequest& request);

}  // namespace relprop
