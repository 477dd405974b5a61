#pragma once

#include "kernels/kernels.h"
#include "relprop/plan.h"

namespace relprop {

// Throws Error if this build or this processor does not have the instruction set.
const Kernels& kernels_for(Isa isa);

}  // namespace relprop
