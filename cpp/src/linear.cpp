#include "linear.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "geometry.h"
#include "layer_geometry.h"
#include "relprop/error.h"

namespace relprop {
namespace {

using Weights = RuleTraits::Weights;

// Columns: kind, name, split, keep z / z+ / z-, map, backward product for inputs >= 0 / any sign,
// its ending for inputs >= 0 / any sign, weights of the backward product. Formulas: kernels.h.
constexpr RuleTraits kRules[] = {
    // clang-format off
    {RuleKind::gradient,   "gradient",   false, false, false, false, Map::gradient,   Mode::plain, Mode::plain,             Tie::copy,    Tie::copy,    Weights::own},
    {RuleKind::epsilon,    "epsilon",    false, true,  false, false, Map::epsilon,    Mode::plain, Mode::plain,             Tie::times_x, Tie::times_x, Weights::own},
    {RuleKind::z_plus,     "z_plus",     true,  false, true,  false, Map::z_plus,     Mode::plain, Mode::split_weight,      Tie::times_x, Tie::by_sign, Weights::positive},
    {RuleKind::alpha_beta, "alpha_beta", true,  false, true,  true,  Map::alpha_beta, Mode::blend, Mode::blend_both,        Tie::times_x, Tie::by_sign, Weights::own},
    {RuleKind::gamma,      "gamma",      true,  true,  true,  true,  Map::gamma,      Mode::blend, Mode::blend_both,        Tie::times_x, Tie::by_sign, Weights::own},
    {RuleKind::w_square,   "w_square",   false, false, false, false, Map::epsilon,    Mode::plain, Mode::plain,             Tie::copy,    Tie::copy,    Weights::square},
    {RuleKind::flat,       "flat",       false, false, false, false, Map::epsilon,    Mode::plain, Mode::plain,             Tie::copy,    Tie::copy,    Weights::ones},
    {RuleKind::z_box,      "z_box",      false, true,  false, false, Map::epsilon,    Mode::split_weight, Mode::split_weight, Tie::box,   Tie::box,     Weights::own},
    {RuleKind::reweighted, "reweighted", false, true,  false, false, Map::epsilon,    Mode::plain, Mode::plain,             Tie::times_x, Tie::times_x, Weights::reweighted},
    {RuleKind::pass,       "pass",       false, false, false, false, Map::gradient,   Mode::plain, Mode::plain,             Tie::copy,    Tie::copy,    Weights::own},
    {RuleKind::norm,       "norm",       false, true,  false, false, Map::epsilon,    Mode::plain, Mode::plain,             Tie::times_x, Tie::times_x, Weights::own},
    // clang-format on
};

// A bias for every output where a dense layer stands for several pixels.
std::vector<float> repeated(std::vector<float> bias, std::int64_t outputs) {
  const std::size_t own = bias.size();
  if (own == 0) return bias;
  bias.resize(static_cast<std::size_t>(outputs));
  for (std::size_t i = own; i < bias.size(); ++i) bias[i] = bias[i - own];
  return bias;
}

// All weights of the view through f, in its own dense order; `view` is pointed at them.
template <class F>
std::vector<float> mapped_weights(WeightView& view, F f) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(view.groups * view.outputs * view.channels * view.taps));
  for (std::int64_t g = 0; g < view.groups; ++g)
    for (std::int64_t m = 0; m < view.outputs; ++m)
      for (std::int64_t k = 0; k < view.channels; ++k)
        for (std::int64_t t = 0; t < view.taps; ++t) values.push_back(f(view.at(g, m, k, t)));
  view.data = values.data();
  view.tap_stride = 1;
  view.channel_stride = view.taps;
  view.output_stride = view.channels * view.taps;
  view.group_stride = view.outputs * view.output_stride;
  return values;
}

// For every output pixel and channel, init(channel) plus the sum of part(channel, tap, source
// pixel) over the taps that lie inside the source.
template <class Init, class Part>
AlignedFloats sum_over_taps(const ContractionShape& s, Init init, Part part) {
  AlignedFloats result(s.out_pixels() * s.out_channels());
  for (std::int64_t oy = 0, at = 0; oy < s.out_height; ++oy)
    for (std::int64_t ox = 0; ox < s.out_width; ++ox)
      for (std::int64_t m = 0; m < s.out_channels(); ++m, ++at) {
        double sum = init(m);
        for (std::int32_t i = s.y.begin[oy]; i < s.y.begin[oy + 1]; ++i)
          for (std::int32_t j = s.x.begin[ox]; j < s.x.begin[ox + 1]; ++j)
            sum += part(m, s.y.tap[i] * s.kernel_width + s.x.tap[j],
                        s.y.source[i] * s.source_width + s.x.source[j]);
        result.data()[at] = static_cast<float>(sum);
      }
  return result;
}

// sum over channels k of f(w, k) for every (output channel, tap).
template <class F>
std::vector<double> channel_sums(const ContractionShape& s, const WeightView& w, F f) {
  std::vector<double> sums;
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t m = 0; m < w.outputs; ++m)
      for (std::int64_t t = 0; t < w.taps; ++t) {
        double sum = 0;
        for (std::int64_t k = 0; k < w.channels; ++k)
          sum += f(w.at(g, m, k, t), g * s.channels + k);
        sums.push_back(sum);
      }
  return sums;
}

// Denominator of w^2 (W^2 1 + b^2) and flat (1_W 1): the inputs are all one.
AlignedFloats constant_denominator(const Linear& layer, const WeightView& weight) {
  const ContractionShape& s = layer.forward.shape;
  const bool square = layer.traits->weights == Weights::square;
  const auto sums = channel_sums(
      s, weight, [&](float w, std::int64_t) { return square ? static_cast<double>(w) * w : 1.0; });
  const auto init = [&](std::int64_t m) {
    if (!square || !layer.absorbs_bias()) return 0.0;
    const double b = layer.bias[static_cast<std::size_t>(m)];
    return b * b;
  };
  const auto part = [&](std::int64_t m, std::int64_t t, std::int64_t) {
    return sums[static_cast<std::size_t>(m * s.taps() + t)];
  };
  return sum_over_taps(s, init, part);
}

// One value, one per channel or one per input value -> (source pixels, channels).
AlignedFloats expand_bound(const std::vector<float>& bound, const ContractionShape& s,
                           const std::string& name) {
  const std::int64_t channels = s.source_channels(), pixels = s.source_pixels();
  const auto n = static_cast<std::int64_t>(bound.size());
  if (n != 1 && n != channels && n != channels * pixels)
    throw Error(ErrorCode::invalid_argument,
                "layer '" + name + "': z_box bound has " + std::to_string(n) +
                    " values; accepted are 1, one per channel (" + std::to_string(channels) +
                    ") or one per input value (" + std::to_string(channels * pixels) + ")");
  AlignedFloats values(channels * pixels);
  for (std::int64_t p = 0; p < pixels; ++p)
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t at = n == 1 ? 0 : n == channels ? c : c * pixels + p;
      values.data()[p * channels + c] = bound[static_cast<std::size_t>(at)];
    }
  return values;
}

void add_box(Linear& layer, const WeightView& w, const std::string& name) {
  const ContractionShape& s = layer.forward.shape;
  layer.low = expand_bound(layer.rule.low, s, name);
  layer.high = expand_bound(layer.rule.high, s, name);
  const float *low = layer.low.data(), *high = layer.high.data();
  const auto init = [](std::int64_t) { return 0.0; };
  const auto product = [&](float value, std::int64_t at) {
    return -static_cast<double>(value) * (value > 0 ? low[at] : high[at]);
  };
  const bool same_everywhere =
      static_cast<std::int64_t>(std::max(layer.rule.low.size(), layer.rule.high.size())) <=
      s.source_channels();
  if (same_everywhere) {
    const auto sums = channel_sums(s, w, product);
    layer.minus_box = sum_over_taps(s, init, [&](std::int64_t m, std::int64_t t, std::int64_t) {
      return sums[static_cast<std::size_t>(m * s.taps() + t)];
    });
    return;
  }
  layer.minus_box =
      sum_over_taps(s, init, [&](std::int64_t m, std::int64_t t, std::int64_t source) {
        const std::int64_t g = m / s.outputs;
        double sum = 0;
        for (std::int64_t k = 0; k < s.channels; ++k)
          sum += product(w.at(g, m % s.outputs, k, t),
                         source * s.source_channels() + g * s.channels + k);
        return sum;
      });
}

void set_tail(Linear& layer, const Model& model, const Step& step) {
  if (step.fused_activation < 0) return;
  const auto& a =
      std::get<Activation>(model.nodes()[static_cast<std::size_t>(step.fused_activation)].op);
  layer.tail = a.function == Function::relu         ? Tail::relu
               : a.function == Function::leaky_relu ? Tail::leaky_relu
                                                    : Tail::clip;
  layer.tail_a = a.a;
  layer.tail_b = a.b;
}

// A product of few channels reads whole kernel rows, but not across a border: its source is copied
// into one with the padding written out (7 x 7, 3 channels: 0.6 of the time with AVX-512, 1.07 with
// AVX2; sums by sign 0.85). False where that does not apply.
bool read_padded(Linear& layer, const Op& op, const LayerGeometry& unpadded, SourceFacts source,
                 const Kernels& kernels) {
  const auto* conv = std::get_if<Conv>(&op);
  const Weights weights = layer.traits->weights;
  if (conv == nullptr || layer.traits->tie == Tie::box ||
      (weights != Weights::own && weights != Weights::positive))
    return false;
  const Window& w = conv->window;
  if (w.pad_begin[0] == 0 && w.pad_begin[1] == 0 && w.pad_end[0] == 0 && w.pad_end[1] == 0)
    return false;
  ContractionShape shape = unpadded.forward;
  if (shape.out_pixels() == 0) return false;
  const auto read = [&](std::int64_t outputs, std::size_t axis) {
    return (outputs - 1) * w.stride[axis] + (w.kernel[axis] - 1) * w.dilation[axis] + 1;
  };
  shape.source_height = read(shape.out_height, 0);
  shape.source_width = read(shape.out_width, 1);
  shape.y = window_taps(shape.out_height, shape.source_height, w.kernel[0], w.stride[0],
                        w.dilation[0], 0);
  shape.x =
      window_taps(shape.out_width, shape.source_width, w.kernel[1], w.stride[1], w.dilation[1], 0);
  const Mode mode = layer.traits->split ? Mode::split_product : Mode::plain;
  if (!pays_by_kernel_rows(shape, mode, source, kernels)) return false;
  Contraction forward = make_contraction(shape, unpadded.weight, mode, source, kernels);
  if (reads_lists(forward.path)) return false;
  layer.forward = std::move(forward);
  layer.padded = {w.pad_begin[0],
                  w.pad_begin[1],
                  shape.source_height,
                  shape.source_width,
                  unpadded.forward.source_height,
                  unpadded.forward.source_width};
  return true;
}

// AlphaBeta(1, 0) is ZPlus: the same bits, half the backward work.
Rule normalised(Rule rule) {
  if (rule.kind == RuleKind::alpha_beta && rule.alpha == 1 && rule.beta == 0)
    rule.kind = RuleKind::z_plus;
  return rule;
}

void check_pass(const Linear& layer, const std::string& name) {
  const ContractionShape& s = layer.forward.shape;
  const std::int64_t inputs = s.source_pixels() * s.source_channels();
  const std::int64_t outputs = s.out_pixels() * s.out_channels();
  if (inputs != outputs)
    throw Error(ErrorCode::invalid_argument,
                "layer '" + name + "': rule pass needs as many outputs as inputs; got " +
                    std::to_string(inputs) + " inputs and " + std::to_string(outputs) + " outputs");
}

}  // namespace

const RuleTraits& traits_of(RuleKind kind) {
  for (const RuleTraits& traits : kRules)
    if (traits.kind == kind) return traits;
  return kRules[0];
}

const char* rule_name(RuleKind kind) { return traits_of(kind).name; }

std::vector<RuleKind> rule_kinds() {
  std::vector<RuleKind> kinds;
  for (const RuleTraits& traits : kRules) kinds.push_back(traits.kind);
  return kinds;
}

std::int64_t Linear::multiply_adds() const {
  const ContractionShape& s = forward.shape;
  return s.out_pixels() * s.out_channels() * s.channels * s.taps();
}

std::int64_t Linear::weight_bytes() const {
  return forward.weight_bytes() + backward.weight_bytes() + (plain ? plain->weight_bytes() : 0);
}

Linear make_linear(const Model& model, const Step& step, const Lowered& lowered, const Rule& rule,
                   const Kernels& kernels, const PlanOptions& options) {
  const bool forward_only = options.forward_only;
  const std::string& name = model.nodes()[static_cast<std::size_t>(step.node)].name;
  const Step& before = lowered.steps[static_cast<std::size_t>(step.inputs[0])];
  const SourceFacts source{before.domain.nonnegative, before.density,
                           std::min(options.samples, kMaxExtent)};
  Linear layer;
  layer.rule = normalised(rule);
  layer.traits = &traits_of(forward_only ? RuleKind::gradient : layer.rule.kind);
  const RuleTraits& traits = *layer.traits;

  const LayerGeometry geometry = geometry_of(model, step, layer.rule);
  layer.bias = repeated(bias_of(model, step), geometry.forward.out_channels());
  for (float b : layer.bias) {
    layer.bias_positive.push_back(std::max(b, 0.0f));
    layer.bias_negative.push_back(std::min(b, 0.0f));
  }
  set_tail(layer, model, step);
  const auto reweigh = [&](float w) { return w * (w > 0 ? layer.rule.alpha : layer.rule.beta); };
  WeightView explained = geometry.weight;
  std::vector<float> changed;
  const bool reweighted = traits.weights == Weights::reweighted;
  if (reweighted) changed = mapped_weights(explained, reweigh);
  const Op& op = model.nodes()[static_cast<std::size_t>(step.node)].op;
  if (!read_padded(layer, op, geometry, source, kernels))
    layer.forward =
        make_contraction(geometry.forward, explained,
                         traits.split ? Mode::split_product : Mode::plain, source, kernels);
  if (reweighted || (traits.split && traits.keep_z))
    layer.plain = std::make_unique<const Contraction>(
        make_contraction(geometry.forward, geometry.weight, Mode::plain, source, kernels));
  if (forward_only) return layer;
  if (layer.rule.kind == RuleKind::pass) check_pass(layer, name);

  if (traits.weights == Weights::square || traits.weights == Weights::ones)
    layer.denominator = constant_denominator(layer, geometry.weight);
  if (traits.tie == Tie::box) add_box(layer, geometry.weight, name);
  layer.tie = source.nonnegative ? traits.tie : traits.tie_signed;
  WeightView back = swapped(explained);
  std::vector<float> own;
  if (traits.weights == Weights::square) own = mapped_weights(back, [](float w) { return w * w; });
  if (traits.weights == Weights::positive && source.nonnegative)
    own = mapped_weights(back, [](float w) { return std::max(w, 0.0f); });
  if (traits.weights == Weights::ones) own = mapped_weights(back, [](float) { return 1.0f; });
  layer.backward = make_contraction(transposed(geometry.forward), back,
                                    source.nonnegative ? traits.backward : traits.backward_signed,
                                    {false, step.relevance_density, source.samples}, kernels);
  return layer;
}

}  // namespace relprop
