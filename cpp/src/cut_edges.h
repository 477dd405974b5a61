#pragma once

#include <utility>
#include <vector>

#include "plan_impl.h"

namespace relprop {

// Masked layers with exclude_parallel: of the relevance that goes upstream of a masked layer, only
// what passed through it counts. A pair (reader, input) of steps is cut where the input is upstream
// of (or beside) the layer and the reader is neither the layer nor upstream of it.
std::vector<std::pair<int, int>> cut_edges(const Plan::Impl& plan, const std::vector<Mask>& masks,
                                           int target);

}  // namespace relprop
