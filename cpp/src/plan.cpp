#include "relprop/plan.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <utility>

#include "dispatch.h"
#include "gather.h"
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

std::int64_t round_up(std::int64_t n) { return (n + 15) / 16 * 16; }

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
    count_ = static_cast<int>(plan_->steps.size());
    find_readers();
    for (int i = 0; i < count_; ++i) find_total(i);
    if (!forward_only()) find_shares();
    for (int i = 0; i < count_; ++i) add_buffers(i);
    if (!forward_only())
      for (int i = count_ - 1; i >= 0; --i) add_relevance(i);
    plan_->bytes_per_sample = plan_->layout(1, true).total * 4;
    for (const CompiledStep& step : plan_->steps)
      if (step.linear) plan_->weight_bytes += step.linear->weight_bytes();
    return std::move(plan_);
  }

 private:
  bool forward_only() const { return plan_->options.forward_only; }

  void check() {
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
    plan_->thread_scratch = std::max(plan_->thread_scratch, round_up(floats));
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
          make_linear(model_, step, lowered_, c.rule, *plan_->kernels, forward_only()));
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

  int buffer(std::int64_t size, int birth, int death, bool kept) {
    plan_->buffers.push_back({size, birth, death, kept});
    return static_cast<int>(plan_->buffers.size()) - 1;
  }

  int backward_time(int i) const { return 2 * count_ - 1 - i; }

  const Node& node_of(const CompiledStep& s) const {
    return model_.nodes()[static_cast<std::size_t>(s.step.node)];
  }
  CompiledStep& step(int i) { return plan_->steps[static_cast<std::size_t>(i)]; }

  const std::vector<int>& readers(int i) const { return readers_[static_cast<std::size_t>(i)]; }

  void find_readers() {
    readers_.assign(static_cast<std::size_t>(count_), {});
    for (int j = 0; j < count_; ++j)
      for (int input : step(j).step.inputs) readers_[static_cast<std::size_t>(input)].push_back(j);
    vanishes_.assign(static_cast<std::size_t>(count_), false);
    for (int i = count_ - 2; i >= 0; --i) {
      const std::vector<int>& all = readers(i);
      if (all.size() == 1) step(i).only_reader = all.front();
      vanishes_[static_cast<std::size_t>(i)] =
          std::all_of(all.begin(), all.end(), [&](int j) { return gives_nothing_to_zeros(j); });
    }
  }

  // Whether the relevance that step j hands to a value that is zero is zero, where that holds for
  // the relevance of its own zeros.
  bool gives_nothing_to_zeros(int j) {
    const CompiledStep& reader = step(j);
    switch (reader.step.kind) {
      case StepKind::linear:
        return reader.linear->tie == Tie::times_x || reader.linear->tie == Tie::by_sign;
      case StepKind::add:
      case StepKind::average_pool:
      case StepKind::resample: return !reader.gradient;
      case StepKind::max_pool:
      case StepKind::concat:
      case StepKind::gather:
      case StepKind::transpose: return vanishes_[static_cast<std::size_t>(j)];
      default: return false;
    }
  }

  // Whether z of a layer needs no memory of its own (ResNet-50, epsilon: 0.9 of the time). Behind a
  // ReLU the value is max(z, 0); where that is zero it does not matter what zero relevance is
  // divided by.
  bool divides_by_value(int i) {
    const CompiledStep& s = step(i);
    if (!s.linear || !s.linear->traits->keep_z) return false;
    const Linear& layer = *s.linear;
    const bool same_sum = (layer.bias.empty() || layer.rule.absorb_bias) &&
                          layer.traits->tie != Tie::box &&
                          layer.traits->weights != RuleTraits::Weights::reweighted;
    if (!same_sum) return false;
    return layer.tail == Tail::none || (layer.tail == Tail::relu && layer.rule.stabilizer > 0 &&
                                        vanishes_[static_cast<std::size_t>(i)]);
  }

  // Whether step i is the ReLU of a sum that nobody else reads, so that both are one value: with a
  // rule the sum is what relevance is divided by, as in divides_by_value.
  bool replaces_sum(int i) {
    const CompiledStep& s = step(i);
    if (s.step.kind != StepKind::activation) return false;
    const auto& activation = std::get<Activation>(node_of(s).op);
    const CompiledStep& sum = step(s.step.inputs[0]);
    if (activation.function != Function::relu || sum.step.kind != StepKind::add ||
        sum.only_reader != i)
      return false;
    return forward_only() || sum.gradient ||
           (sum.rule.stabilizer > 0 && vanishes_[static_cast<std::size_t>(i)]);
  }

  // A sum of two is made by the layer that comes last, if nobody else reads that, while its results
  // are in L1 (ResNet-50 forward 0.98 of the time, alpha1-beta0 and gradient 0.97, epsilon 0.99).
  void find_total(int sum) {
    const std::vector<int>& inputs = step(sum).step.inputs;
    if (!is_sum(sum) || inputs.size() != 2) return;
    CompiledStep& last = step(std::max(inputs[0], inputs[1]));
    if (last.linear && last.only_reader == sum) last.total = sum;
  }

  // Whether all that step j hands to an input is a multiple of the input's value.
  bool gives_shares(int j) {
    const CompiledStep& s = step(j);
    switch (s.step.kind) {
      case StepKind::linear: return s.linear->tie == Tie::times_x;
      case StepKind::add:
      case StepKind::average_pool:
      case StepKind::resample: return !s.gradient;
      default: return false;
    }
  }

  // The multiplication by the value waits until relevance is divided by it anyway; and sums leave
  // one share for all their branches (ResNet-50, epsilon: 0.95 of the time).
  void find_shares() {
    for (int i = 1; i < count_; ++i) {
      CompiledStep& s = step(i);
      const std::vector<int>& all = readers(i);
      if (s.derivative || all.empty() ||
          !std::all_of(all.begin(), all.end(), [&](int j) { return gives_shares(j); }))
        continue;
      const bool branch = std::any_of(all.begin(), all.end(), [&](int j) { return is_sum(j); });
      switch (s.step.kind) {
        case StepKind::linear:
          s.as_share = s.linear->rule.kind != RuleKind::pass && (branch || divides_by_value(i));
          break;
        case StepKind::add:
        case StepKind::average_pool:
        case StepKind::resample: s.as_share = true; break;
        case StepKind::activation: s.as_share = !s.gradient && replaces_sum(i); break;
        default: break;
      }
    }
  }

  bool is_sum(int j) { return step(j).step.kind == StepKind::add; }

  // The branch of sum j that goes on in its memory: the last one to be done, if what the others add
  // comes after the sum's. -1: there is none.
  int heir_of(int j) {
    int heir = -1;
    for (int i : step(j).step.inputs) {
      const std::vector<int>& all = readers(i);
      if (all.back() != j || std::count(all.begin(), all.end(), j) > 1) continue;
      if ((step(j).gradient || step(i).as_share) && (heir < 0 || i < heir)) heir = i;
    }
    return heir;
  }

  // Whether branch i of sum j reads there what the sum left, before another reader adds to it.
  bool reads_with_heir(int i, int j, int heir) {
    if (step(i).only_reader != j || heir < 0 || !(step(j).gradient || step(i).as_share))
      return false;
    const std::vector<int>& all = readers(heir);
    return all.size() == 1 || all[all.size() - 2] < i;
  }

  bool reads_own_value(const CompiledStep& s) const {
    switch (s.step.kind) {
      case StepKind::add:
      case StepKind::average_pool:
      case StepKind::resample: return true;
      default: break;
    }
    return s.derivative || s.as_share;
  }
  bool reads_input_value(const CompiledStep& s) const {
    switch (s.step.kind) {
      case StepKind::linear: return s.linear->tie != Tie::copy;
      case StepKind::add:
      case StepKind::average_pool:
      case StepKind::resample: return !s.gradient;
      case StepKind::layer_norm: return true;
      case StepKind::product:
      case StepKind::activation: return s.gradient;
      default: return false;
    }
  }

  // When step i's value is made.
  int birth_of(int i) {
    for (int input : step(i).step.inputs)
      if (step(input).total == i) return input;
    return i;
  }

  void add_buffers(int i) {
    CompiledStep& s = step(i);
    const int forward = i, backward = backward_time(i), last = count_ - 1;
    int value_death = i == last ? backward_time(last) : forward;
    bool kept = i == last;
    for (int j : readers(i)) {
      const bool late = !forward_only() && reads_input_value(step(j));
      value_death = std::max(value_death, late ? backward_time(j) : j);
      kept |= late;
    }
    const bool divides = divides_by_value(i);  // nothing is kept with forward_only
    if (divides || (!forward_only() && reads_own_value(s))) {
      value_death = std::max(value_death, backward);
      kept = true;
    }
    if (replaces_sum(i)) {
      s.value = step(s.step.inputs[0]).value;
      Buffer& shared = plan_->buffers[static_cast<std::size_t>(s.value)];
      shared.death = std::max(shared.death, value_death);
      shared.kept |= kept;
    } else {
      const bool passes = s.total >= 0 && !kept;  // into the sum, and is nowhere else
      s.value = passes ? -1 : buffer(s.step.size, birth_of(i), value_death, kept);
    }
    if (s.step.kind == StepKind::max_pool)
      s.winner = buffer(s.step.size, forward, forward_only() ? forward : backward, true);
    if (divides) s.z = s.value;
    if (s.linear) add_linear_buffers(s, forward, backward);
    if (forward_only()) return;
    if (s.step.kind == StepKind::average_pool || s.step.kind == StepKind::resample ||
        s.step.kind == StepKind::transpose)
      s.backward_scratch = buffer(s.step.size, backward, backward, false);
  }

  // What step i has when its turn comes, from its readers; they are done before. Where the only one
  // hands its own on as it is, both are the same memory.
  void add_relevance(int i) {
    CompiledStep& s = step(i);
    int birth = i == count_ - 1 ? backward_time(i) : 2 * count_;
    for (int j : readers(i)) birth = std::min(birth, backward_time(j));
    if (s.only_reader >= 0) {
      const StepKind reader = step(s.only_reader).step.kind;
      if (reader == StepKind::activation || reader == StepKind::scale_shift)
        return go_on_in_memory_of(s.only_reader, i);
    }
    const std::vector<int>& all = readers(i);
    if (!all.empty() && is_sum(all.back())) {
      const int sum = all.back(), heir = heir_of(sum);
      if (heir == i) return go_on_in_memory_of(sum, i);
      s.reads_sum = reads_with_heir(i, sum, heir);
      if (s.reads_sum) birth = backward_time(i);
    }
    s.relevance = buffer(s.step.size, birth, backward_time(i), false);
  }

  void go_on_in_memory_of(int reader, int i) {
    step(i).relevance = step(reader).relevance;
    plan_->buffers[static_cast<std::size_t>(step(i).relevance)].death = backward_time(i);
  }

  static std::int64_t source_floats(const Contraction& c) {
    if (reads_lists(c.path)) return list_floats(c);
    return (reads_b(c.mode) ? 2 : 1) * c.shape.source_pixels() * c.shape.source_channels();
  }

  void add_linear_buffers(CompiledStep& s, int forward, int backward) {
    const Linear& layer = *s.linear;
    std::int64_t source = layer.padded.height == 0 ? 0 : source_floats(layer.forward);
    for (const Contraction* c : {&layer.forward, layer.plain.get()})
      if (c && reads_lists(c->path)) source = std::max(source, source_floats(*c));
    if (source > 0) s.forward_scratch = buffer(source, forward, forward, false);
    if (forward_only()) return;
    if (layer.traits->keep_z && s.z < 0) s.z = buffer(s.step.size, forward, backward, true);
    if (layer.traits->keep_zp) s.zp = buffer(s.step.size, forward, backward, true);
    if (layer.traits->keep_zn) s.zn = buffer(s.step.size, forward, backward, true);
    if (layer.rule.kind != RuleKind::pass)
      s.backward_scratch = buffer(source_floats(layer.backward), backward, backward, false);
  }

  const Model& model_;
  const std::vector<Rule>& rules_;
  std::unique_ptr<Plan::Impl> plan_;
  Lowered lowered_;
  int count_ = 0;
  std::vector<std::vector<int>> readers_;  // of every step's value, once for each time
  std::vector<bool> vanishes_;             // relevance is zero where the step's value is
};

std::string describe(const Contraction& c) {
  return std::string(path_name(c.path)) + " (" + c.reason + ")";
}

}  // namespace

Layout Plan::Impl::layout(std::int64_t n, bool repeat_backward) const {
  Layout result;
  result.offset.assign(buffers.size(), 0);
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return buffers[a].size > buffers[b].size; });
  const auto death = [&](const Buffer& b) {
    return repeat_backward && b.kept ? 2 * static_cast<int>(steps.size()) : b.death;
  };
  // Largest first, each at the lowest place that is free for its whole life.
  struct Placed {
    std::int64_t begin, end;
    std::size_t buffer;
  };
  std::vector<Placed> placed;
  for (std::size_t b : order) {
    const std::int64_t size = round_up(buffers[b].size * n);
    std::int64_t at = 0;
    for (const Placed& p : placed) {  // sorted by begin
      const Buffer& other = buffers[p.buffer];
      const bool together = buffers[b].birth <= death(other) && other.birth <= death(buffers[b]);
      if (!together) continue;
      if (p.begin >= at + size) break;
      at = std::max(at, p.end);
    }
    result.offset[b] = at;
    result.total = std::max(result.total, at + size);
    const Placed mine{at, at + size, b};
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), mine,
                         [](const Placed& l, const Placed& r) { return l.begin < r.begin; }),
        mine);
  }
  return result;
}

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
