#include "memory.h"

#include <algorithm>
#include <numeric>

namespace relprop {
namespace {

constexpr std::int64_t kLine = 16;  // floats, of a cache line

// Step i is made forward at time i and goes backward at 2 * steps - 1 - i; readers of a value have
// higher numbers, so that they go backward first.
class Memory {
 public:
  explicit Memory(Plan::Impl& plan) : plan_(plan), count_(static_cast<int>(plan.steps.size())) {}

  void run() {
    find_readers();
    for (int i = 0; i < count_; ++i) find_total(i);
    if (!forward_only()) find_shares();
    for (int i = 0; i < count_; ++i) add_buffers(i);
    if (!forward_only())
      for (int i = count_ - 1; i >= 0; --i) add_relevance(i);
  }

 private:
  bool forward_only() const { return plan_.options.forward_only; }

  int buffer(std::int64_t size, int birth, int death, bool kept) {
    plan_.buffers.push_back({size, birth, death, kept});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  int backward_time(int i) const { return 2 * count_ - 1 - i; }

  const Node& node_of(const CompiledStep& s) const {
    return plan_.nodes[static_cast<std::size_t>(s.step.node)];
  }
  CompiledStep& step(int i) { return plan_.steps[static_cast<std::size_t>(i)]; }

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
    switch (step(j).step.kind) {
      case StepKind::linear: return gives_shares(j) || step(j).linear->tie == Tie::by_sign;
      case StepKind::max_pool:
      case StepKind::concat:
      case StepKind::gather:
      case StepKind::transpose: return vanishes_[static_cast<std::size_t>(j)];
      default: return gives_shares(j);
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
      Buffer& shared = plan_.buffers[static_cast<std::size_t>(s.value)];
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
    plan_.buffers[static_cast<std::size_t>(step(i).relevance)].death = backward_time(i);
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

  Plan::Impl& plan_;
  int count_;
  std::vector<std::vector<int>> readers_;  // of every step's value, once for each time
  std::vector<bool> vanishes_;             // relevance is zero where the step's value is
};

}  // namespace

void plan_memory(Plan::Impl& plan) { Memory(plan).run(); }

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
    const std::int64_t size = round_up(buffers[b].size * n, kLine);
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

}  // namespace relprop
