#include <algorithm>

#include "cut_edges.h"
#include "functions.h"
#include "gather.h"
#include "layer_norm.h"
#include "parallel.h"
#include "place.h"
#include "plan_impl.h"
#include "product.h"
#include "resample.h"
#include "start.h"

namespace relprop {
namespace {

// The backward pass of one chunk and one target per sample. Relevance of a value is ready when all
// its readers have added their part; readers run in reverse order, so the sum has a fixed order.
class Backward {
 public:
  Backward(const Execution& run, const RelevanceRequest& request, std::int64_t first_sample,
           int target, std::vector<LayerConservation>* conservation)
      : run_(run),
        request_(request),
        first_sample_(first_sample),
        target_(target),
        conservation_(conservation),
        present_(run.plan.steps.size(), false),
        is_share_(run.plan.steps.size(), false) {
    for (const CompiledStep& step : run.plan.steps) at_.push_back(run.buffer(step.relevance));
    if (request.exclude_parallel) cut_ = cut_edges(run.plan, request.masks, target);
  }

  void go() {
    write_start(run_, request_, first_sample_, target_, destination(last()).r);
    for (int i = last(); i >= 0; --i) {
      const CompiledStep& step = run_.step(i);
      const StepTimer timer(run_, i, &LayerSeconds::backward);
      if (!present_[static_cast<std::size_t>(i)]) {
        write_missing_layers(step);
        continue;
      }
      arrive(i);
      if (i > 0) propagate(i);
    }
    write_input();
  }

 private:
  int last() const { return static_cast<int>(run_.plan.steps.size()) - 1; }
  float* relevance(int i) const { return at_[static_cast<std::size_t>(i)]; }
  float* own_memory(int i) const { return run_.buffer(run_.step(i).relevance); }
  // What relevance(i) is to be multiplied by; null: nothing.
  const float* factor(int i) const {
    return is_share_[static_cast<std::size_t>(i)] ? run_.value(i) : nullptr;
  }
  const Node& node_of(const CompiledStep& step) const {
    return run_.plan.nodes[static_cast<std::size_t>(step.step.node)];
  }

  // Where step `reader` puts the relevance of its input `to`, and whether something is there
  // already.
  struct Destination {
    float* r;
    bool accumulate;
    bool share;  // wanted is what a unit of the value gets
  };
  Destination destination(int to) {
    const auto k = static_cast<std::size_t>(to);
    const bool filled = present_[k];
    present_[k] = true;
    is_share_[k] = run_.step(to).as_share;
    return {relevance(to), filled, is_share_[k]};
  }

  // From here on relevance(i) is relevance itself, in memory that no other step reads.
  void settle(int i) {
    float* own = own_memory(i);
    const float *r = relevance(i), *x = factor(i);
    if (r == own && x == nullptr) return;
    for_blocks(run_, run_.n * run_.step(i).step.size, [&](std::int64_t begin, std::int64_t end) {
      TieArgs args{};
      args.tie = x ? Tie::times_x : Tie::copy;
      args.first = r + begin;
      args.x = x ? x + begin : nullptr;
      args.r = own + begin;
      args.n = end - begin;
      run_.kernels.tie(args);
    });
    at_[static_cast<std::size_t>(i)] = own;
    is_share_[static_cast<std::size_t>(i)] = false;
  }

  // Masks and layer results of a value. Under its plain gradient a fused activation's own nodes see
  // the gradient before the activation's derivative, the layer in front of it the one behind. Nodes
  // are visited from the last to the first, so a mask does not show in what lies behind its own
  // layer.
  void arrive(int i) {
    const CompiledStep& step = run_.step(i);
    if (step.derivative || conservation_ != nullptr || is_looked_at(step)) settle(i);
    if (!step.derivative) return mask_and_capture(step, 0, step.step.nodes.size());
    std::size_t split = 0;
    while (step.step.nodes[split] != step.step.fused_activation) ++split;
    mask_and_capture(step, split, step.step.nodes.size());
    float* r = relevance(i);
    for_blocks(run_, run_.n * step.step.size, [&](std::int64_t begin, std::int64_t end) {
      TailGradientArgs args{
          step.linear->tail, step.linear->tail_a, step.linear->tail_b, run_.value(i) + begin,
          r + begin,         r + begin,           end - begin};
      run_.kernels.tail_gradient(args);
    });
    mask_and_capture(step, 0, split);
  }

  // Whether the request masks or returns a layer of this step.
  bool is_looked_at(const CompiledStep& step) const {
    return std::any_of(step.step.nodes.begin(), step.step.nodes.end(), [&](int node) {
      return std::find(request_.layers.begin(), request_.layers.end(), node) !=
                 request_.layers.end() ||
             std::any_of(request_.masks.begin(), request_.masks.end(),
                         [&](const Mask& mask) { return mask.node == node; });
    });
  }

  void mask_and_capture(const CompiledStep& step, std::size_t begin, std::size_t end) {
    for (std::size_t k = end; k-- > begin;) {
      for (const Mask& mask : request_.masks)
        if (mask.node == step.step.nodes[k] && mask.applies_to(target_)) multiply_mask(step, mask);
      capture(step, step.step.nodes[k], true);
    }
  }

  void multiply_mask(const CompiledStep& step, const Mask& mask) {
    const Shape& shape = run_.plan.nodes[static_cast<std::size_t>(mask.node)].shape;
    const std::int64_t size = step.step.size, channels = channels_of(shape);
    const std::int64_t pixels = pixels_of(shape);
    float* r = run_.buffer(step.relevance);
    for (std::int64_t i = 0; i < run_.n; ++i) {
      const float* values = mask.values + (mask.per_sample ? (first_sample_ + i) * size : 0);
      for (std::int64_t p = 0; p < pixels; ++p)
        for (std::int64_t c = 0; c < channels; ++c)
          r[i * size + p * channels + c] *= values[c * pixels + p];
    }
  }

  void capture(const CompiledStep& step, int node, bool has_relevance) {
    for (std::size_t k = 0; k < request_.layers.size(); ++k) {
      if (request_.layers[k] != node) continue;
      const Shape& shape = run_.plan.nodes[static_cast<std::size_t>(node)].shape;
      const std::int64_t size = size_of(shape), stride = request_.start.targets_per_sample * size;
      float* to = request_.layer_relevance[k] + first_sample_ * stride + target_ * size;
      if (has_relevance) {
        leave_layout(run_, shape, run_.buffer(step.relevance), to, stride);
      } else {
        for (std::int64_t i = 0; i < run_.n; ++i) std::fill_n(to + i * stride, size, 0.0f);
      }
    }
  }

  void write_missing_layers(const CompiledStep& step) {
    for (int node : step.step.nodes) capture(step, node, false);
  }

  void write_input() {
    const Shape& shape = run_.plan.nodes[0].shape;
    const std::int64_t size = size_of(shape), stride = request_.start.targets_per_sample * size;
    float* out = request_.relevance + first_sample_ * stride + target_ * size;
    if (present_[0]) {
      leave_layout(run_, shape, relevance(0), out, stride);
    } else {
      for (std::int64_t i = 0; i < run_.n; ++i) std::fill_n(out + i * stride, size, 0.0f);
    }
    for (std::int64_t i = 0; i < run_.n; ++i) {
      float* r = out + i * stride;
      const float* x = request_.x + (first_sample_ + i) * size;
      if (request_.times_input)
        for (std::int64_t k = 0; k < size; ++k) r[k] *= x[k];
      if (request_.square)
        for (std::int64_t k = 0; k < size; ++k) r[k] *= r[k];
    }
  }

  double sum_of(int i) const {
    const float *r = relevance(i), *x = factor(i);
    double sum = 0;
    for (std::int64_t k = 0; k < run_.n * run_.step(i).step.size; ++k)
      sum += x ? double(x[k]) * double(r[k]) : double(r[k]);
    return sum;
  }
  double arrived_at_inputs(const CompiledStep& step) const {
    double sum = 0;
    std::vector<int> seen;
    for (int input : step.step.inputs) {
      if (std::find(seen.begin(), seen.end(), input) != seen.end()) continue;
      seen.push_back(input);
      if (present_[static_cast<std::size_t>(input)]) sum += sum_of(input);
    }
    return sum;
  }

  void propagate(int i) {
    const CompiledStep& step = run_.step(i);
    if (conservation_ == nullptr) return dispatch(i, step);
    LayerConservation account;
    account.node = step.step.nodes.empty() ? step.step.node : step.step.nodes.front();
    account.relevance_out = sum_of(i);
    const double before = arrived_at_inputs(step);
    account_losses(run_, i, relevance(i), account);
    dispatch(i, step);
    account.relevance_in = arrived_at_inputs(step) - before;
    conservation_->push_back(account);
  }

  void dispatch(int i, const CompiledStep& step) {
    switch (step.step.kind) {
      case StepKind::input: break;
      case StepKind::linear: return back_linear(i, step);
      case StepKind::average_pool: return back_average(i, step);
      case StepKind::max_pool: return back_max(i, step);
      case StepKind::add: return back_add(i, step);
      case StepKind::concat:
      case StepKind::pad: return back_place(i, step);
      case StepKind::activation: return back_activation(i, step);
      case StepKind::scale_shift: return back_scale_shift(i, step);
      case StepKind::gather: return back_one(i, step, back_gather);
      case StepKind::resample: return back_resampled(i, step);
      case StepKind::layer_norm: return back_one(i, step, back_layer_norm);
      case StepKind::product: return back_factors(i, step);
      case StepKind::transpose: return back_transpose(i, step);
    }
  }

  bool is_cut(int reader, int input) const {
    return std::find(cut_.begin(), cut_.end(), std::make_pair(reader, input)) != cut_.end();
  }

  void copy_to(int input, const float* r, std::int64_t n) {
    const Destination to = destination(input);
    for_blocks(run_, n, [&](std::int64_t begin, std::int64_t end) {
      TieArgs args{};
      args.tie = Tie::copy;
      args.first = r + begin;
      args.accumulate = to.accumulate;
      args.r = to.r + begin;
      args.n = end - begin;
      run_.kernels.tie(args);
    });
  }

  // s+ and s- of `count` points starting at `point` (over all samples of the chunk).
  void map_points(int i, std::int64_t point, std::int64_t count, float* s_plus,
                  float* s_minus) const {
    const CompiledStep& step = run_.step(i);
    const Linear& layer = *step.linear;
    const std::int64_t channels = layer.forward.shape.out_channels();
    const std::int64_t pixels = layer.forward.shape.out_pixels();
    // Denominators that do not depend on x are those of one sample.
    const std::int64_t rest = pixels - point % pixels;
    if (layer.denominator.size() && count > rest) {
      map_points(i, point, rest, s_plus, s_minus);
      return map_points(i, point + rest, count - rest, s_plus + rest * channels,
                        s_minus ? s_minus + rest * channels : nullptr);
    }
    const auto offset = [&](const float* base) { return base ? base + point * channels : nullptr; };
    MapArgs args{};
    args.map = layer.traits->map;
    args.r = relevance(i) + point * channels;
    args.x = offset(factor(i));
    args.z = layer.denominator.size() ? layer.denominator.data() + point % pixels * channels
                                      : offset(run_.buffer(step.z));
    args.zp = offset(run_.buffer(step.zp));
    args.zn = offset(run_.buffer(step.zn));
    args.alpha = layer.rule.alpha;
    args.beta = layer.rule.beta;
    args.gamma = layer.rule.gamma;
    args.eps = layer.rule.stabilizer;
    args.s_plus = s_plus;
    args.s_minus = s_minus;
    args.n = count * channels;
    run_.kernels.map(args);
  }

  // Runs f(point, count, thread) over blocks of points that stay inside one sample.
  template <class F>
  void for_point_blocks(std::int64_t pixels, std::int64_t channels, F f) const {
    const std::int64_t step = std::min(list_pixels(channels), std::max<std::int64_t>(pixels, 1));
    const std::int64_t blocks = (pixels + step - 1) / step;
    parallel_for(threads_for_values(run_.n * pixels * channels, run_.threads), run_.n * blocks,
                 [&](std::int64_t item, int thread) {
                   const std::int64_t image = item / blocks, p = item % blocks * step;
                   f(image * pixels + p, std::min(step, pixels - p), thread);
                 });
  }

  ContractionSource backward_source(int i, const CompiledStep& step) const {
    const Linear& layer = *step.linear;
    const Contraction& c = layer.backward;
    const std::int64_t channels = c.shape.source_channels(), pixels = c.shape.source_pixels();
    const bool pair = reads_b(c.mode);
    float* memory = run_.buffer(step.backward_scratch);
    ContractionSource source;
    if (fills_tiles(c, run_.kernels, run_.n, run_.threads)) {
      source.fill = [this, i](std::int64_t point, std::int64_t count, float* plus, float* minus) {
        map_points(i, point, count, plus, minus);
      };
      return source;
    }
    if (!reads_lists(c.path)) {
      float* plus = memory;
      float* minus = pair ? memory + run_.n * pixels * channels : nullptr;
      for_point_blocks(pixels, channels, [&](std::int64_t point, std::int64_t count, int) {
        map_points(i, point, count, plus + point * channels,
                   minus ? minus + point * channels : nullptr);
      });
      source.a = plus;
      source.b = minus;
      return source;
    }
    source.lists = list_buffers(c, run_.n, memory);
    for_list_points(run_, c, source.lists, [&](ListArgs args, std::int64_t point, int thread) {
      const std::int64_t count = args.pixels;
      float* plus = run_.thread_scratch(thread);
      float* minus = pair ? plus + count * channels : nullptr;
      map_points(i, point, count, plus, minus);
      args.a = plus;
      args.b = minus;
      run_.kernels.list(args);
    });
    return source;
  }

  void tie_tile(const Linear& layer, const float* x, const Destination& to,
                const ResultTile& tile) const {
    const ContractionShape& s = layer.backward.shape;
    const std::int64_t first = tile.image * s.out_pixels() + tile.pixel;
    for (std::int64_t done = 0; done < tile.count;) {
      const std::int64_t pixel = first + done * tile.step, in_sample = pixel % s.out_pixels();
      const std::int64_t offset = pixel * s.out_channels() + tile.channel;
      TieArgs args{};
      args.tie = to.share ? Tie::copy : layer.tie;
      args.first = tile.first + done * tile.stride;
      args.second = tile.second ? tile.second + done * tile.stride : nullptr;
      args.x = x + offset;
      args.accumulate = to.accumulate;
      args.r = to.r + offset;
      args.n = tile.width;
      args.rows = tile.count - done;
      args.sum_stride = tile.stride;
      args.stride = tile.step * s.out_channels();
      if (layer.tie == Tie::box) {  // bounds are those of one sample
        args.rows = std::min(args.rows, ceil_div(s.out_pixels() - in_sample, tile.step));
        args.low = layer.low.data() + in_sample * s.out_channels() + tile.channel;
        args.high = layer.high.data() + in_sample * s.out_channels() + tile.channel;
      }
      done += args.rows;
      if (args.n == args.sum_stride && args.n == args.stride) {  // few channels: one long row
        args.n *= args.rows;
        args.rows = 1;
      }
      run_.kernels.tie(args);
    }
  }

  void back_linear(int i, const CompiledStep& step) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    const Linear& layer = *step.linear;
    if (layer.rule.kind == RuleKind::pass)
      return copy_to(input, relevance(i), run_.n * step.step.size);
    const ContractionSource source = backward_source(i, step);
    const Destination to = destination(input);
    const float* x = run_.value(input);
    run_contraction(layer.backward, run_.kernels, source, run_.n, run_.scratch,
                    run_.plan.thread_scratch, run_.threads,
                    [&](const ResultTile& tile, int) { tie_tile(layer, x, to, tile); });
  }

  // s = R / st(y) of values [at, at + n), or R itself for the gradient.
  void norm_block(int i, std::int64_t at, std::int64_t n, float* s) const {
    const CompiledStep& step = run_.step(i);
    MapArgs args{};
    args.map = step.gradient ? Map::gradient : Map::epsilon;
    args.r = relevance(i) + at;
    args.x = factor(i) ? factor(i) + at : nullptr;
    args.z = run_.value(i) + at;
    args.eps = step.rule.stabilizer;
    args.s_plus = s;
    args.n = n;
    run_.kernels.map(args);
  }
  void norm_map(int i, float* s) const {
    for_blocks(run_, run_.n * run_.step(i).step.size, [&](std::int64_t begin, std::int64_t end) {
      norm_block(i, begin, end - begin, s + begin);
    });
  }

  // The relevance of step i is that of its input, which may have the same memory. What is a share,
  // or lies in the memory of a sum, is written out if not.
  void pass_on(int i, int input, std::int64_t n) {
    if (relevance(i) != relevance(input)) settle(i);
    if (relevance(i) != relevance(input)) return copy_to(input, relevance(i), n);
    present_[static_cast<std::size_t>(input)] = true;
    is_share_[static_cast<std::size_t>(input)] = is_share_[static_cast<std::size_t>(i)];
  }

  void back_average(int i, const CompiledStep& step) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    const Pool& pool = *step.pool;
    const std::int64_t channels = step.step.channels, size = step.step.size;
    const std::int64_t row = pool.source[1] * channels;
    float* s = run_.buffer(step.backward_scratch);
    norm_map(i, s);
    const float* x = run_.value(input);
    const Destination to = destination(input);
    parallel_for(threads_for_values(run_.n * pool.source[0] * row, run_.threads),
                 run_.n * pool.source[0], [&](std::int64_t item, int thread) {
                   const std::int64_t image = item / pool.source[0], y = item % pool.source[0];
                   UnpoolAverageArgs args{};
                   args.s = s + image * size;
                   args.channels = channels;
                   args.source_width = pool.out[1];
                   args.out_width = pool.source[1];
                   args.y0 = y;
                   args.y1 = y + 1;
                   args.y_taps = pool.back_y.view();
                   args.x_taps = pool.back_x.view();
                   args.inverse_count = pool.inverse_count.data();
                   args.out = run_.thread_scratch(thread);
                   run_.kernels.unpool_average(args);
                   TieArgs tie{};
                   tie.tie = step.gradient || to.share ? Tie::copy : Tie::times_x;
                   tie.first = args.out;
                   tie.x = x + item * row;
                   tie.accumulate = to.accumulate;
                   tie.r = to.r + item * row;
                   tie.n = row;
                   run_.kernels.tie(tie);
                 });
  }

  void back_max(int i, const CompiledStep& step) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    const Pool& pool = *step.pool;
    const std::int64_t channels = step.step.channels, size = step.step.size;
    const std::int64_t source = run_.step(input).step.size;
    const auto* winner = reinterpret_cast<const std::int32_t*>(run_.buffer(step.winner));
    const float* r = relevance(i);
    const Destination to = destination(input);
    // Of few channels the kernel walks through the windows: those of a row belong to others, too.
    const std::int64_t rows = channels < run_.kernels.vector_width ? pool.source[0] : 1;
    const std::int64_t tiles = ceil_div(pool.source[0], std::max<std::int64_t>(rows, 1));
    parallel_for(threads_for_values(run_.n * source, run_.threads), run_.n * tiles,
                 [&](std::int64_t item, int) {
                   const std::int64_t image = item / tiles;
                   UnpoolArgs args{};
                   args.r_out = r + image * size;
                   args.winner = winner + image * size;
                   args.channels = channels;
                   args.source_width = pool.out[1];
                   args.out_width = pool.source[1];
                   args.y0 = item % tiles * rows;
                   args.y1 = args.y0 + rows;
                   args.y_taps = pool.back_y.view();
                   args.x_taps = pool.back_x.view();
                   args.accumulate = to.accumulate;
                   args.r_in = to.r + image * source;
                   run_.kernels.unpool_max(args);
                 });
  }

  // Each branch gets its value times R / st(sum), part by part, so that only R, the sum and the
  // branches go through memory (ResNet-50: 0.85 of the time). Branches that go on in the memory of
  // the sum, or read it, find the quotient there.
  void back_add(int i, const CompiledStep& step) {
    struct Branch {
      const float* x;
      Destination to;
    };
    std::vector<Branch> branches;
    float* own = own_memory(i);
    bool leaves = false;  // the quotient in its own memory
    for (int input : step.step.inputs) {
      if (is_cut(i, input)) continue;
      if (run_.step(input).reads_sum) at_[static_cast<std::size_t>(input)] = own;
      const Branch branch{run_.value(input), destination(input)};
      if (branch.to.r == own) {
        leaves = true;
      } else {
        branches.push_back(branch);
      }
    }
    const bool same = step.gradient && factor(i) == nullptr && relevance(i) == own;
    if (same && branches.empty()) return;
    for_blocks(run_, run_.n * step.step.size, [&](std::int64_t begin, std::int64_t end) {
      float part[kPart];
      for (std::int64_t at = begin; at < end; at += kPart) {
        const std::int64_t n = std::min(kPart, end - at);
        float* s = leaves ? own + at : part;
        norm_block(i, at, n, s);
        for (const Branch& branch : branches) {
          TieArgs tie{};
          tie.tie = step.gradient || branch.to.share ? Tie::copy : Tie::times_x;
          tie.first = s;
          tie.x = tie.tie == Tie::copy ? nullptr : branch.x + at;
          tie.accumulate = branch.to.accumulate;
          tie.r = branch.to.r + at;
          tie.n = n;
          run_.kernels.tie(tie);
        }
      }
    });
  }

  void back_place(int i, const CompiledStep& step) {
    const Node& node = node_of(step);
    const auto origins = input_origins(run_.plan.nodes, node);
    const float* r = relevance(i);
    for (std::size_t k = 0; k < origins.size(); ++k) {
      const int input = step.step.inputs[k];
      if (is_cut(i, input)) continue;
      const Shape& from = run_.plan.nodes[static_cast<std::size_t>(node.inputs[k])].shape;
      const std::int64_t size = size_of(from);
      const Destination to = destination(input);
      parallel_for(threads_for_values(run_.n * size, run_.threads), run_.n,
                   [&](std::int64_t image, int) {
                     float* target = to.r + image * size;
                     // Values that padding crops away get nothing.
                     if (!to.accumulate) std::fill(target, target + size, 0.0f);
                     for_runs(from, node.shape, origins[k],
                              [&](std::int64_t at, std::int64_t source, std::int64_t count) {
                                const float* part = r + image * step.step.size + source;
                                run_.kernels.add({target + at, part, target + at, count});
                              });
                   });
    }
  }

  void back_activation(int i, const CompiledStep& step) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    if (step.gradient) settle(i);
    float* r = relevance(i);
    const std::int64_t n = run_.n * step.step.size;
    if (step.gradient) {
      const auto& activation = std::get<Activation>(node_of(step).op);
      const float* x = run_.value(input);
      for_blocks(run_, n, [&](std::int64_t begin, std::int64_t end) {
        apply_derivative(activation, x + begin, r + begin, r + begin, end - begin);
      });
    }
    pass_on(i, input, n);
  }

  void back_scale_shift(int i, const CompiledStep& step) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    if (step.gradient) settle(i);
    float* r = relevance(i);
    const std::int64_t size = step.step.size;
    if (step.gradient && step.scale.size()) {
      const std::int64_t channels = step.per_channel ? step.step.channels : size;
      for (std::int64_t k = 0; k < run_.n; ++k) {
        ScaleShiftArgs args{};
        args.x = r + k * size;
        args.scale = step.scale.data();
        args.y = r + k * size;
        args.pixels = size / channels;
        args.channels = channels;
        run_.kernels.scale_shift(args);
      }
    }
    pass_on(i, input, run_.n * size);
  }

  void back_transpose(int i, const CompiledStep& step) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    const std::int64_t size = step.step.size;
    const float* r = relevance(i);
    float* s = run_.buffer(step.backward_scratch);
    parallel_for(threads_for_values(run_.n * size, run_.threads), run_.n, [&](std::int64_t k, int) {
      run_.kernels.transpose({r + k * size, s + k * size, step.step.columns, step.step.rows});
    });
    copy_to(input, s, run_.n * size);
  }

  // Steps of one input whose backward pass is f(run, step, r, r_in, accumulate).
  template <class F>
  void back_one(int i, const CompiledStep& step, F f) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    const Destination to = destination(input);
    f(run_, step, relevance(i), to.r, to.accumulate);
  }

  void back_resampled(int i, const CompiledStep& step) {
    const int input = step.step.inputs[0];
    if (is_cut(i, input)) return;
    float* s = run_.buffer(step.backward_scratch);
    norm_map(i, s);
    const Destination to = destination(input);
    const float* x = step.gradient || to.share ? nullptr : run_.value(input);
    back_resample(run_, step, s, x, to.r, to.accumulate);
  }

  void back_factors(int i, const CompiledStep& step) {
    for (std::size_t k = 0; k < 2; ++k) {
      const int input = step.step.inputs[k];
      if (is_cut(i, input) || (k == 1 && is_constant_gate(step))) continue;
      const Destination to = destination(input);
      back_product(run_, step, k, relevance(i), to.r, to.accumulate);
    }
  }

  const Execution& run_;
  const RelevanceRequest& request_;
  const std::int64_t first_sample_;
  const int target_;
  std::vector<LayerConservation>* conservation_;
  std::vector<bool> present_;
  std::vector<bool> is_share_;  // relevance(i) is what a unit of the value gets
  std::vector<float*> at_;      // where relevance is: the step's own memory, or that of a sum
  std::vector<std::pair<int, int>> cut_;  // (reader, input)
};

}  // namespace

void run_backward(const Execution& run, const RelevanceRequest& request, std::int64_t first_sample,
                  int target, std::vector<LayerConservation>* conservation) {
  Backward(run, request, first_sample, target, conservation).go();
}

}  // namespace relprop
