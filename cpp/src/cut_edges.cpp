#include "cut_edges.h"

namespace relprop {

std::vector<std::pair<int, int>> cut_edges(const Plan::Impl& plan, const std::vector<Mask>& masks,
                                           int target) {
  const std::size_t count = plan.steps.size();
  const auto inputs = [&](std::size_t i) -> const std::vector<int>& {
    return plan.steps[i].step.inputs;
  };
  std::vector<std::pair<int, int>> cut;
  for (const Mask& mask : masks) {
    const int layer = plan.step_of[static_cast<std::size_t>(mask.node)];
    if (layer < 0 || !mask.applies_to(target)) continue;
    std::vector<bool> upstream(count, false), downstream = upstream;
    upstream[static_cast<std::size_t>(layer)] = downstream[static_cast<std::size_t>(layer)] = true;
    for (std::size_t i = count; i-- > 0;)
      for (int input : inputs(i))
        if (upstream[i]) upstream[static_cast<std::size_t>(input)] = true;
    for (std::size_t i = 0; i < count; ++i)
      for (int input : inputs(i))
        if (downstream[static_cast<std::size_t>(input)]) downstream[i] = true;
    for (std::size_t i = 0; i < count; ++i)
      for (int input : inputs(i))
        if (!upstream[i] && !downstream[static_cast<std::size_t>(input)])
          cut.emplace_back(static_cast<int>(i), input);
  }
  return cut;
}

}  // namespace relprop
