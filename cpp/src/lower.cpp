#include "lower.h"

#include <algorithm>

#include "density.h"

namespace relprop {

std::int64_t channels_of(const Shape& shape) { return shape.empty() ? 1 : shape[0]; }
std::int64_t pixels_of(const Shape& shape) {
  const std::int64_t channels = channels_of(shape);
  return channels == 0 ? 0 : size_of(shape) / channels;
}
std::array<std::int64_t, 2> extent_of(const Shape& shape) {
  if (shape.size() == 3) return {shape[1], shape[2]};
  if (shape.size() == 2) return {1, shape[1]};
  return {1, pixels_of(shape)};
}

namespace {

std::vector<bool> ancestors_of(const Model& model, int output) {
  std::vector<bool> needed(model.nodes().size(), false);
  needed[static_cast<std::size_t>(output)] = true;
  for (int i = output; i >= 0; --i) {
    if (!needed[static_cast<std::size_t>(i)]) continue;
    for (int input : model.nodes()[static_cast<std::size_t>(i)].inputs)
      needed[static_cast<std::size_t>(input)] = true;
  }
  needed[0] = true;
  return needed;
}

class Lowering {
 public:
  Lowering(const Model& model, int output) : model_(model), needed_(ancestors_of(model, output)) {
    result_.step_of.assign(model.nodes().size(), -1);
    consumers_.assign(model.nodes().size(), 0);
    folded_into_.assign(model.nodes().size(), -1);
    for (std::size_t i = 0; i < model.nodes().size(); ++i)
      if (needed_[i])
        for (int input : model.nodes()[i].inputs) ++consumers_[static_cast<std::size_t>(input)];
  }

  Lowered run() {
    for (std::size_t i = 0; i < model_.nodes().size(); ++i)
      if (needed_[i]) add(static_cast<int>(i));
    expect_densities(model_, result_);
    return std::move(result_);
  }

 private:
  const Node& node(int i) const { return model_.nodes()[static_cast<std::size_t>(i)]; }
  Step& step(int i) { return result_.steps[static_cast<std::size_t>(i)]; }
  int& step_of(int i) { return result_.step_of[static_cast<std::size_t>(i)]; }
  bool sole_consumer(int i) const { return consumers_[static_cast<std::size_t>(i)] == 1; }

  int push(Step s) {
    result_.steps.push_back(std::move(s));
    return static_cast<int>(result_.steps.size()) - 1;
  }

  Step base(int i, StepKind kind) {
    Step s;
    s.kind = kind;
    s.node = i;
    s.nodes = {i};
    for (int input : node(i).inputs) s.inputs.push_back(step_of(input));
    s.size = size_of(node(i).shape);
    s.channels = channels_of(node(i).shape);
    return s;
  }

  // The value of node i is that of its input; so is its relevance, as nobody else reads the input.
  void alias(int i) {
    const int s = step_of(node(i).inputs[0]);
    step(s).nodes.push_back(i);
    step_of(i) = s;
  }

  int transpose(int input, std::int64_t rows, std::int64_t columns, std::int64_t channels) {
    Step s;
    s.kind = StepKind::transpose;
    s.inputs = {input};
    s.size = rows * columns;
    s.channels = channels;
    s.rows = rows;
    s.columns = columns;
    s.domain = step(input).domain;
    return push(std::move(s));
  }

  void add_copy(int i) {
    if (sole_consumer(node(i).inputs[0])) return alias(i);
    finish_copy(i, transpose(step_of(node(i).inputs[0]), 1, size_of(node(i).shape),
                             channels_of(node(i).shape)));
  }

  void finish_copy(int i, int s) {
    step(s).node = i;
    step(s).nodes = {i};
    step_of(i) = s;
  }

  // Row-major order is kept, so memory is transposed to it and back; both are nothing for vectors,
  // single channels and single pixels.
  void add_reshape(int i) {
    const Shape &from = node(node(i).inputs[0]).shape, &to = node(i).shape;
    const bool leave = channels_of(from) > 1 && pixels_of(from) > 1;
    const bool enter = channels_of(to) > 1 && pixels_of(to) > 1;
    if (!leave && !enter) return add_copy(i);
    int s = step_of(node(i).inputs[0]);
    if (leave) {
      s = transpose(s, pixels_of(from), channels_of(from), size_of(from));
      step(s).node = i;
    }
    if (enter) s = transpose(s, channels_of(to), pixels_of(to), channels_of(to));
    step(s).channels = channels_of(to);
    finish_copy(i, s);
  }

  void add_dense(int i) {
    const Shape &from = node(node(i).inputs[0]).shape, &to = node(i).shape;
    if (from.size() == 1) return finish_linear(i, base(i, StepKind::linear));
    // (C, ..., K): dense reads the last axis, which is innermost in row-major order.
    const std::int64_t out = to.back();
    int s = step_of(node(i).inputs[0]);
    if (channels_of(from) > 1 && pixels_of(from) > 1) {
      s = transpose(s, pixels_of(from), channels_of(from), from.back());
      step(s).node = i;
    }
    Step linear = base(i, StepKind::linear);
    linear.inputs = {s};
    linear.channels = out;
    const bool back = channels_of(to) > 1 && pixels_of(to) > 1;
    if (!back) return finish_linear(i, std::move(linear));
    linear.nodes.clear();
    const int l = push(std::move(linear));
    const int t = transpose(l, channels_of(to), pixels_of(to), channels_of(to));
    finish_copy(i, t);
  }

  // Its rows lie one after the other in row-major order.
  void add_layer_norm(int i) {
    const Shape& shape = node(i).shape;
    Step s = base(i, StepKind::layer_norm);
    const bool turn = channels_of(shape) > 1 && pixels_of(shape) > 1;
    if (!turn) {
      step_of(i) = push(std::move(s));
      return;
    }
    const int before = transpose(s.inputs[0], pixels_of(shape), channels_of(shape), size_of(shape));
    step(before).node = i;
    s.inputs = {before};
    s.nodes.clear();
    const int behind = push(std::move(s));
    finish_copy(i, transpose(behind, channels_of(shape), pixels_of(shape), channels_of(shape)));
  }

  void add_product(int i) {
    Step s = base(i, StepKind::product);
    const Domain a = step(s.inputs[0]).domain, b = step(s.inputs[1]).domain;
    s.domain = {a.nonnegative && b.nonnegative, a.sparse || b.sparse};
    step_of(i) = push(std::move(s));
  }

  void add_resample(int i) {
    const auto& op = std::get<Resample>(node(i).op);
    Step s = base(i, StepKind::resample);
    const auto negative = [](float w) { return w < 0; };
    s.domain.nonnegative = step(s.inputs[0]).domain.nonnegative &&
                           std::none_of(op.rows.begin(), op.rows.end(), negative) &&
                           std::none_of(op.columns.begin(), op.columns.end(), negative);
    step_of(i) = push(std::move(s));
  }

  void finish_linear(int i, Step s) {
    take_pending_batch_norm(i, s);
    step_of(i) = push(std::move(s));
  }

  static const std::vector<float>& weight_of(const Op& op) {
    if (const auto* dense = std::get_if<Dense>(&op)) return dense->weight;
    if (const auto* conv = std::get_if<Conv>(&op)) return conv->weight;
    return std::get<ConvTranspose>(op).weight;
  }
  static const std::vector<float>& bias_of(const Op& op) {
    if (const auto* dense = std::get_if<Dense>(&op)) return dense->bias;
    if (const auto* conv = std::get_if<Conv>(&op)) return conv->bias;
    if (const auto* transposed = std::get_if<ConvTranspose>(&op)) return transposed->bias;
    return std::get<BatchNorm>(op).shift;
  }

  void own_parameters(Step& s) {
    const Op& op = node(s.node).op;
    if (s.weight.empty()) s.weight = weight_of(op);
    if (s.bias.empty()) s.bias = bias_of(op);
    if (s.bias.empty()) s.bias.assign(static_cast<std::size_t>(channels_of(node(s.node).shape)), 0);
  }

  // w <- w scale, b <- b scale + shift, per output channel.
  void fold_behind(Step& s, const BatchNorm& norm) {
    own_parameters(s);
    const Op& op = node(s.node).op;
    const std::size_t outputs = norm.scale.size();
    if (const auto* transposed = std::get_if<ConvTranspose>(&op)) {
      // (in, out / groups, taps): the output channel is (group of in) * per_group + index.
      const std::size_t per_group = outputs / static_cast<std::size_t>(transposed->groups);
      const std::size_t in_per_group =
          static_cast<std::size_t>(transposed->in / transposed->groups);
      const std::size_t taps =
          s.weight.size() / (static_cast<std::size_t>(transposed->in) * per_group);
      for (std::size_t k = 0, at = 0; k < static_cast<std::size_t>(transposed->in); ++k)
        for (std::size_t m = 0; m < per_group; ++m)
          for (std::size_t t = 0; t < taps; ++t, ++at)
            s.weight[at] *= norm.scale[k / in_per_group * per_group + m];
    } else {
      const std::size_t row = s.weight.size() / outputs;
      for (std::size_t m = 0; m < outputs; ++m)
        for (std::size_t k = 0; k < row; ++k) s.weight[m * row + k] *= norm.scale[m];
    }
    for (std::size_t m = 0; m < outputs; ++m) s.bias[m] = s.bias[m] * norm.scale[m] + norm.shift[m];
  }

  // A batch norm in front of a linear layer: W (scale x + shift) + b. With padding the padded cells
  // would have to hold shift, so only a zero shift can pass.
  bool can_fold_ahead(int i) const {
    const auto& norm = std::get<BatchNorm>(node(i).op);
    int consumer = -1;
    for (std::size_t c = 0; c < model_.nodes().size(); ++c)
      for (int input : node(static_cast<int>(c)).inputs)
        if (needed_[c] && input == i) consumer = static_cast<int>(c);
    if (consumer < 0 || !sole_consumer(i)) return false;
    if (std::holds_alternative<Dense>(node(consumer).op)) return node(i).shape.size() == 1;
    const auto* conv = std::get_if<Conv>(&node(consumer).op);
    if (conv == nullptr) return false;
    const Window& w = conv->window;
    const bool padded = w.pad_begin[0] || w.pad_begin[1] || w.pad_end[0] || w.pad_end[1];
    return !padded ||
           std::all_of(norm.shift.begin(), norm.shift.end(), [](float s) { return s == 0; });
  }

  void take_pending_batch_norm(int i, Step& s) {
    const int input = node(i).inputs[0];
    if (folded_into_[static_cast<std::size_t>(input)] < 0) return;
    const auto& norm = std::get<BatchNorm>(node(input).op);
    own_parameters(s);
    const std::size_t outputs = s.bias.size();
    const std::size_t row = s.weight.size() / outputs;
    std::size_t groups = 1, taps = 1;
    if (const auto* conv = std::get_if<Conv>(&node(i).op)) {
      groups = static_cast<std::size_t>(conv->groups);
      taps = static_cast<std::size_t>(conv->window.kernel[0] * conv->window.kernel[1]);
    }
    const std::size_t channels = row / taps;
    for (std::size_t m = 0; m < outputs; ++m) {
      double shift = 0;
      for (std::size_t k = 0; k < row; ++k) {
        const std::size_t c = m / (outputs / groups) * channels + k / taps;
        float& w = s.weight[m * row + k];
        shift += static_cast<double>(w) * norm.shift[c];
        w *= norm.scale[c];
      }
      s.bias[m] += static_cast<float>(shift);
    }
  }

  void add_batch_norm(int i) {
    const int input = node(i).inputs[0];
    Step& before = step(step_of(input));
    const bool takes = before.kind == StepKind::linear && before.fused_activation < 0 &&
                       !std::holds_alternative<BatchNorm>(node(before.node).op);
    if (takes && sole_consumer(input)) {
      fold_behind(before, std::get<BatchNorm>(node(i).op));
      return alias(i);
    }
    if (can_fold_ahead(i)) {
      folded_into_[static_cast<std::size_t>(i)] = 1;
      // The folded layer reads the batch norm's input, so that is where its relevance arrives.
      step_of(i) = step_of(input);
      if (sole_consumer(input)) step(step_of(i)).nodes.push_back(i);
      return;
    }
    step_of(i) = push(base(i, StepKind::linear));
  }

  static bool rides(const Activation& a) {
    switch (a.function) {
      case Function::relu: return true;
      case Function::leaky_relu: return a.a > 0;  // the sign of y then tells the slope
      case Function::clip: return a.a < a.b;
      default: return false;
    }
  }

  static Domain domain_of(const Activation& a) {
    switch (a.function) {
      case Function::relu: return {true, true};
      case Function::clip: return {a.a >= 0, a.a == 0};
      case Function::sigmoid:
      case Function::hard_sigmoid:
      case Function::softplus: return {true, false};
      default: return {};
    }
  }

  void add_activation(int i) {
    const auto& activation = std::get<Activation>(node(i).op);
    const int input = node(i).inputs[0];
    Step& before = step(step_of(input));
    if (before.kind == StepKind::linear && before.fused_activation < 0 && rides(activation) &&
        sole_consumer(input)) {
      before.fused_activation = i;
      before.domain = domain_of(activation);
      return alias(i);
    }
    Step s = base(i, StepKind::activation);
    s.domain = domain_of(activation);
    step_of(i) = push(std::move(s));
  }

  void add_merge(int i, StepKind kind) {
    Step s = base(i, kind);
    s.domain = {true, true};
    for (int input : s.inputs) {
      s.domain.nonnegative &= step(input).domain.nonnegative;
      s.domain.sparse &= step(input).domain.sparse;
    }
    if (kind == StepKind::add || kind == StepKind::average_pool) s.domain.sparse = false;
    if (const auto* pad = std::get_if<Pad>(&node(i).op)) s.domain.nonnegative &= pad->value >= 0;
    step_of(i) = push(std::move(s));
  }

  void add(int i) {
    const Op& op = node(i).op;
    if (std::holds_alternative<Dense>(op)) return add_dense(i);
    if (std::holds_alternative<Conv>(op) || std::holds_alternative<ConvTranspose>(op))
      return finish_linear(i, base(i, StepKind::linear));
    if (std::holds_alternative<BatchNorm>(op)) return add_batch_norm(i);
    if (std::holds_alternative<Activation>(op)) return add_activation(i);
    if (std::holds_alternative<Reshape>(op)) return add_reshape(i);
    if (std::holds_alternative<Identity>(op)) return add_copy(i);
    if (std::holds_alternative<Softmax>(op)) {
      result_.softmax = i;
      return alias(i);
    }
    if (std::holds_alternative<Input>(op)) {
      step_of(i) = push(base(i, StepKind::input));
      return;
    }
    if (std::holds_alternative<ScaleShift>(op)) {
      step_of(i) = push(base(i, StepKind::scale_shift));
      return;
    }
    if (std::holds_alternative<Add>(op)) return add_merge(i, StepKind::add);
    if (std::holds_alternative<Concat>(op)) return add_merge(i, StepKind::concat);
    if (std::holds_alternative<Pad>(op)) return add_merge(i, StepKind::pad);
    if (std::holds_alternative<Gather>(op)) return add_merge(i, StepKind::gather);
    if (std::holds_alternative<Resample>(op)) return add_resample(i);
    if (std::holds_alternative<LayerNorm>(op)) return add_layer_norm(i);
    if (std::holds_alternative<Product>(op)) return add_product(i);
    if (std::holds_alternative<MaxPool>(op) || std::holds_alternative<GlobalMaxPool>(op))
      return add_merge(i, StepKind::max_pool);
    add_merge(i, StepKind::average_pool);
  }

  const Model& model_;
  std::vector<bool> needed_;
  std::vector<int> consumers_, folded_into_;
  Lowered result_;
};

}  // namespace

Lowered lower(const Model& model, int output) { return Lowering(model, output).run(); }

}  // namespace relprop
