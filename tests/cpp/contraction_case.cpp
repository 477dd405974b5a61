#include "contraction_case.h"

#include <algorithm>
#include <cstdlib>

#include "check.h"

namespace relprop::test {
namespace {

constexpr float kCanary = -12345.5f;
constexpr std::int64_t kMargin = 64;

const char* const kModeNames[kModes] = {"plain", "split_product", "split_weight", "blend",
                                        "blend_both"};

// Arrays of results with a margin on either side that must stay untouched.
struct Guarded {
  std::vector<float> data;
  explicit Guarded(std::int64_t n) : data(static_cast<std::size_t>(n + 2 * kMargin), kCanary) {}
  float* get() { return data.data() + kMargin; }
  std::vector<float> take() {
    const auto untouched = [](float v) { return v == kCanary; };
    CHECK(std::all_of(data.begin(), data.begin() + kMargin, untouched));
    CHECK(std::all_of(data.end() - kMargin, data.end(), untouched));
    return {data.begin() + kMargin, data.end() - kMargin};
  }
};

struct Results {
  Guarded first, second, sum;
  explicit Results(std::int64_t n) : first(n), second(n), sum(n) {}
  Sums take() { return {first.take(), second.take(), sum.take()}; }
};

void copy_sums(Mode mode, const Sums& from, std::int64_t i, std::int64_t n, Sums& to,
               std::int64_t at) {
  std::copy_n(from.first.begin() + i, n, to.first.begin() + at);
  if (has_second(mode)) std::copy_n(from.second.begin() + i, n, to.second.begin() + at);
  if (has_sum(mode)) std::copy_n(from.sum.begin() + i, n, to.sum.begin() + at);
}

float make_value(Random& random, Fill fill) {
  if (random.unit() >= fill.density) return 0.0f;
  if (fill.integers) {
    const float v = static_cast<float>(1 + random.below(7));
    return fill.nonnegative || random.below(2) == 0 ? v : -v;
  }
  const float v = random.unit() + 0x1p-20f;
  return fill.nonnegative || random.below(2) == 0 ? v : -v;
}

std::vector<float> make_values(Random& random, std::int64_t n, Fill fill) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& v : values) v = make_value(random, fill);
  return values;
}

std::int64_t out_extent(const Geometry& g, std::int64_t size) {
  const std::int64_t reach = (g.kernel - 1) * g.dilation + 1;
  return g.transposed ? (size - 1) * g.stride + reach - 2 * g.pad
                      : (size + 2 * g.pad - reach) / g.stride + 1;
}

TapTable make_taps(const Geometry& g, std::int64_t outputs, std::int64_t sources) {
  if (!g.transposed) return window_taps(outputs, sources, g.kernel, g.stride, g.dilation, g.pad);
  return transposed(window_taps(sources, outputs, g.kernel, g.stride, g.dilation, g.pad), outputs);
}

struct Lists {
  std::vector<float> value;
  std::vector<std::uint8_t> index;
  std::vector<std::uint32_t> begin;
  int kinds;
  std::int64_t points, values;  // of a row; floats of an entry
  std::int64_t row_entries, row_begins;

  // Where group g's lists begin, in the entries and the begins of a row.
  void point_at_group(const Geometry& s, std::int64_t g, SkipArgs& args) const {
    const std::int64_t blocks = (s.channels + kListBlock - 1) / kListBlock;
    args.row_entries = row_entries;
    args.row_begins = row_begins;
    args.points = points;
    args.kinds = kinds;
    args.value = value.data() + values * points * g * s.channels;
    args.index = index.data() + points * g * s.channels;
    args.begin = begin.data() + g * blocks * (points * kinds + 1);
  }
};

bool by_sign(const Case& c) { return c.mode == Mode::split_product && !c.fill.nonnegative; }

// Last row first: one that is written past its end would spoil the row behind it. Every row takes
// two calls.
Lists make_lists(const Case& c, const Kernels& kernels, bool pairs) {
  const Geometry& s = c.shape;
  const std::int64_t blocks = (s.channels + kListBlock - 1) / kListBlock;
  const std::int64_t of_point = pairs ? 2 : 1;
  Lists lists;
  lists.kinds = by_sign(c) ? 2 : 1;
  lists.points = (s.width + of_point - 1) / of_point;
  lists.values = (reads_b(c.mode) ? 2 : 1) * of_point;
  lists.row_entries = lists.points * c.sources();
  lists.row_begins = s.groups * blocks * (lists.points * lists.kinds + 1);
  lists.value.resize(static_cast<std::size_t>(s.height * lists.row_entries * lists.values));
  lists.index.resize(static_cast<std::size_t>(s.height * lists.row_entries));
  lists.begin.resize(static_cast<std::size_t>(s.height * lists.row_begins));
  for (std::int64_t y = s.height - 1; y >= 0; --y) {
    ListArgs args{};
    args.pairs = pairs;
    args.width = lists.points;
    args.groups = s.groups;
    args.channels = s.channels;
    args.by_sign = lists.kinds == 2;
    args.value = lists.value.data() + y * lists.row_entries * lists.values;
    args.index = lists.index.data() + y * lists.row_entries;
    args.begin = lists.begin.data() + y * lists.row_begins;
    for (std::int64_t x : {std::int64_t{0}, lists.points / 2}) {
      args.x0 = x;
      args.x1 = x == 0 && lists.points > 1 ? lists.points / 2 : lists.points;
      args.pixels = std::min(args.x1 * of_point, s.width) - x * of_point;
      const std::int64_t at = (y * s.width + x * of_point) * c.sources();
      args.a = c.a.data() + at;
      args.b = c.b.empty() ? nullptr : c.b.data() + at;
      kernels.list(args);
    }
  }
  return lists;
}

// A tile is written densely, channels of the tile only, and copied into place from there.
void skip_tile(const Case& c, const Kernels& kernels, SkipArgs args, std::int64_t group,
               Sums& sums) {
  const std::int64_t width = args.m1 - args.m0, columns = args.x1 - args.x0;
  const std::int64_t pixels = (args.y1 - args.y0) * columns;
  args.out_stride =
      (width + kernels.vector_width - 1) / kernels.vector_width * kernels.vector_width;
  Results results(pixels * args.out_stride);
  args.first = results.first.get() - args.m0;
  args.second = has_second(c.mode) ? results.second.get() - args.m0 : nullptr;
  args.sum = has_sum(c.mode) ? results.sum.get() - args.m0 : nullptr;
  kernels.skip[static_cast<int>(c.mode)](args);
  const Sums tile = results.take();
  for (std::int64_t i = 0; i < pixels; ++i) {
    const std::int64_t y = args.y0 + i / columns, x = args.x0 + i % columns;
    const std::int64_t at = (y * c.out_width + x) * c.results() + group * c.shape.outputs + args.m0;
    copy_sums(c.mode, tile, i * args.out_stride, width, sums, at);
  }
}

AxisTaps no_taps() { return {nullptr, nullptr, nullptr}; }

Sums empty_sums(const Case& c) {
  const std::size_t n = static_cast<std::size_t>(c.out_pixels() * c.results());
  return {std::vector<float>(n), std::vector<float>(has_second(c.mode) ? n : 0),
          std::vector<float>(has_sum(c.mode) ? n : 0)};
}

double positive(double v) { return v < 0 ? 0 : v; }  // keeps NaN
double negative(double v) { return v > 0 ? 0 : v; }

}  // namespace

std::uint64_t Random::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Case::Case(const Geometry& geometry, Mode m, Fill f, std::uint64_t seed)
    : shape(geometry), mode(m), fill(f) {
  out_height = out_extent(shape, shape.height);
  out_width = out_extent(shape, shape.width);
  if (shape.pointwise) {  // one row of pixels
    out_width *= out_height;
    out_height = 1;
    shape.width *= shape.height;
    shape.height = 1;
  }
  y = make_taps(shape, out_height, shape.height);
  x = make_taps(shape, out_width, shape.width);
  Random random(seed);
  const std::int64_t values = shape.height * shape.width * sources();
  a = make_values(random, values, fill);
  if (reads_b(mode)) b = make_values(random, values, fill);
  weight = make_values(random, results() * shape.channels * taps(), {0.9, fill.integers, false});
}

WeightView Case::view() const {
  WeightView v{};
  v.data = weight.data();
  v.groups = shape.groups;
  v.outputs = shape.outputs;
  v.channels = shape.channels;
  v.taps = taps();
  v.tap_stride = 1;
  v.channel_stride = v.taps;
  v.output_stride = v.channels * v.taps;
  v.group_stride = v.outputs * v.output_stride;
  return v;
}

std::string Case::name() const {
  const Geometry& s = shape;
  char text[240];
  std::snprintf(
      text, sizeof text,
      "%s groups %lld channels %lld outputs %lld source %lldx%lld kernel %lld stride %lld "
      "dilation %lld pad %lld%s%s density %g%s%s",
      kModeNames[static_cast<int>(mode)], static_cast<long long>(s.groups),
      static_cast<long long>(s.channels), static_cast<long long>(s.outputs),
      static_cast<long long>(s.height), static_cast<long long>(s.width),
      static_cast<long long>(s.kernel), static_cast<long long>(s.stride),
      static_cast<long long>(s.dilation), static_cast<long long>(s.pad),
      s.transposed ? " transposed" : "", s.pointwise ? " pointwise" : "", fill.density,
      fill.integers ? " integers" : "", fill.nonnegative ? " nonnegative" : "");
  return text;
}

Sums by_definition(const Case& c) {
  const Geometry& s = c.shape;
  const WeightView w = c.view();
  Sums sums = empty_sums(c);
  for (std::int64_t p = 0; p < c.out_pixels(); ++p)
    for (std::int64_t j = 0; j < c.results(); ++j) {
      const std::int64_t oy = p / c.out_width, ox = p % c.out_width, g = j / s.outputs;
      double first = 0, second = 0;
      for (std::int32_t i = c.y.begin[oy]; i < c.y.begin[oy + 1]; ++i)
        for (std::int32_t k = c.x.begin[ox]; k < c.x.begin[ox + 1]; ++k)
          for (std::int64_t channel = 0; channel < s.channels; ++channel) {
            const std::int64_t at =
                (c.y.source[i] * s.width + c.x.source[k]) * c.sources() + g * s.channels + channel;
            const double v = w.at(g, j % s.outputs, channel, c.y.tap[i] * s.kernel + c.x.tap[k]);
            const double a = c.a[at], b = c.b.empty() ? 0 : c.b[at];
            switch (c.mode) {
              case Mode::plain: first += v * a; break;
              case Mode::split_product:
                first += positive(v * a);
                second += negative(v * a);
                break;
              case Mode::split_weight:
                first += positive(v) * a;
                second += negative(v) * a;
                break;
              case Mode::blend: first += v * (v >= 0 ? a : b); break;
              case Mode::blend_both:
                first += v * (v >= 0 ? a : b);
                second += v * (v >= 0 ? b : a);
                break;
            }
          }
      sums.first[p * c.results() + j] = static_cast<float>(first);
      if (has_second(c.mode)) sums.second[p * c.results() + j] = static_cast<float>(second);
      if (has_sum(c.mode)) sums.sum[p * c.results() + j] = static_cast<float>(first + second);
    }
  return sums;
}

Sums by_skip(const Case& c, const Kernels& kernels, Tile tile, bool whole, bool may_pair) {
  const Geometry& s = c.shape;
  const SlidingColumns sliding = s.pointwise || whole || by_sign(c)
                                     ? SlidingColumns{}
                                     : sliding_columns(c.x, s.kernel, s.width);
  const bool pairs = sliding.valid && kernels.lists_pairs && may_pair;
  const Lists lists = make_lists(c, kernels, pairs);
  const TapTable x = sliding.valid ? in_sliding_order(c.x, sliding) : c.x;
  const SkipWeights packed = pack_skip(c.view(), c.mode, whole, s.kernel, sliding, kernels);
  const std::int64_t rows = tile.rows ? tile.rows : c.out_height;
  const std::int64_t columns = tile.columns ? tile.columns : c.out_width;
  const std::int64_t outputs = tile.outputs ? tile.outputs : s.outputs;
  Sums sums = empty_sums(c);
  SkipArgs args{};
  args.whole = whole;
  args.lanes = packed.lanes;
  args.sliding = sliding.valid;
  args.pairs = pairs;
  args.sliding_offset = sliding.offset;
  args.channels = args.k1 = s.channels;
  args.source_width = s.width;
  args.kernel_height = args.kernel_width = s.kernel;
  args.y = s.pointwise ? no_taps() : c.y.view();
  args.x = s.pointwise ? no_taps() : x.view();
  args.outputs = s.outputs;
  for (std::int64_t g = 0; g < s.groups; ++g) {
    lists.point_at_group(s, g, args);
    args.weight = packed.data.data() + g * packed.group_stride;
    for (args.y0 = 0; args.y0 < c.out_height; args.y0 += rows)
      for (args.x0 = 0; args.x0 < c.out_width; args.x0 += columns)
        for (args.m0 = 0; args.m0 < s.outputs; args.m0 += outputs) {
          args.y1 = std::min(args.y0 + rows, c.out_height);
          args.x1 = std::min(args.x0 + columns, c.out_width);
          args.m1 = std::min(args.m0 + outputs, s.outputs);
          skip_tile(c, kernels, args, g, sums);
        }
  }
  return sums;
}

Sums by_partition(const Case& c, const Kernels& kernels, std::int64_t step, std::int64_t outputs) {
  const Geometry& s = c.shape;
  const PartitionWeights packed = pack_partition(c.view(), c.mode, c.fill.nonnegative);
  const AlignedFloats scratch(partition_scratch(s.outputs, kernels.panel_lanes));
  const auto rows = tap_sources(c.y, s.kernel, s.width * c.sources());
  const auto columns = tap_sources(c.x, s.kernel, c.sources());
  const std::int64_t n = step ? step : kernels.panel_lanes;
  const std::int64_t block = outputs ? outputs : s.outputs;
  Sums sums = empty_sums(c);
  for (std::int64_t g = 0; g < s.groups; ++g) {
    const auto& weights = packed[static_cast<std::size_t>(g)];
    for (std::int64_t p0 = 0; p0 < c.out_pixels(); p0 += n)
      for (std::int64_t m0 = 0; m0 < s.outputs; m0 += block) {
        PartitionArgs args{};
        args.a = c.a.data() + g * s.channels;
        args.b = c.b.empty() ? nullptr : c.b.data() + g * s.channels;
        args.source_stride = c.sources();
        args.channels = s.channels;
        args.nonnegative = c.fill.nonnegative;
        args.kernel_height = args.kernel_width = s.kernel;
        args.row_source = s.pointwise ? nullptr : rows.data();
        args.column_source = s.pointwise ? nullptr : columns.data();
        args.out_height = c.out_height;
        args.out_width = c.out_width;
        args.p0 = p0;
        args.count = std::min(n, c.out_pixels() - p0);
        args.row = weights.row.data();
        args.weight = weights.weight.data();
        args.group = weights.group.data();
        args.pairs = (s.outputs + 1) / 2;
        args.m0 = m0;
        args.outputs = std::min(block, s.outputs - m0);
        Results results(args.count * args.outputs);
        args.first = results.first.get();
        args.second = has_second(c.mode) ? results.second.get() : nullptr;
        args.sum = has_sum(c.mode) ? results.sum.get() : nullptr;
        args.out_stride = args.outputs;
        args.scratch = const_cast<float*>(scratch.data());
        kernels.partition[static_cast<int>(c.mode)](args);
        const Sums tile = results.take();
        for (std::int64_t i = 0; i < args.count; ++i)
          copy_sums(c.mode, tile, i * args.outputs, args.outputs, sums,
                    (p0 + i) * c.results() + g * s.outputs + m0);
      }
  }
  return sums;
}

Planes planes_of(const Case& c, const Kernels& kernels) {
  constexpr std::int64_t kMostRows = 64;
  const Geometry& s = c.shape;
  return make_planes({c.y, s.kernel, s.height}, {c.x, s.kernel, s.width}, 2 * s.channels, kMostRows,
                     kernels.vector_width);
}

AlignedFloats planar_memory(const Case& c, const Planes& planes, const Kernels& kernels) {
  const Geometry& s = c.shape;
  return AlignedFloats(planar_scratch(s.channels, s.kernel, planes.reach, planes.width,
                                      planes.floats(), s.outputs, kernels.panel_lanes));
}

PlanarArgs planar_args(const Case& c, const Planes& planes, const PlanarWeights& weights,
                       std::int64_t g, std::int64_t y0, std::int64_t rows, float* scratch) {
  const Geometry& s = c.shape;
  const auto& mine = weights[static_cast<std::size_t>(g)];
  PlanarArgs args{};
  args.a = c.a.data() + g * s.channels;
  args.b = c.b.empty() ? nullptr : c.b.data() + g * s.channels;
  args.source_stride = c.sources();
  args.channels = s.channels;
  args.nonnegative = c.fill.nonnegative;
  args.source_height = s.height;
  args.source_width = s.width;
  args.row0 = y0 + planes.row;
  args.column_shift = planes.column_shift.data();
  args.kernel_width = s.kernel;
  args.rows = std::min(rows, c.out_height - y0);
  args.plane_rows = planes.height - planes.rows + args.rows;
  args.plane_width = planes.width;
  args.plane_floats = planes.floats();
  args.out_width = c.out_width;
  args.offset = mine.row.data();
  args.weight = mine.weight.data();
  args.group = mine.group.data();
  args.outputs = args.out_stride = s.outputs;
  args.scratch = scratch;
  return args;
}

Sums by_planar(const Case& c, const Kernels& kernels, std::int64_t rows) {
  const Geometry& s = c.shape;
  const Planes planes = planes_of(c, kernels);
  const PlanarWeights packed = pack_planar(c.view(), planes);
  const std::int64_t step = rows ? rows : planes.rows;
  AlignedFloats scratch = planar_memory(c, planes, kernels);
  Sums sums = empty_sums(c);
  for (std::int64_t g = 0; g < s.groups; ++g)
    for (std::int64_t y0 = 0; y0 < c.out_height; y0 += step) {
      PlanarArgs args = planar_args(c, planes, packed, g, y0, step, scratch.data());
      Results results(args.rows * args.out_width * s.outputs);
      args.first = results.first.get();
      args.second = has_second(c.mode) ? results.second.get() : nullptr;
      args.sum = has_sum(c.mode) ? results.sum.get() : nullptr;
      kernels.planar[static_cast<int>(c.mode)](args);
      const Sums tile = results.take();
      for (std::int64_t i = 0; i < args.rows * args.out_width; ++i)
        copy_sums(c.mode, tile, i * s.outputs, s.outputs, sums,
                  (y0 * c.out_width + i) * c.results() + g * s.outputs);
    }
  return sums;
}

Sums by_dense(const Case& c, const Kernels& kernels, std::int64_t pixels, std::int64_t outputs) {
  const Geometry& s = c.shape;
  const DenseWeights packed = pack_dense(c.view(), kernels);
  const auto rows = tap_sources(c.y, s.kernel, s.width * c.sources());
  const auto columns = tap_sources(c.x, s.kernel, c.sources());
  const std::int64_t step = pixels ? pixels : c.out_pixels();
  const std::int64_t block = outputs ? outputs : std::max<std::int64_t>(s.outputs, 1);
  Sums sums = empty_sums(c);
  for (std::int64_t g = 0; g < s.groups; ++g)
    for (std::int64_t p0 = 0; p0 < c.out_pixels(); p0 += step)
      for (std::int64_t m0 = 0; m0 < s.outputs; m0 += block) {
        DenseArgs args{};
        args.a = c.a.data() + g * s.channels;
        args.source_stride = c.sources();
        args.channels = s.channels;
        args.rows = c.taps() * s.channels;
        args.kernel_width = s.kernel;
        args.row_source = s.pointwise ? nullptr : rows.data();
        args.column_source = s.pointwise ? nullptr : columns.data();
        args.out_height = c.out_height;
        args.out_width = c.out_width;
        args.p0 = p0;
        args.count = std::min(step, c.out_pixels() - p0);
        args.weight = packed.data.data() + g * packed.group_stride;
        args.m0 = m0;
        args.m1 = std::min(m0 + block, s.outputs);
        const std::int64_t width = args.m1 - m0;
        args.out_stride =
            (width + kernels.vector_width - 1) / kernels.vector_width * kernels.vector_width;
        Results results(args.count * args.out_stride);
        args.out = results.first.get() - m0;
        kernels.dense(args);
        const Sums tile = results.take();
        for (std::int64_t i = 0; i < args.count; ++i)
          copy_sums(c.mode, tile, i * args.out_stride, width, sums,
                    (p0 + i) * c.results() + g * s.outputs + m0);
      }
  return sums;
}

Sums by_matrix(const Case& c, const Kernels& kernels, std::int64_t pixels, std::int64_t outputs) {
  const Geometry& s = c.shape;
  const MatrixWeights packed = pack_matrix(c.view());
  const auto rows = tap_sources(c.y, s.kernel, s.width * c.sources());
  const auto columns = tap_sources(c.x, s.kernel, c.sources());
  const std::int64_t step = pixels ? pixels : kMatrixPixels;
  const std::int64_t block = outputs ? outputs : round_up(s.outputs, kMatrixPair);
  AlignedFloats scratch(matrix_scratch());
  Sums sums = empty_sums(c);
  for (std::int64_t g = 0; g < s.groups; ++g)
    for (std::int64_t p0 = 0; p0 < c.out_pixels(); p0 += step)
      for (std::int64_t m0 = 0; m0 < s.outputs; m0 += block) {
        MatrixArgs args{};
        args.a = c.a.data() + g * s.channels;
        args.b = c.b.empty() ? nullptr : c.b.data() + g * s.channels;
        args.source_stride = c.sources();
        args.channels = s.channels;
        args.nonnegative = c.fill.nonnegative;
        args.rows = c.taps() * s.channels;
        args.kernel_width = s.kernel;
        args.row_source = s.pointwise ? nullptr : rows.data();
        args.column_source = s.pointwise ? nullptr : columns.data();
        args.out_height = c.out_height;
        args.out_width = c.out_width;
        args.p0 = p0;
        args.count = std::min(step, c.out_pixels() - p0);
        args.weight = packed.group(g);
        args.all_outputs = s.outputs;
        args.m0 = m0;
        args.outputs = std::min(block, s.outputs - m0);
        args.out_stride =
            std::min(block, round_up(s.outputs, kMatrixSide) - m0 / kMatrixSide * kMatrixSide);
        Results results(round_up(args.count, kMatrixSide) * args.out_stride);
        args.first = results.first.get();
        args.second = has_second(c.mode) ? results.second.get() : nullptr;
        args.sum = has_sum(c.mode) ? results.sum.get() : nullptr;
        args.scratch = scratch.data();
        kernels.matrix[static_cast<int>(c.mode)](args);
        const Sums tile = results.take();
        for (std::int64_t i = 0; i < args.count; ++i)
          copy_sums(c.mode, tile, i * args.out_stride, args.outputs, sums,
                    (p0 + i) * c.results() + g * s.outputs + m0);
      }
  return sums;
}

// Not for split_product, whose third sum is not folded.
Sums by_fold(const Case& c, const Kernels& kernels, std::int64_t rows) {
  const Geometry& s = c.shape;
  const Lists lists = make_lists(c, kernels, false);
  const SkipWeights packed = pack_fold(c.view(), c.mode, kernels);
  const std::int64_t step = rows ? rows : c.out_height, lanes = c.taps() * s.outputs;
  const PhaseShifts phases = phase_shifts(c.x, s.kernel, s.width);
  Sums sums = empty_sums(c);
  SkipArgs args{};
  args.lanes = packed.lanes;
  args.channels = args.k1 = s.channels;
  args.source_width = args.x1 = s.width;
  args.kernel_height = args.kernel_width = 1;
  args.y1 = s.height;
  args.outputs = args.m1 = lanes;
  args.out_stride =
      (lanes + kernels.vector_width - 1) / kernels.vector_width * kernels.vector_width;
  for (std::int64_t g = 0; g < s.groups; ++g) {
    lists.point_at_group(s, g, args);
    args.weight = packed.data.data() + g * packed.group_stride;
    Results by_tap(s.height * s.width * args.out_stride);
    args.first = by_tap.first.get();
    args.second = has_second(c.mode) ? by_tap.second.get() : nullptr;
    kernels.skip[static_cast<int>(c.mode)](args);
    for (std::int64_t y0 = 0; y0 < c.out_height; y0 += step) {
      const std::int64_t y1 = std::min(y0 + step, c.out_height), pixels = (y1 - y0) * c.out_width;
      Results results(pixels * s.outputs);
      FoldArgs fold{};
      fold.taps = args.first;
      fold.row1 = s.height;
      fold.source_width = s.width;
      fold.stride = args.out_stride;
      fold.outputs = s.outputs;
      fold.kernel_height = fold.kernel_width = s.kernel;
      fold.y = c.y.view();
      fold.x = c.x.view();
      fold.out_width = c.out_width;
      fold.y0 = y0;
      fold.y1 = y1;
      fold.out = results.first.get();
      fold.shift = phases.shift.empty() ? nullptr : phases.shift.data();
      fold.period = phases.period;
      fold.plane_margin = phases.most;
      fold.plane_width =
          fold_plane_width(s.width, c.out_width, phases.period, phases.most, kernels.vector_width);
      Guarded planes(s.height * lanes * fold.plane_width);
      fold.planes = planes.get();
      kernels.fold(fold);
      fold.taps = args.second;
      fold.out = results.second.get();
      if (has_second(c.mode)) kernels.fold(fold);
      const Sums tile = results.take();
      for (std::int64_t i = 0; i < pixels; ++i)
        copy_sums(c.mode, tile, i * s.outputs, s.outputs, sums,
                  (y0 * c.out_width + i) * c.results() + g * s.outputs);
    }
  }
  return sums;
}

ScatterPlaces scatter_of(const Case& c, const Kernels& kernels) {
  const Geometry& s = c.shape;
  if (s.groups != 1 || s.pointwise || c.depthwise()) return {};
  return scatter_places({c.y, c.x, s.kernel, s.kernel, s.height, s.width, s.channels, s.outputs},
                        c.mode, kernels.vector_width);
}

Sums by_scatter(const Case& c, const Kernels& kernels, std::int64_t rows) {
  const Geometry& s = c.shape;
  const ScatterPlaces places = scatter_of(c, kernels);
  const AlignedFloats packed = pack_scatter(c.view(), c.mode, s.kernel, kernels.vector_width);
  const std::int64_t step = rows ? rows : c.out_height;
  Sums sums = empty_sums(c);
  for (std::int64_t y0 = 0; y0 < c.out_height; y0 += step) {
    ScatterArgs args = places.args();
    args.a = c.a.data();
    args.b = c.b.empty() ? nullptr : c.b.data();
    args.source_row = s.width * s.channels;
    args.kernel_height = s.kernel;
    args.weight = packed.data();
    args.out_width = c.out_width;
    args.outputs = s.outputs;
    args.y0 = y0;
    args.y1 = std::min(y0 + step, c.out_height);
    const SourceSpan span = source_span(c.y, args.y0, args.y1);
    args.source_y0 = span.first;
    args.source_y1 = span.end;
    const std::int64_t values = (args.y1 - y0) * c.out_width * s.outputs;
    Results results(values);
    Guarded scratch(scatter_scratch(s.kernel, places.ring_floats(), c.out_width, s.outputs));
    args.first = results.first.get();
    args.second = has_second(c.mode) ? results.second.get() : nullptr;
    args.scratch = scratch.get();
    kernels.scatter[static_cast<int>(c.mode)](args);
    scratch.take();
    copy_sums(c.mode, results.take(), 0, values, sums, y0 * c.out_width * s.outputs);
  }
  return sums;
}

Sums by_narrow(const Case& c, const Kernels& kernels, std::int64_t rows) {
  const Geometry& s = c.shape;
  const AlignedFloats packed = pack_narrow(c.view());
  const std::int64_t step = rows ? rows : c.out_height;
  Sums sums = empty_sums(c);
  for (std::int64_t g = 0; g < s.groups; ++g)
    for (std::int64_t y0 = 0; y0 < c.out_height; y0 += step) {
      NarrowArgs args{};
      args.a = c.a.data() + g * s.channels;
      args.b = c.b.empty() ? nullptr : c.b.data() + g * s.channels;
      args.source_stride = c.sources();
      args.source_width = s.width;
      args.channels = s.channels;
      args.kernel_width = s.kernel;
      args.y = c.y.view();
      args.x = c.x.view();
      args.out_width = c.out_width;
      args.y0 = y0;
      args.y1 = std::min(y0 + step, c.out_height);
      args.weight = packed.data() + g * c.taps() * s.outputs * s.channels;
      args.outputs = s.outputs;
      const AlikeOutputs columns = alike_outputs(c.x, kAlikePixels);
      args.alike = columns.alike.data();
      args.period = columns.period;
      std::vector<PixelTap> taps(static_cast<std::size_t>(c.taps()));
      args.tap = taps.data();
      const std::int64_t pixels = (args.y1 - args.y0) * c.out_width;
      Results results(pixels * s.outputs);
      args.first = results.first.get();
      args.second = has_second(c.mode) ? results.second.get() : nullptr;
      args.sum = has_sum(c.mode) ? results.sum.get() : nullptr;
      kernels.narrow[static_cast<int>(c.mode)](args);
      const Sums tile = results.take();
      for (std::int64_t i = 0; i < pixels; ++i)
        copy_sums(c.mode, tile, i * s.outputs, s.outputs, sums,
                  (y0 * c.out_width + i) * c.results() + g * s.outputs);
    }
  return sums;
}

Sums by_depthwise(const Case& c, const Kernels& kernels, std::int64_t rows) {
  const AlignedFloats packed = pack_depthwise(c.view(), c.mode, kernels.vector_width);
  const std::vector<float> weight(packed.data(), packed.data() + packed.size());
  const std::int64_t step = rows ? rows : c.out_height, row = c.out_width * c.results();
  Sums sums = empty_sums(c);
  for (std::int64_t y0 = 0; y0 < c.out_height; y0 += step) {
    DepthwiseArgs args{};
    args.a = c.a.data();
    args.b = c.b.empty() ? nullptr : c.b.data();
    args.channels = c.results();
    args.nonnegative = c.fill.nonnegative;
    args.taps = c.taps();
    args.source_width = c.shape.width;
    args.kernel_width = c.shape.kernel;
    args.y = c.y.view();
    args.x = c.x.view();
    const AlikeOutputs columns = alike_outputs(c.x, kAlikePixels);
    args.alike = columns.alike.data();
    args.period = columns.period;
    std::vector<PixelTap> taps(static_cast<std::size_t>(c.taps()));
    args.tap = taps.data();
    args.out_width = c.out_width;
    args.y0 = y0;
    args.y1 = std::min(y0 + step, c.out_height);
    args.weight = weight.data();
    const std::int64_t values = (args.y1 - y0) * row;
    Results results(values);
    args.first = results.first.get();
    args.second = has_second(c.mode) ? results.second.get() : nullptr;
    args.sum = has_sum(c.mode) ? results.sum.get() : nullptr;
    kernels.depthwise[static_cast<int>(c.mode)](args);
    copy_sums(c.mode, results.take(), 0, values, sums, y0 * row);
  }
  return sums;
}

}  // namespace relprop::test
