#include <algorithm>
#include <cmath>
#include <cstring>

#include "functions.h"
#include "gather.h"
#include "layer_norm.h"
#include "parallel.h"
#include "place.h"
#include "plan_impl.h"
#include "product.h"
#include "resample.h"

namespace relprop {

std::int64_t list_pixels(std::int64_t channels) {
  constexpr std::int64_t kFloats = 8192;
  return std::max<std::int64_t>(1, kFloats / std::max<std::int64_t>(2 * channels, 1)) * 2;
}

void for_blocks(const Execution& run, std::int64_t n,
                const std::function<void(std::int64_t, std::int64_t)>& f) {
  constexpr std::int64_t kBlock = 16384;
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  parallel_for(threads_for_values(n, run.threads), blocks,
               [&](std::int64_t b, int) { f(b * kBlock, std::min(n, (b + 1) * kBlock)); });
}

// The last row of points may not be full: the rest of its points have no entries.
static void end_row(const ListArgs& args, const ListShape& shape, std::int64_t points) {
  const std::int64_t kinds = args.by_sign ? 2 : 1, begins = shape.width * kinds + 1;
  for (std::int64_t q = 0; q < shape.begins; q += begins)
    std::fill(args.begin + q + points * kinds + 1, args.begin + q + begins,
              args.begin[q + points * kinds]);
}

void for_list_points(const Execution& run, const Contraction& c, const ListBuffers& lists,
                     const std::function<void(ListArgs, std::int64_t, int)>& f) {
  const ContractionShape& s = c.shape;
  const ListShape shape = list_shape(c, run.n);
  const std::int64_t points = run.n * s.source_pixels(), channels = s.source_channels();
  const std::int64_t step = list_pixels(channels), of_point = c.pairs ? 2 : 1;
  parallel_for(threads_for_values(points * channels, run.threads), shape.rows,
               [&](std::int64_t row, int thread) {
                 ListArgs args{};
                 args.width = shape.width;
                 args.groups = s.groups;
                 args.channels = s.channels;
                 args.by_sign = list_kinds(c) == 2;
                 args.pairs = c.pairs;
                 args.value = lists.value + list_values(c) * row * shape.entries;
                 args.index = lists.index + row * shape.entries;
                 args.begin = lists.begin + row * shape.begins;
                 const std::int64_t first = row * shape.pixels;
                 const std::int64_t last = std::min(first + shape.pixels, points);
                 for (std::int64_t p = first; p < last; p += step) {
                   args.pixels = std::min(step, last - p);
                   args.x0 = (p - first) / of_point;
                   args.x1 = args.x0 + (args.pixels + of_point - 1) / of_point;
                   f(args, p, thread);
                 }
                 if (last - first < shape.pixels) end_row(args, shape, last - first);
               });
}

void enter_layout(const Execution& run, const Shape& shape, const float* from, float* to) {
  const std::int64_t size = size_of(shape), channels = channels_of(shape);
  parallel_for(threads_for_values(size * run.n, run.threads), run.n, [&](std::int64_t i, int) {
    run.kernels.transpose({from + i * size, to + i * size, channels, pixels_of(shape)});
  });
}

void leave_layout(const Execution& run, const Shape& shape, const float* from, float* to,
                  std::int64_t to_stride) {
  const std::int64_t size = size_of(shape), channels = channels_of(shape);
  parallel_for(threads_for_values(size * run.n, run.threads), run.n, [&](std::int64_t i, int) {
    run.kernels.transpose({from + i * size, to + i * to_stride, pixels_of(shape), channels});
  });
}

namespace {

void make_lists(const Execution& run, const Contraction& c, const float* x,
                const ListBuffers& lists) {
  const std::int64_t channels = c.shape.source_channels();
  for_list_points(run, c, lists, [&](ListArgs args, std::int64_t point, int) {
    args.a = x + point * channels;
    run.kernels.list(args);
  });
}

// The value x inside its padding, for a layer that reads both.
void write_padded(const Execution& run, const Linear& layer, const float* x, float* to) {
  const PaddedSource& p = layer.padded;
  const std::int64_t channels = layer.forward.shape.source_channels(), row = p.width * channels;
  const std::int64_t left = std::min(p.left, p.width) * channels;
  const std::int64_t inside = std::min(p.columns * channels, row - left);
  parallel_for(threads_for_values(run.n * p.height * row, run.threads), run.n * p.height,
               [&](std::int64_t item, int) {
                 const std::int64_t image = item / p.height, y = item % p.height - p.top;
                 float* target = to + item * row;
                 if (y < 0 || y >= p.rows) {
                   std::fill_n(target, row, 0.0f);
                   return;
                 }
                 const float* from = x + (image * p.rows + y) * p.columns * channels;
                 float* begin = std::fill_n(target, left, 0.0f);
                 std::fill(std::copy_n(from, inside, begin), target + row, 0.0f);
               });
}

// The activation that replaces the values of a step by its own; null: there is none.
const Activation* replacing(const Execution& run, const CompiledStep& step) {
  if (step.only_reader < 0) return nullptr;
  const CompiledStep& reader = run.step(step.only_reader);
  if (reader.step.kind != StepKind::activation || reader.value != step.value) return nullptr;
  return &std::get<Activation>(run.plan.nodes[static_cast<std::size_t>(reader.step.node)].op);
}

// Where the results of a linear layer go. Null: not wanted.
struct LinearTargets {
  float *y, *z, *zp, *zn;
  float* total = nullptr;  // y + other, or max(0, .)
  const float* other = nullptr;
  Tail total_tail = Tail::none;
};

template <class T>
T* at(T* base, std::int64_t offset) {
  return base ? base + offset : nullptr;
}

const float* bias_at(const std::vector<float>& bias, bool wanted, std::int64_t channel) {
  return wanted && !bias.empty() ? bias.data() + channel : nullptr;
}

// Denominators wait for the backward pass. More of them than a cache holds are written past it:
// they need not be read from memory first (AVX-512: 4 to 6 % of SqueezeNet, EfficientNet-Lite0,
// VGG-16).
constexpr std::int64_t kFarValues = 1 << 18;

// Bias, denominators and activation for a tile.
void finish_tile(const Execution& run, const Linear& layer, const ResultTile& tile,
                 const LinearTargets& to) {
  const ContractionShape& s = layer.forward.shape;
  const std::int64_t pixel = tile.image * s.out_pixels() + tile.pixel;
  const std::int64_t offset = pixel * s.out_channels() + tile.channel;
  const bool absorbed = layer.rule.absorb_bias;
  FinishArgs args{};
  args.first = tile.first;
  args.second = tile.second;
  args.sum = tile.sum;
  args.pixels = tile.count;
  args.channels = tile.width;
  args.sum_stride = tile.stride;
  args.far = run.n * s.out_pixels() * s.out_channels() >= kFarValues;
  args.stride = tile.step * s.out_channels();
  args.bias = bias_at(layer.bias, true, tile.channel);
  args.bias_z = bias_at(layer.bias, absorbed && layer.traits->tie != Tie::box, tile.channel);
  args.bias_p = bias_at(layer.bias_positive, absorbed, tile.channel);
  args.bias_n = bias_at(layer.bias_negative, absorbed, tile.channel);
  args.tail = layer.tail;
  args.tail_a = layer.tail_a;
  args.tail_b = layer.tail_b;
  args.y = at(to.y, offset);
  args.z = at(to.z, offset);
  args.zp = at(to.zp, offset);
  args.zn = at(to.zn, offset);
  args.total = at(to.total, offset);
  args.other = at(to.other, offset);
  args.total_tail = to.total_tail;
  run.kernels.finish(args);
  if (layer.minus_box.size() == 0 || to.z == nullptr) return;
  for (std::int64_t p = 0; p < tile.count; ++p) {
    const std::int64_t place = pixel + p * tile.step, in_sample = place % s.out_pixels();
    float* z = to.z + place * s.out_channels() + tile.channel;
    run.kernels.add(
        {z, layer.minus_box.data() + in_sample * s.out_channels() + tile.channel, z, tile.width});
  }
}

void run_product(const Execution& run, const CompiledStep& step, const Contraction& product,
                 const LinearTargets& to) {
  const Linear& layer = *step.linear;
  const float* x = run.value(step.step.inputs[0]);
  ContractionSource source;
  source.a = x;
  if (&product == &layer.forward && layer.padded.height > 0) {
    float* padded = run.buffer(step.forward_scratch);
    write_padded(run, layer, x, padded);
    source.a = padded;
  }
  if (reads_lists(product.path)) {
    source.lists = list_buffers(product, run.n, run.buffer(step.forward_scratch));
    make_lists(run, product, x, source.lists);
  }
  run_contraction(product, run.kernels, source, run.n, run.scratch, run.plan.thread_scratch,
                  run.threads,
                  [&](const ResultTile& tile, int) { finish_tile(run, layer, tile, to); });
}

LinearTargets targets_of(const Execution& run, const CompiledStep& step) {
  float* z = step.z == step.value ? nullptr : run.buffer(step.z);
  LinearTargets to{run.buffer(step.value), z, run.buffer(step.zp), run.buffer(step.zn)};
  if (step.total < 0) return to;
  const CompiledStep& sum = run.step(step.total);
  for (int input : sum.step.inputs)
    if (&run.step(input) != &step) to.other = run.value(input);
  to.total = run.buffer(sum.value);
  if (replacing(run, sum)) to.total_tail = Tail::relu;
  return to;
}

void forward_linear(const Execution& run, const CompiledStep& step) {
  const Linear& layer = *step.linear;
  LinearTargets to = targets_of(run, step);
  if (layer.plain) {
    const bool same_weights = layer.traits->weights != RuleTraits::Weights::reweighted;
    LinearTargets plain = to;
    plain.zp = plain.zn = nullptr;
    (same_weights ? to : plain).z = nullptr;
    run_product(run, step, *layer.plain, plain);
    to.y = to.total = nullptr;
  }
  run_product(run, step, layer.forward, to);
}

void forward_pool(const Execution& run, const CompiledStep& step) {
  const Pool& pool = *step.pool;
  const bool max = step.step.kind == StepKind::max_pool;
  const std::int64_t channels = step.step.channels, out_row = pool.out[1] * channels;
  const std::int64_t source = pool.source[0] * pool.source[1] * channels;
  const float* x = run.value(step.step.inputs[0]);
  float* y = run.buffer(step.value);
  auto* winner = reinterpret_cast<std::int32_t*>(run.buffer(step.winner));
  parallel_for(threads_for_values(run.n * source, run.threads), run.n * pool.out[0],
               [&](std::int64_t item, int) {
                 const std::int64_t image = item / pool.out[0], row = item % pool.out[0];
                 PoolArgs args{};
                 args.x = x + image * source;
                 args.channels = channels;
                 args.source_width = pool.source[1];
                 args.out_width = pool.out[1];
                 args.y0 = row;
                 args.y1 = row + 1;
                 args.y_taps = pool.y.view();
                 args.x_taps = pool.x.view();
                 args.inverse_count = pool.inverse_count.data();
                 args.y = y + item * out_row;
                 args.winner = winner ? winner + item * out_row : nullptr;
                 (max ? run.kernels.max_pool : run.kernels.average_pool)(args);
               });
}

// The activation behind it comes while a part of the sum is in L1 (ResNet-50, epsilon: 0.94
// of the time).
void forward_add(const Execution& run, int i, const CompiledStep& step) {
  float* y = run.buffer(step.value);
  const auto& inputs = step.step.inputs;
  for (int input : inputs)
    if (run.step(input).total == i) return;  // it is made
  const Activation* activation = replacing(run, step);
  for_blocks(run, run.n * step.step.size, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; at += kPart) {
      const std::int64_t n = std::min(kPart, end - at);
      const float* sum = run.value(inputs[0]) + at;
      for (std::size_t k = 1; k < inputs.size(); ++k) {
        run.kernels.add({sum, run.value(inputs[k]) + at, y + at, n});
        sum = y + at;
      }
      if (activation) apply_function(*activation, y + at, y + at, n);
    }
  });
}

void forward_scale_shift(const Execution& run, const CompiledStep& step) {
  const float* x = run.value(step.step.inputs[0]);
  float* y = run.buffer(step.value);
  const std::int64_t size = step.step.size;
  const std::int64_t channels = step.per_channel ? step.step.channels : size;
  parallel_for(threads_for_values(run.n * size, run.threads), run.n, [&](std::int64_t i, int) {
    ScaleShiftArgs args{};
    args.x = x + i * size;
    args.scale = step.scale.size() ? step.scale.data() : nullptr;
    args.shift = step.shift.size() ? step.shift.data() : nullptr;
    args.y = y + i * size;
    args.pixels = size / channels;
    args.channels = channels;
    run.kernels.scale_shift(args);
  });
}

void forward_activation(const Execution& run, const CompiledStep& step) {
  const Node& node = run.plan.nodes[static_cast<std::size_t>(step.step.node)];
  const auto& activation = std::get<Activation>(node.op);
  const float* x = run.value(step.step.inputs[0]);
  float* y = run.buffer(step.value);
  if (x == y) return;  // done with the sum
  for_blocks(run, run.n * step.step.size, [&](std::int64_t begin, std::int64_t end) {
    apply_function(activation, x + begin, y + begin, end - begin);
  });
}

void forward_transpose(const Execution& run, const CompiledStep& step) {
  const float* x = run.value(step.step.inputs[0]);
  float* y = run.buffer(step.value);
  const std::int64_t size = step.step.size;
  parallel_for(threads_for_values(run.n * size, run.threads), run.n, [&](std::int64_t i, int) {
    run.kernels.transpose({x + i * size, y + i * size, step.step.rows, step.step.columns});
  });
}

// Concat and pad: the inputs are placed in the output, what they leave free holds `value`.
void forward_place(const Execution& run, const CompiledStep& step) {
  const Node& node = run.plan.nodes[static_cast<std::size_t>(step.step.node)];
  const auto* pad = std::get_if<Pad>(&node.op);
  const auto origins = input_origins(run.plan.nodes, node);
  float* y = run.buffer(step.value);
  const std::int64_t size = step.step.size;
  if (pad) std::fill(y, y + run.n * size, pad->value);
  parallel_for(threads_for_values(run.n * size, run.threads), run.n, [&](std::int64_t i, int) {
    for (std::size_t k = 0; k < origins.size(); ++k) {
      const Shape& from = run.plan.nodes[static_cast<std::size_t>(node.inputs[k])].shape;
      const float* x = run.value(step.step.inputs[k]) + i * size_of(from);
      for_runs(from, node.shape, origins[k],
               [&](std::int64_t source, std::int64_t target, std::int64_t count) {
                 std::memcpy(y + i * size + target, x + source,
                             static_cast<std::size_t>(count) * sizeof(float));
               });
    }
  });
}

void softmax_row_major(const Shape& shape, std::int64_t axis, float* y) {
  std::int64_t inner = 1, outer = 1;
  for (std::size_t k = 0; k < shape.size(); ++k)
    (static_cast<std::int64_t>(k) < axis    ? outer
     : static_cast<std::int64_t>(k) == axis ? outer
                                            : inner) *=
        static_cast<std::int64_t>(k) == axis ? 1 : shape[k];
  const std::int64_t count = shape[static_cast<std::size_t>(axis)];
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t i = 0; i < inner; ++i) {
      float* row = y + o * count * inner + i;
      float largest = row[0];
      for (std::int64_t k = 1; k < count; ++k) largest = std::max(largest, row[k * inner]);
      double sum = 0;
      for (std::int64_t k = 0; k < count; ++k) sum += std::exp(double(row[k * inner]) - largest);
      for (std::int64_t k = 0; k < count; ++k)
        row[k * inner] = static_cast<float>(std::exp(double(row[k * inner]) - largest) / sum);
    }
}

}  // namespace

void run_forward(const Execution& run, const float* x) {
  for (std::size_t i = 0; i < run.plan.steps.size(); ++i) {
    const CompiledStep& step = run.plan.steps[i];
    const StepTimer timer(run, static_cast<int>(i), &LayerSeconds::forward);
    switch (step.step.kind) {
      case StepKind::input:
        enter_layout(run, run.plan.nodes[0].shape, x, run.buffer(step.value));
        break;
      case StepKind::linear: forward_linear(run, step); break;
      case StepKind::average_pool:
      case StepKind::max_pool: forward_pool(run, step); break;
      case StepKind::add: forward_add(run, static_cast<int>(i), step); break;
      case StepKind::concat:
      case StepKind::pad: forward_place(run, step); break;
      case StepKind::activation: forward_activation(run, step); break;
      case StepKind::scale_shift: forward_scale_shift(run, step); break;
      case StepKind::gather: forward_gather(run, step); break;
      case StepKind::resample: forward_resample(run, step); break;
      case StepKind::layer_norm: forward_layer_norm(run, step); break;
      case StepKind::product: forward_product(run, step); break;
      case StepKind::transpose: forward_transpose(run, step); break;
    }
  }
}

void write_output(const Execution& run, float* y) {
  const Shape& shape = run.plan.start_shape();
  leave_layout(run, shape, run.buffer(run.plan.steps.back().value), y, size_of(shape));
  if (run.plan.softmax < 0) return;
  const auto& softmax =
      std::get<Softmax>(run.plan.nodes[static_cast<std::size_t>(run.plan.softmax)].op);
  for (std::int64_t i = 0; i < run.n; ++i)
    softmax_row_major(shape, softmax.axis, y + i * size_of(shape));
}

}  // namespace relprop
