#include "layer_geometry.h"

#include <algorithm>
#include <utility>

namespace relprop {

WeightView swapped(const WeightView& w) {
  WeightView back = w;
  std::swap(back.outputs, back.channels);
  std::swap(back.output_stride, back.channel_stride);
  return back;
}

ContractionShape transposed(const ContractionShape& f) {
  ContractionShape b = f;
  std::swap(b.channels, b.outputs);
  std::swap(b.source_height, b.out_height);
  std::swap(b.source_width, b.out_width);
  b.y = transposed(f.y, f.source_height);
  b.x = transposed(f.x, f.source_width);
  return b;
}

namespace {

void set_extent(ContractionShape& s, std::array<std::int64_t, 2> source,
                std::array<std::int64_t, 2> out) {
  s.source_height = source[0];
  s.source_width = source[1];
  s.out_height = out[0];
  s.out_width = out[1];
}

LayerGeometry transposed(LayerGeometry g) {
  g.forward = transposed(g.forward);
  g.weight = swapped(g.weight);
  return g;
}

LayerGeometry dense_geometry(const Dense& op, std::int64_t rows, const float* weight) {
  LayerGeometry g;
  g.forward.channels = op.in;
  g.forward.outputs = op.out;
  set_extent(g.forward, {1, rows}, {1, rows});
  g.forward.y = identity_taps(1);
  g.forward.x = identity_taps(rows);
  g.weight = {weight, 1, op.out, op.in, 1, 0, op.in, 1, 1};
  return g;
}

TapTable axis_taps(const Window& w, std::size_t axis, std::int64_t outputs, std::int64_t sources) {
  return window_taps(outputs, sources, w.kernel[axis], w.stride[axis], w.dilation[axis],
                     w.pad_begin[axis]);
}

// A convolution of `inputs` channels of `from` to `outputs` channels of `to`.
LayerGeometry conv_geometry(const Window& window, std::int64_t groups, std::int64_t inputs,
                            std::int64_t outputs, const Shape& from, const Shape& to,
                            const float* weight) {
  LayerGeometry g;
  ContractionShape& f = g.forward;
  f.groups = groups;
  f.channels = inputs / groups;
  f.outputs = outputs / groups;
  f.kernel_height = window.kernel[0];
  f.kernel_width = window.kernel[1];
  set_extent(f, extent_of(from), extent_of(to));
  f.y = axis_taps(window, 0, f.out_height, f.source_height);
  f.x = axis_taps(window, 1, f.out_width, f.source_width);
  const std::int64_t taps = f.taps(), row = f.channels * taps;
  g.weight = {weight, f.groups, f.outputs, f.channels, taps, f.outputs * row, row, taps, 1};
  return g;
}

LayerGeometry affine_geometry(const Shape& shape, const float* scale) {
  LayerGeometry g;
  ContractionShape& f = g.forward;
  f.groups = channels_of(shape);
  f.channels = f.outputs = 1;
  set_extent(f, extent_of(shape), extent_of(shape));
  f.y = identity_taps(f.out_height);
  f.x = identity_taps(f.out_width);
  g.weight = {scale, f.groups, 1, 1, 1, 1, 1, 1, 1};
  return g;
}

// Whether there is one window, without padding, that reads the whole input.
bool covers_input(const ContractionShape& s) {
  return s.groups == 1 && s.taps() > 1 && s.out_pixels() == 1 && s.source_pixels() == s.taps() &&
         s.y.count(0) == s.kernel_height && s.x.count(0) == s.kernel_width;
}

// Such a layer is a dense one, whose inputs are (tap, channel) as they lie in memory: lists are
// longer, and all samples of a batch share the weights that are read (512 x 7 x 7 inputs: 0.25 of
// the time of eight samples).
LayerGeometry as_dense(const LayerGeometry& conv) {
  const ContractionShape& s = conv.forward;
  const WeightView& w = conv.weight;
  Dense op;
  op.in = s.taps() * s.channels;
  op.out = s.outputs;
  std::vector<float> own;
  own.reserve(static_cast<std::size_t>(op.in * op.out));
  for (std::int64_t m = 0; m < s.outputs; ++m)
    for (std::int64_t t = 0; t < s.taps(); ++t)
      for (std::int64_t k = 0; k < s.channels; ++k) own.push_back(w.at(0, m, k, t));
  LayerGeometry g = dense_geometry(op, 1, own.data());
  g.own = std::move(own);
  return g;
}

}  // namespace

LayerGeometry geometry_of(const Model& model, const Step& step, const Rule& rule) {
  const auto& nodes = model.nodes();
  const Node& node = nodes[static_cast<std::size_t>(step.node)];
  const Shape& from = nodes[static_cast<std::size_t>(node.inputs[0])].shape;
  const auto weight = [&](const std::vector<float>& own) {
    return step.weight.empty() ? own.data() : step.weight.data();
  };
  if (const auto* op = std::get_if<Dense>(&node.op))
    return dense_geometry(*op, size_of(from) / std::max<std::int64_t>(op->in, 1),
                          weight(op->weight));
  const auto dense_if_whole = [&](LayerGeometry conv) {
    const bool may_be = rule.kind != RuleKind::z_box;  // bounds are per channel and pixel
    return may_be && covers_input(conv.forward) ? as_dense(conv) : conv;
  };
  if (const auto* op = std::get_if<Conv>(&node.op))
    return dense_if_whole(conv_geometry(op->window, op->groups, op->in, op->out, from, node.shape,
                                        weight(op->weight)));
  // The backward product of a convolution that maps its output to its input.
  if (const auto* op = std::get_if<ConvTranspose>(&node.op))
    return transposed(dense_if_whole(conv_geometry(op->window, op->groups, op->out, op->in,
                                                   node.shape, from, weight(op->weight))));
  return affine_geometry(node.shape, std::get<BatchNorm>(node.op).scale.data());
}

std::vector<float> bias_of(const Model& model, const Step& step) {
  if (!step.bias.empty()) return step.bias;
  const Op& op = model.nodes()[static_cast<std::size_t>(step.node)].op;
  if (const auto* dense = std::get_if<Dense>(&op)) return dense->bias;
  if (const auto* conv = std::get_if<Conv>(&op)) return conv->bias;
  if (const auto* conv = std::get_if<ConvTranspose>(&op)) return conv->bias;
  return std::get<BatchNorm>(op).shift;
}

}  // namespace relprop
