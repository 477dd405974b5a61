#include <algorithm>
#include <utility>

#include "parallel.h"
#include "plan_impl.h"
#include "relprop/error.h"
#include "request.h"

// Running a plan: how a batch is cut into groups of samples, and where each finds its memory.

namespace relprop {
namespace {

// Weights that a core's own cache holds are read again and again for nothing.
constexpr std::int64_t kCachedWeights = 1 << 20;  // bytes

// Bytes. Three samples of ResNet-50 or VGG-16 together in place of one: 0.92 and 0.96 of the time
// of eight, on two threads.
constexpr std::int64_t kLeastWorkspace = std::int64_t{640} << 20;

std::int64_t workspace_limit(const Plan::Impl& plan) {
  if (plan.options.workspace_bytes > 0) return plan.options.workspace_bytes;
  return std::max(kLeastWorkspace, plan.weight_bytes);
}

// `samples` go through the plan together. One group at a time, all threads working on it, or
// `at_once` groups, each on one thread: no barriers between layers (ten LeNet-5 prototypes on two
// threads: 0.8 to 0.9 of the time; large networks: no difference), and a batch needs the memory of
// the groups that run at once.
struct Grouping {
  std::int64_t samples;
  int at_once;
};

// Weights are read once per group, so a group's values should be about as many bytes as the
// weights: more leaves the caches, fewer reads the weights too often. Where even all samples have
// fewer values than there are weights (large dense layers), threads share the stream of weights.
Grouping grouping(const Plan::Impl& plan, std::int64_t n, int threads) {
  const std::int64_t sample = std::max<std::int64_t>(plan.bytes_per_sample, 1);
  const std::int64_t fit = std::max<std::int64_t>(workspace_limit(plan) / sample, 1);
  const std::int64_t balanced = std::max<std::int64_t>(plan.weight_bytes / sample, 1);
  const bool streams = plan.weight_bytes > kCachedWeights && balanced >= std::min(n, fit);
  const std::int64_t even = ceil_div(n, ceil_div(n, fit));  // 8 = 4 + 4, not 5 + 3
  if (threads == 1) return {streams ? even : std::min({n, fit, balanced}), 1};
  if (streams || n < threads || fit < threads) return {even, 1};
  return {std::min({n / threads, fit / threads, balanced}), threads};
}

// The layout of a group of n samples, remembered.
const Layout& layout_of(Workspace::Impl& w, const Plan::Impl& plan, std::int64_t n,
                        bool repeat_backward) {
  constexpr std::size_t kMost = 4;
  if (w.plan != plan.id || w.arenas.size() == kMost) w.arenas.clear();
  w.plan = plan.id;
  for (const Workspace::Impl::Arena& arena : w.arenas)
    if (arena.n == n && arena.repeat_backward == repeat_backward) return arena.layout;
  w.arenas.push_back({n, repeat_backward, plan.layout(n, repeat_backward)});
  return w.arenas.back().layout;
}

// Calls f(execution, first, group) for all groups of n samples, groups being numbered in order.
template <class F>
void for_groups(const Plan::Impl& plan, Workspace::Impl& workspace, std::int64_t n, int threads,
                bool repeat_backward, std::vector<LayerSeconds>* seconds, F f) {
  std::int64_t number = 0;
  for (std::int64_t at = 0; at < n;) {
    // Times of layers are those of all threads working on one.
    Grouping g = grouping(plan, n - at, threads);
    if (seconds != nullptr) g.at_once = 1;
    const std::int64_t groups = g.at_once == 1 ? 1 : (n - at) / (g.samples * g.at_once) * g.at_once;
    const Layout& layout = layout_of(workspace, plan, g.samples, repeat_backward);
    const int inside = g.at_once == 1 ? threads : 1;
    const std::int64_t each = layout.total + inside * plan.thread_scratch;
    if (workspace.memory.size() < each * g.at_once)
      workspace.memory = AlignedFloats(each * g.at_once);
    parallel_for(g.at_once, groups, [&](std::int64_t k, int thread) {
      float* memory = workspace.memory.data() + thread * each;
      const Execution run{plan,   *plan.kernels,         g.samples, inside, memory,
                          layout, memory + layout.total, seconds};
      f(run, at + k * g.samples, number + k);
    });
    at += groups * g.samples;
    number += groups;
  }
}

void merge_conservation(const std::vector<LayerConservation>& part,
                        std::vector<LayerConservation>& total) {
  for (const LayerConservation& p : part) {
    auto same = std::find_if(total.begin(), total.end(),
                             [&](const LayerConservation& t) { return t.node == p.node; });
    if (same == total.end()) {
      total.push_back(p);
      continue;
    }
    same->relevance_out += p.relevance_out;
    same->relevance_in += p.relevance_in;
    same->bias += p.bias;
    same->epsilon += p.epsilon;
    same->zero += p.zero;
  }
}

}  // namespace

Workspace::Workspace() : impl_(std::make_unique<Impl>()) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;
std::size_t Workspace::bytes() const noexcept {
  return static_cast<std::size_t>(impl_->memory.size()) * sizeof(float);
}

void Plan::forward(const float* x, std::int64_t n, float* y, Workspace& workspace,
                   int n_threads) const {
  check_batch(n, x, y, n_threads);
  const std::int64_t in = size_of(input_shape()), out = size_of(output_shape());
  for_groups(*impl_, *workspace.impl_, n, effective_threads(n_threads), false, nullptr,
             [&](const Execution& run, std::int64_t first, std::int64_t) {
               run_forward(run, x + first * in);
               write_output(run, y + first * out);
             });
}

void Plan::relevance(const RelevanceRequest& request, Workspace& workspace) const {
  if (impl_->options.forward_only)
    throw Error(ErrorCode::invalid_argument, "a plan made with forward_only has no relevance");
  check_request(*impl_, request);
  clear_unreached_layers(*impl_, request);
  if (request.seconds) {
    request.seconds->assign(impl_->steps.size(), {});
    for (std::size_t i = 0; i < impl_->steps.size(); ++i)
      (*request.seconds)[i].node = impl_->steps[i].step.node;
  }
  const int targets = request.start.targets_per_sample;
  const std::int64_t in = size_of(input_shape()), out = size_of(output_shape());
  // Of every group and target; added up in their order, whoever was first.
  std::vector<std::vector<LayerConservation>> parts(
      request.conservation ? static_cast<std::size_t>(request.n * targets) : 0);
  for_groups(*impl_, *workspace.impl_, request.n, effective_threads(request.n_threads), targets > 1,
             request.seconds, [&](const Execution& run, std::int64_t first, std::int64_t group) {
               run_forward(run, request.x + first * in);
               if (request.output) write_output(run, request.output + first * out);
               if (request.start.fill) request.start.fill(first, run.n);
               for (int target = 0; target < targets; ++target)
                 run_backward(run, request, first, target,
                              parts.empty()
                                  ? nullptr
                                  : &parts[static_cast<std::size_t>(group * targets + target)]);
             });
  for (const auto& part : parts) merge_conservation(part, *request.conservation);
}

}  // namespace relprop
