#pragma once

#include "plan_impl.h"

namespace relprop {

// What of a plan's values and relevance is kept, how long, and what shares memory: gives every step
// its buffers. All else of the steps is compiled.
void plan_memory(Plan::Impl& plan);

}  // namespace relprop
