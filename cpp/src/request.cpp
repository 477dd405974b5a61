#include "request.h"

#include <algorithm>
#include <string>

#include "relprop/error.h"

namespace relprop {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

void check_node(const Plan::Impl& plan, int node, const char* what) {
  const auto count = static_cast<int>(plan.nodes.size());
  if (node < 0 || node >= count)
    refuse(std::string(what) + " names node " + std::to_string(node) +
           "; the model has nodes 0 to " + std::to_string(count - 1));
}

void check_start(const Plan::Impl& plan, const RelevanceRequest& request) {
  const Start& start = request.start;
  if (start.targets_per_sample < 1)
    refuse("targets_per_sample is " + std::to_string(start.targets_per_sample) +
           "; at least 1 is needed");
  if (start.kind == StartKind::array) {
    if (start.values == nullptr && request.n > 0) refuse("an array start has no values");
    return;
  }
  if (start.targets == nullptr) return;
  const std::int64_t outputs = size_of(plan.start_shape());
  for (std::int64_t k = 0; k < request.n * start.targets_per_sample; ++k)
    if (start.targets[k] < -1 || start.targets[k] >= outputs)
      refuse("target " + std::to_string(start.targets[k]) + " does not exist; output '" +
             plan.nodes[static_cast<std::size_t>(plan.output)].name + "' has targets 0 to " +
             std::to_string(outputs - 1) + ", -1 is the largest output");
}

// Two layers side by side that are masked for one target would cut each other off.
void check_masks(const Plan::Impl& plan, const RelevanceRequest& request, int target) {
  std::vector<int> layers;
  for (const Mask& mask : request.masks) {
    const int s = plan.step_of[static_cast<std::size_t>(mask.node)];
    if (s >= 0 && mask.applies_to(target)) layers.push_back(s);
  }
  for (int layer : layers) {
    std::vector<bool> related(plan.steps.size(), false), up = related;
    related[static_cast<std::size_t>(layer)] = up[static_cast<std::size_t>(layer)] = true;
    for (int i = static_cast<int>(plan.steps.size()) - 1; i >= 0; --i)
      for (int input : plan.steps[static_cast<std::size_t>(i)].step.inputs)
        if (up[static_cast<std::size_t>(i)]) up[static_cast<std::size_t>(input)] = true;
    for (std::size_t i = 0; i < plan.steps.size(); ++i)
      for (int input : plan.steps[i].step.inputs)
        if (related[static_cast<std::size_t>(input)]) related[i] = true;
    for (int other : layers)
      if (!related[static_cast<std::size_t>(other)] && !up[static_cast<std::size_t>(other)])
        throw Error(ErrorCode::invalid_argument,
                    "exclude_parallel: layers '" +
                        plan.nodes[static_cast<std::size_t>(
                                       plan.steps[static_cast<std::size_t>(layer)].step.node)]
                            .name +
                        "' and '" +
                        plan.nodes[static_cast<std::size_t>(
                                       plan.steps[static_cast<std::size_t>(other)].step.node)]
                            .name +
                        "' lie on parallel branches; mask them in separate calls");
  }
}

}  // namespace

void check_batch(std::int64_t n, const void* in, const void* out, int n_threads) {
  if (n < 0) refuse("a batch of " + std::to_string(n) + " samples; at least 0 are needed");
  if (n > 0 && (in == nullptr || out == nullptr)) refuse("input or result is null");
  if (n_threads < 0)
    refuse(std::to_string(n_threads) + " threads; accepted are 0 (all cores) and more");
}

void check_request(const Plan::Impl& plan, const RelevanceRequest& request) {
  check_batch(request.n, request.x, request.relevance, request.n_threads);
  check_start(plan, request);
  if (request.layers.size() != request.layer_relevance.size())
    refuse(std::to_string(request.layers.size()) + " layers, but memory for the relevance of " +
           std::to_string(request.layer_relevance.size()));
  for (int node : request.layers) check_node(plan, node, "layers");
  for (const Mask& mask : request.masks) {
    check_node(plan, mask.node, "a mask");
    if (mask.values == nullptr && request.n > 0) refuse("a mask has no values");
    if (mask.target < -1 || mask.target >= request.start.targets_per_sample)
      refuse("a mask is for target " + std::to_string(mask.target) + "; accepted are -1 (all) to " +
             std::to_string(request.start.targets_per_sample - 1));
  }
  if (!request.exclude_parallel) return;
  for (int target = 0; target < request.start.targets_per_sample; ++target)
    check_masks(plan, request, target);
}

void clear_unreached_layers(const Plan::Impl& plan, const RelevanceRequest& request) {
  for (std::size_t k = 0; k < request.layers.size(); ++k) {
    const auto node = static_cast<std::size_t>(request.layers[k]);
    const int step = plan.step_of[node];
    if (step < 0) {
      std::fill_n(request.layer_relevance[k],
                  request.n * request.start.targets_per_sample * size_of(plan.nodes[node].shape),
                  0.0f);
      continue;
    }
    const auto& nodes = plan.steps[static_cast<std::size_t>(step)].step.nodes;
    if (std::find(nodes.begin(), nodes.end(), request.layers[k]) == nodes.end())
      throw Error(ErrorCode::invalid_argument,
                  "layer '" + plan.nodes[node].name +
                      "' is folded into the layer behind it and shares its input with others; its "
                      "relevance is not computed");
  }
}

}  // namespace relprop
