#include "relprop/plan.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "dispatch.h"
#include "gather.h"
#include "memory.h"
#include "parallel.h"
#include "plan_impl.h"
#include "relprop/error.h"
#include "request.h"
#include "resample.h"

namespace relprop {
namespace {

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> counter{0};
  return ++counter;
}

// Output positions times window cells along one axis that count for the average: those inside the
// padded input (count_include_pad) or inside the input.
std::vector<float> counts(const TapTable& table, const Window& w, std::size_t axis,
                          std::int64_t sources, bool include_pad) {
  std::vector<float> result;
  for (std::int64_t o = 0; o < table.size(); ++o) {
    std::int64_t n = table.count(o);
    if (include_pad) {
      n = 0;
      for (std::int64_t t = 0; t < w.kernel[axis]; ++t) {
        const std::int64_t at = o * w.stride[axis] + t * w.dilation[axis];
        n += at < sources + w.pad_begin[axis] + w.pad_end[axis];
      }
    }
    result.push_back(static_cast<float>(n));
  }
  return result;
}

struct PoolGeometry {
  Window window;
  bool adaptive = false, include_pad = false;
};

PoolGeometry pool_geometry(const Op& op, std::array<std::int64_t, 2> source) {
  PoolGeometry g;
  if (const auto* max = std::get_if<MaxPool>(&op)) g.window = max->window;
  if (const auto* average = std::get_if<AveragePool>(&op)) {
    g.window = average->window;
    g.include_pad = average->count_include_pad;
  }
  if (std::holds_alternative<GlobalMaxPool>(op)) g.window.kernel = source;
  g.adaptive = std::holds_alternative<AdaptiveAveragePool>(op);
  return g;
}

std::unique_ptr<const Pool> make_pool(const Model& model, const Step& step) {
  const Node& node = model.nodes()[static_cast<std::size_t>(step.node)];
  auto pool = std::make_unique<Pool>();
  pool->source = extent_of(model.nodes()[static_cast<std::size_t>(node.inputs[0])].shape);
  pool->out = extent_of(node.shape);
  const PoolGeometry g = pool_geometry(node.op, pool->source);
  TapTable tables[2];
  std::vector<float> count[2];
  for (std::size_t axis = 0; axis < 2; ++axis) {
    tables[axis] = g.adaptive ? adaptive_taps(pool->out[axis], pool->source[axis])
                              : window_taps(pool->out[axis], pool->source[axis],
                                            g.window.kernel[axis], g.window.stride[axis],
                                            g.window.dilation[axis], g.window.pad_begin[axis]);
    count[axis] = counts(tables[axis], g.window, axis, pool->source[axis], g.include_pad);
  }
  for (float y : count[0])
    for (float x : count[1]) pool->inverse_count.push_back(1 / (y * x));
  pool->back_y = transposed(tables[0], pool->source[0]);
  pool->back_x = transposed(tables[1], pool->source[1]);
  pool->y = std::move(tables[0]);
  pool->x = std::move(tables[1]);
  return pool;
}

// A constant of one value, one per channel or the sample's shape, as one per channel or one per
// value (channels last).
AlignedFloats expand_constant(const std::vector<float>& values, const Shape& shape,
                              bool per_channel) {
  const std::int64_t channels = channels_of(shape), pixels = per_channel ? 1 : pixels_of(shape);
  const auto n = static_cast<std::int64_t>(values.size());
  if (n == 0) return {};
  AlignedFloats result(channels * pixels);
  for (std::int64_t p = 0; p < pixels; ++p)
    for (std::int64_t c = 0; c < channels; ++c)
      result.data()[p * channels + c] =
          values[static_cast<std::size_t>(n == 1          ? 0
                                          : n == channels ? c
                                                          : c * pixels + p)];
  return result;
}

class Compiler {
 public:
  Compiler(const Model& model, const std::vector<Rule>& rules, const PlanOptions& options)
      : model_(model), rules_(rules), plan_(std::make_unique<Plan::Impl>()) {
    plan_->id = next_id();
    plan_->options = options;
    plan_->kernels = &kernels_for(options.isa);
    check();
  }

  std::unique_ptr<const Plan::Impl> run() {
    lowered_ = lower(model_, plan_->output);
    plan_->step_of = lowered_.step_of;
    plan_->softmax = lowered_.softmax;
    copy_nodes();
    for (const Step& step : lowered_.steps) compile(step);
    for (CompiledStep& step : plan_->steps) {  // folded weights are packed by now
      std::vector<float>().swap(step.step.weight);
      std::vector<float>().swap(step.step.bias);
    }
    plan_memory(*plan_);
    plan_->bytes_per_sample = plan_->layout(1, true).total * 4;
    for (const CompiledStep& step : plan_->steps)
      if (step.linear) plan_->weight_bytes += step.linear->weight_bytes();
    return std::move(plan_);
  }

 private:
  bool forward_only() const { return plan_->options.forward_only; }

  void check() {
    if (plan_->options.samples < 1)
      throw Error(ErrorCode::invalid_argument,
                  "samples = " + std::to_string(plan_->options.samples) + "; accepted: 1 or more");
    plan_->output = plan_->options.output;
    if (plan_->output < 0) {
      if (model_.outputs().empty())
        throw Error(ErrorCode::invalid_argument, "the model declares no output");
      plan_->output = model_.outputs().front().second;
    }
    if (plan_->output >= static_cast<int>(model_.nodes().size()))
      throw Error(ErrorCode::invalid_argument, "output node " + std::to_string(plan_->output) +
                                                   " does not exist; the model has " +
                                                   std::to_string(model_.nodes().size()) +
                                                   " nodes");
    if (!forward_only() && rules_.size() != model_.nodes().size())
      throw Error(ErrorCode::invalid_argument,
                  "one rule per node is needed: got " + std::to_string(rules_.size()) +
                      " rules for " + std::to_string(model_.nodes().size()) + " nodes");
    for (std::size_t i = 0; i < rules_.size(); ++i) check_rule(rules_[i], i);
  }

  void check_rule(const Rule& rule, std::size_t node) const {
    const auto fail = [&](const std::string& what) {
      throw Error(ErrorCode::invalid_argument,
                  "rule of layer '" + model_.nodes()[node].name + "': " + what);
    };
    if (!(rule.stabilizer >= 0) || !std::isfinite(rule.stabilizer))
      fail("stabilizer must be finite and >= 0");
    if (rule.kind == RuleKind::alpha_beta &&
        (!(rule.beta >= 0) || !(std::fabs(rule.alpha - rule.beta - 1) < 1e-5f)))
      fail("alpha - beta must be 1 and beta >= 0");
    if (rule.kind == RuleKind::reweighted &&
        !(std::isfinite(rule.alpha) && std::isfinite(rule.beta)))
      fail("alpha and beta must be finite");
    if (rule.kind == RuleKind::gamma && (!(rule.gamma >= 0) || !std::isfinite(rule.gamma)))
      fail("gamma must be finite and >= 0");
    if (rule.kind == RuleKind::z_box && (rule.low.empty() || rule.high.empty()))
      fail("z_box needs low and high");
  }

  void copy_nodes() {
    for (const Node& node : model_.nodes()) {
      Node light{node.name, Identity{}, node.inputs, node.shape};
      if (std::holds_alternative<Activation>(node.op) || std::holds_alternative<Pad>(node.op) ||
          std::holds_alternative<Concat>(node.op) || std::holds_alternative<Softmax>(node.op))
        light.op = node.op;
      plan_->nodes.push_back(std::move(light));
    }
  }

  void need_thread_scratch(std::int64_t floats) {
    plan_->thread_scratch = std::max(plan_->thread_scratch, round_up(floats, 16));
  }

  void compile(const Step& step) {
    CompiledStep c;
    c.step = step;
    if (!forward_only()) c.rule = rules_[static_cast<std::size_t>(step.node)];
    c.gradient = c.rule.kind == RuleKind::gradient && !forward_only();
    c.derivative =
        step.fused_activation >= 0 && !forward_only() &&
        rules_[static_cast<std::size_t>(step.fused_activation)].kind == RuleKind::gradient;
    const Node& node = model_.nodes()[static_cast<std::size_t>(step.node)];
    if (step.kind == StepKind::linear) {
      auto linear = std::make_unique<Linear>(
          make_linear(model_, step, lowered_, c.rule, *plan_->kernels, plan_->options));
      need_thread_scratch(contraction_scratch(linear->forward, *plan_->kernels));
      if (linear->plain) need_thread_scratch(contraction_scratch(*linear->plain, *plan_->kernels));
      if (!forward_only()) {
        need_thread_scratch(contraction_scratch(linear->backward, *plan_->kernels));
        const std::int64_t channels = linear->backward.shape.source_channels();
        need_thread_scratch(2 * list_pixels(channels) * channels);
      }
      c.linear = std::move(linear);
    }
    if (step.kind == StepKind::average_pool || step.kind == StepKind::max_pool) {
      c.pool = make_pool(model_, step);
      need_thread_scratch(c.pool->source[1] * step.channels);
    }
    if (const auto* affine = std::get_if<ScaleShift>(&node.op);
        affine && step.kind == StepKind::scale_shift) {
      const auto channels = static_cast<std::size_t>(channels_of(node.shape));
      c.per_channel = std::max(affine->scale.size(), affine->shift.size()) <= channels;
      c.scale = expand_constant(affine->scale, node.shape, c.per_channel);
      c.shift = expand_constant(affine->shift, node.shape, c.per_channel);
    }
    compile_other(step, node, c);
    plan_->steps.push_back(std::move(c));
  }

  void compile_other(const Step& step, const Node& node, CompiledStep& c) {
    const auto input = [&]() -> const Shape& {
      return model_.nodes()[static_cast<std::size_t>(node.inputs[0])].shape;
    };
    if (step.kind == StepKind::gather)
      c.gather = std::make_shared<const GatherTable>(
          make_gather(std::get<Gather>(node.op), input(), node.shape));
    if (step.kind == StepKind::resample) {
      c.resample = std::make_shared<const ResampleTable>(
          make_resample(std::get<Resample>(node.op), input(), node.shape));
      need_thread_scratch(c.resample->source[1] * step.channels);
    }
    if (step.kind == StepKind::layer_norm)
      c.layer_norm = std::make_unique<const LayerNorm>(std::get<LayerNorm>(node.op));
    if (step.kind == StepKind::product) c.has_gate = std::get<Product>(node.op).gate;
  }

  const Model& model_;
  const std::vector<Rule>& rules_;
  std::unique_ptr<Plan::Impl> plan_;
  Lowered lowered_;
};

std::string describe(const Contraction& c) {
  return std::string(path_name(c.path)) + " (" + c.reason + ")";
}

}  // namespace

const Shape& Plan::Impl::start_shape() const {
  const int node = softmax < 0 ? output : nodes[static_cast<std::size_t>(softmax)].inputs[0];
  return nodes[static_cast<std::size_t>(node)].shape;
}

Plan::Plan(const Model& model, const std::vector<Rule>& rules, PlanOptions options)
    : impl_(Compiler(model, rules, options).run()) {}
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

const Shape& Plan::input_shape() const noexcept { return impl_->nodes.front().shape; }
const Shape& Plan::output_shape() const noexcept {
  return impl_->nodes[static_cast<std::size_t>(impl_->output)].shape;
}
Isa Plan::isa() const noexcept { return impl_->options.isa; }
int Plan::output_node() const noexcept { return impl_->output; }
bool Plan::gives_gradient() const noexcept {
  return impl_->softmax < 0 && std::all_of(
                                   impl_->steps.begin(), impl_->steps.end(),
                                   [](const CompiledStep& step) { return step.gradient; });
}

std::vector<LayerInfo> Plan::layers() const {
  std::vector<LayerInfo> result;
  for (const CompiledStep& step : impl_->steps) {
    LayerInfo info;
    info.node = step.step.node;
    info.name = impl_->nodes[static_cast<std::size_t>(step.step.node)].name;
    info.shape = impl_->nodes[static_cast<std::size_t>(step.step.node)].shape;
    switch (step.step.kind) {
      case StepKind::input: info.op = "input"; break;
      case StepKind::linear: info.op = "linear"; break;
      case StepKind::average_pool: info.op = "average_pool"; break;
      case StepKind::max_pool: info.op = "max_pool"; break;
      case StepKind::add: info.op = "add"; break;
      case StepKind::concat: info.op = "concat"; break;
      case StepKind::pad: info.op = "pad"; break;
      case StepKind::activation: info.op = "activation"; break;
      case StepKind::scale_shift: info.op = "scale_shift"; break;
      case StepKind::gather: info.op = "gather"; break;
      case StepKind::resample: info.op = "resample"; break;
      case StepKind::layer_norm: info.op = "layer_norm"; break;
      case StepKind::product: info.op = "product"; break;
      case StepKind::transpose: info.op = "transpose"; break;
    }
    if (step.linear) {
      info.rule = impl_->options.forward_only ? "" : rule_name(step.linear->rule.kind);
      info.forward = describe(step.linear->forward);
      if (!impl_->options.forward_only) info.backward = describe(step.linear->backward);
      info.multiply_adds = step.linear->multiply_adds();
      const ContractionShape& s = step.linear->forward.shape;
      info.parameters = s.groups * s.outputs * s.channels * s.taps() +
                        static_cast<std::int64_t>(step.linear->bias.size());
    }
    result.push_back(std::move(info));
  }
  return result;
}

std::size_t Plan::workspace_bytes() const noexcept {
  return static_cast<std::size_t>(impl_->bytes_per_sample);
}

std::size_t Plan::weight_bytes() const noexcept {
  return static_cast<std::size_t>(impl_->weight_bytes);
}

}  // namespace relprop
