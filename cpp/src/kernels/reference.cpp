// Textbook loops with double accumulation: slow, obvious, and the measure of every other table.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/kernels.h"

namespace relprop::reference {
namespace {

using Int = std::int64_t;

constexpr int kVectorWidth = 4;
constexpr float kSkipBelow[kModes] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
constexpr int kLaneBlock = 16;
constexpr int kWindowLanes = 8;
constexpr int kDenseLanes = 16;
constexpr int kPanelLanes = 16;

double positive(double v) { return v < 0 ? 0 : v; }  // keeps NaN
double negative(double v) { return v > 0 ? 0 : v; }

struct Sums {
  double first = 0, second = 0;
};

// One term of a contraction; the formulas stand beside Mode.
void add_term(Sums& sums, Mode mode, double w, double a, double b) {
  switch (mode) {
    case Mode::plain: sums.first += w * a; return;
    case Mode::split_product:
      sums.first += positive(w * a);
      sums.second += negative(w * a);
      return;
    case Mode::split_weight:
      sums.first += positive(w) * a;
      sums.second += negative(w) * a;
      return;
    case Mode::blend: sums.first += w * (w >= 0 ? a : b); return;
    case Mode::blend_both:
      sums.first += w * (w >= 0 ? a : b);
      sums.second += w * (w >= 0 ? b : a);
      return;
  }
}

// Calls f(tap, source pixel) for everything that output pixel (oy, ox) reads.
template <class F>
void for_taps(const AxisTaps& y, const AxisTaps& x, Int kernel_width, Int source_width, Int oy,
              Int ox, F f) {
  if (x.begin == nullptr) {
    f(Int{0}, ox);
    return;
  }
  for (std::int32_t i = y.begin[oy]; i < y.begin[oy + 1]; ++i)
    for (std::int32_t j = x.begin[ox]; j < x.begin[ox + 1]; ++j)
      f(y.tap[i] * kernel_width + x.tap[j], y.source[i] * source_width + x.source[j]);
}

// Values of an entry: a or (a, b) of a pixel, or of two. to[i] is value i of channel `from`.
int entry_values(const ListArgs& args, Int point, Int channel, float (&to)[4]) {
  const Int of_point = args.pairs ? 2 : 1, all = args.groups * args.channels;
  int count = 0;
  for (Int pixel = point * of_point; pixel < (point + 1) * of_point; ++pixel) {
    const bool there = pixel < args.pixels;
    to[count++] = there ? args.a[pixel * all + channel] : 0;
    if (args.b) to[count++] = there ? args.b[pixel * all + channel] : 0;
  }
  return count;
}

void list(const ListArgs& args) noexcept {
  const Int kinds = args.by_sign ? 2 : 1;
  std::uint32_t* begin = args.begin;
  for (Int g = 0; g < args.groups; ++g)
    for (Int k0 = 0; k0 < args.channels; k0 += kListBlock, begin += args.width * kinds + 1) {
      if (args.x0 == 0) begin[0] = 0;
      const Int first = g * args.channels + k0, room = args.width * first;
      for (Int x = args.x0; x < args.x1; ++x)
        for (Int kind = 0; kind < kinds; ++kind) {
          std::uint32_t at = begin[x * kinds + kind];
          for (Int k = 0; k < kListBlock && k0 + k < args.channels; ++k) {
            float value[4];
            const int values = entry_values(args, x - args.x0, first + k, value);
            const int its_kind = args.by_sign && value[0] < 0 ? 1 : 0;
            if (std::all_of(value, value + values, [](float v) { return v == 0; }) ||
                its_kind != kind)
              continue;
            std::copy(value, value + values, args.value + values * (room + at));
            args.index[room + at++] = static_cast<std::uint8_t>(k);
          }
          begin[x * kinds + kind + 1] = at;
        }
    }
}

// Packed weight of output m, tap t, channel k: see pack_skip.
template <Mode kMode>
float skip_weight(const SkipArgs& args, Int m, Int t, Int k) {
  const Int width = args.kernel_width, taps = args.kernel_height * width;
  const Int m0 = m / args.lanes * args.lanes;
  const Int rest = (args.outputs - m0 + kVectorWidth - 1) / kVectorWidth * kVectorWidth;
  const Int lanes = rest < args.lanes ? rest : args.lanes;
  const Int k0 = k / kListBlock * kListBlock;
  const Int depth = args.channels - k0 < kListBlock ? args.channels - k0 : kListBlock;
  const Int row = (k0 * taps + (t / width * depth + k - k0) * width + t % width) * lanes;
  const Int halves = args.whole ? 1 : weight_halves(kMode);
  const float* w = args.weight + (m0 * args.channels * taps + row) * halves + m - m0;
  return halves == 1 ? w[0] : w[0] + w[lanes];
}

template <Mode kMode>
Sums skip_sums(const SkipArgs& args, Int y, Int x, Int m) {
  Sums sums;
  const auto add_source = [&](Int t, Int row, Int column) {
    const Int of_point = args.pairs ? 2 : 1, own = reads_b(kMode) ? 2 : 1;
    for (Int k = args.k0; k < args.k1; k += kListBlock) {
      const Int room = row * args.row_entries + args.points * k;
      const std::uint32_t* begin = args.begin + row * args.row_begins +
                                   k / kListBlock * (args.points * args.kinds + 1) +
                                   column / of_point * args.kinds;
      for (Int i = room + begin[0]; i < room + begin[args.kinds]; ++i) {
        const float* value = args.value + own * (of_point * i + column % of_point);
        add_term(sums, kMode, skip_weight<kMode>(args, m, t, k + args.index[i]), value[0],
                 reads_b(kMode) ? value[1] : 0);
      }
    }
  };
  if (args.x.begin == nullptr) {
    add_source(0, y, x);
    return sums;
  }
  for_taps(args.y, args.x, args.kernel_width, args.source_width, y, x, [&](Int t, Int source) {
    add_source(t, source / args.source_width, source % args.source_width);
  });
  return sums;
}

template <Mode kMode>
void skip(const SkipArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = args.x0; x < args.x1; ++x)
      for (Int m = args.m0; m < args.m1; ++m) {
        const Sums sums = skip_sums<kMode>(args, y, x, m);
        const Int at = ((y - args.y0) * (args.x1 - args.x0) + (x - args.x0)) * args.out_stride + m;
        args.first[at] = static_cast<float>(sums.first);
        if (has_second(kMode)) args.second[at] = static_cast<float>(sums.second);
        if (args.sum) args.sum[at] = static_cast<float>(sums.first + sums.second);
      }
}

void fold(const FoldArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = 0; x < args.out_width; ++x)
      for (Int m = 0; m < args.outputs; ++m) {
        double sum = 0;
        for_taps(args.y, args.x, args.kernel_width, args.source_width, y, x,
                 [&](Int t, Int source) {
                   sum += args.taps[(source - args.row0 * args.source_width) * args.stride +
                                    t * args.outputs + m];
                 });
        args.out[((y - args.y0) * args.out_width + x) * args.outputs + m] = static_cast<float>(sum);
      }
}

template <Mode kMode>
void narrow(const NarrowArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = 0; x < args.out_width; ++x)
      for (Int m = 0; m < args.outputs; ++m) {
        Sums sums;
        for_taps(args.y, args.x, args.kernel_width, args.source_width, y, x,
                 [&](Int t, Int source) {
                   for (Int k = 0; k < args.channels; ++k)
                     add_term(sums, kMode, args.weight[(t * args.outputs + m) * args.channels + k],
                              args.a[source * args.source_stride + k],
                              reads_b(kMode) ? args.b[source * args.source_stride + k] : 0);
                 });
        const Int at = ((y - args.y0) * args.out_width + x) * args.outputs + m;
        args.first[at] = static_cast<float>(sums.first);
        if (has_second(kMode)) args.second[at] = static_cast<float>(sums.second);
        if (args.sum) args.sum[at] = static_cast<float>(sums.first + sums.second);
      }
}

// Source value of row r = (tap, channel) at output pixel p; 0 where the tap lies in the padding.
template <class Args>
float row_value(const Args& args, const float* source, Int r, Int p) {
  const Int tap = r / args.channels, k = r % args.channels;
  if (args.row_source == nullptr) return source[p * args.source_stride + k];
  const Int y = args.row_source[tap / args.kernel_width * args.out_height + p / args.out_width];
  const Int x = args.column_source[tap % args.kernel_width * args.out_width + p % args.out_width];
  return y < 0 || x < 0 ? 0 : source[y + x + k];
}

template <Mode kMode>
Sums partition_sums(const PartitionArgs& args, Int p, Int m) {
  const Int rows = args.kernel_height * args.kernel_width * args.channels;
  const Int blocks =
      (rows + panel_rows(kMode, args.nonnegative) - 1) / panel_rows(kMode, args.nonnegative);
  Sums sums;
  for (Int block = 0; block < blocks; ++block) {
    const std::int32_t* bounds = args.group + (block * args.pairs + m / 2) * 5;
    for (Int i = bounds[0]; i < bounds[4]; ++i) {
      const Int r = block * panel_rows(kMode, args.nonnegative) + args.row[i];
      const float a = row_value(args, args.a, r, p);
      const float b = reads_b(kMode) ? row_value(args, args.b, r, p) : 0;
      add_term(sums, kMode, args.weight[2 * i + m % 2], a, b);
    }
  }
  return sums;
}

template <Mode kMode>
void partition(const PartitionArgs& args) noexcept {
  for (Int p = 0; p < args.count; ++p)
    for (Int m = 0; m < args.outputs; ++m) {
      const Sums sums = partition_sums<kMode>(args, args.p0 + p, args.m0 + m);
      args.first[p * args.out_stride + m] = static_cast<float>(sums.first);
      if (has_second(kMode)) args.second[p * args.out_stride + m] = static_cast<float>(sums.second);
      if (args.sum)
        args.sum[p * args.out_stride + m] = static_cast<float>(sums.first + sums.second);
    }
}

// Source value of an entry of the weights at output pixel (y, x) of the tile.
float plane_value(const PlanarArgs& args, const float* source, Int offset, Int y, Int x) {
  const Int plane = offset / args.plane_floats;
  const Int row = args.row0 + y + offset % args.plane_floats / args.plane_width;
  const Int column = x + args.column_shift[plane % args.kernel_width];
  if (row < 0 || row >= args.source_height || column < 0 || column >= args.source_width) return 0;
  return source[(row * args.source_width + column) * args.source_stride +
                plane / args.kernel_width];
}

template <Mode kMode>
void planar(const PlanarArgs& args) noexcept {
  for (Int p = 0; p < args.rows * args.out_width; ++p)
    for (Int m = 0; m < args.outputs; ++m) {
      const Int y = p / args.out_width, x = p % args.out_width;
      const std::int32_t* bounds = args.group + m / 2 * 5;
      Sums sums;
      for (Int i = bounds[0]; i < bounds[4]; ++i)
        add_term(sums, kMode, args.weight[2 * i + m % 2],
                 plane_value(args, args.a, args.offset[i], y, x),
                 reads_b(kMode) ? plane_value(args, args.b, args.offset[i], y, x) : 0);
      const Int at = p * args.out_stride + m;
      args.first[at] = static_cast<float>(sums.first);
      if (has_second(kMode)) args.second[at] = static_cast<float>(sums.second);
      if (args.sum) args.sum[at] = static_cast<float>(sums.first + sums.second);
    }
}

// What value i of (pixel, sum, output) of an output row gets from source row y through kernel row
// k: see pack_scatter.
template <Mode kMode>
double scattered(const ScatterArgs& args, Int y, Int k, Int i) {
  const Int run = (args.run + kVectorWidth - 1) / kVectorWidth * kVectorWidth;
  const Int halves = reads_b(kMode) ? 2 : 1;
  double sum = 0;
  for (Int at = 0; at < args.source_row; ++at) {
    const Int lane = i - (args.column[at] % args.copy_floats - args.first_column);
    if (lane < 0 || lane >= args.run) continue;
    const float* w = args.weight + args.weight_at[at] + k * halves * run + lane;
    const Int source = y * args.source_row + at;
    sum += double(w[0]) * double(args.a[source]);
    if (halves == 2) sum += double(w[run]) * double(args.b[source]);
  }
  return sum;
}

template <Mode kMode>
void scatter(const ScatterArgs& args) noexcept {
  const Int sums = has_second(kMode) ? 2 : 1, values = args.out_width * args.outputs;
  for (Int o = args.y0; o < args.y1; ++o)
    for (Int i = 0; i < sums * values; ++i) {
      double sum = 0;
      for (Int y = args.source_y0; y < args.source_y1; ++y) {
        const Int k = o - args.row_base[y];
        if (k >= 0 && k < args.kernel_height) sum += scattered<kMode>(args, y, k, i);
      }
      const Int x = i / (sums * args.outputs), m = i % args.outputs;
      const bool second = i / args.outputs % sums == 1;
      (second ? args.second : args.first)[(o - args.y0) * values + x * args.outputs + m] =
          static_cast<float>(sum);
    }
}

// Packed weight of output m, row r: see pack_dense.
float dense_weight(const DenseArgs& args, Int m, Int r) {
  const Int m0 = m / kDenseLanes * kDenseLanes;
  const Int rest = (args.m1 - m0 + kVectorWidth - 1) / kVectorWidth * kVectorWidth;
  const Int width = rest < kDenseLanes ? rest : kDenseLanes;
  return args.weight[m0 * args.rows + r * width + m - m0];
}

void dense(const DenseArgs& args) noexcept {
  for (Int p = 0; p < args.count; ++p)
    for (Int m = args.m0; m < args.m1; ++m) {
      double sum = 0;
      for (Int r = 0; r < args.rows; ++r)
        sum += double(dense_weight(args, m, r)) * double(row_value(args, args.a, r, args.p0 + p));
      args.out[p * args.out_stride + m] = static_cast<float>(sum);
    }
}

// Packed weight of channel c, tap t: see pack_depthwise.
template <Mode kMode>
float depthwise_weight(const DepthwiseArgs& args, Int t, Int c) {
  const Int halves = weight_halves(kMode), block = c / kVectorWidth;
  const float* w = args.weight + (block * args.taps + t) * halves * kVectorWidth + c % kVectorWidth;
  return halves == 1 ? w[0] : w[0] + w[kVectorWidth];
}

template <Mode kMode>
void depthwise(const DepthwiseArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = 0; x < args.out_width; ++x)
      for (Int c = 0; c < args.channels; ++c) {
        Sums sums;
        for_taps(args.y, args.x, args.kernel_width, args.source_width, y, x,
                 [&](Int t, Int source) {
                   const Int at = source * args.channels + c;
                   add_term(sums, kMode, depthwise_weight<kMode>(args, t, c), args.a[at],
                            reads_b(kMode) ? args.b[at] : 0);
                 });
        const Int at = ((y - args.y0) * args.out_width + x) * args.channels + c;
        args.first[at] = static_cast<float>(sums.first);
        if (has_second(kMode)) args.second[at] = static_cast<float>(sums.second);
        if (args.sum) args.sum[at] = static_cast<float>(sums.first + sums.second);
      }
}

double apply_tail(double v, Tail tail, double a, double b) {
  switch (tail) {
    case Tail::none: return v;
    case Tail::relu: return v < 0 ? 0 : v;
    case Tail::leaky_relu: return v < 0 ? a * v : v;
    case Tail::clip: return v < a ? a : v > b ? b : v;
  }
  return v;
}

void finish(const FinishArgs& args) noexcept {
  for (Int k = 0; k < args.pixels * args.channels; ++k) {
    const Int c = k % args.channels, pixel = k / args.channels;
    const Int from = pixel * args.sum_stride + c, i = pixel * args.stride + c;
    const auto of = [c](const float* bias) { return bias ? bias[c] : 0.0; };
    const double p = args.first[from], m = args.second ? args.second[from] : 0.0;
    const double sum = args.sum ? args.sum[from] : p + m;
    const double y = apply_tail(sum + of(args.bias), args.tail, args.tail_a, args.tail_b);
    if (args.y) args.y[i] = static_cast<float>(y);
    if (args.total)
      args.total[i] = static_cast<float>(apply_tail(y + args.other[i], args.total_tail, 0, 0));
    if (args.z) args.z[i] = static_cast<float>(sum + of(args.bias_z));
    if (args.zp) args.zp[i] = static_cast<float>(p + of(args.bias_p));
    if (args.zn) args.zn[i] = static_cast<float>(m + of(args.bias_n));
  }
}

// st(z) = z + eps sign(z), sign(0) = +1
double stabilized(double z, double eps) { return z < 0 ? z - eps : z + eps; }

Sums map_one(const MapArgs& args, Int i) {
  const double r = args.x ? args.x[i] * args.r[i] : args.r[i], eps = args.eps, g = args.gamma;
  switch (args.map) {
    case Map::gradient: return {r, 0};
    case Map::epsilon: return {r / stabilized(args.z[i], eps), 0};
    case Map::z_plus: return {r / stabilized(args.zp[i], eps), 0};
    case Map::alpha_beta:
      return {args.alpha * r / stabilized(args.zp[i], eps),
              -args.beta * r / stabilized(args.zn[i], eps)};
    case Map::gamma: {
      const double z = args.z[i];
      if (!(z < 0 || z > 0)) return {z, z};  // 0, or NaN
      const double q = r / stabilized(z + g * (z < 0 ? args.zn[i] : args.zp[i]), eps);
      return z < 0 ? Sums{q, (1 + g) * q} : Sums{(1 + g) * q, q};
    }
  }
  return {};
}

void map(const MapArgs& args) noexcept {
  for (Int i = 0; i < args.n; ++i) {
    const Sums s = map_one(args, i);
    args.s_plus[i] = static_cast<float>(s.first);
    if (args.s_minus) args.s_minus[i] = static_cast<float>(s.second);
  }
}

double tie_one(const TieArgs& args, Int from, Int i) {
  const double p = args.first[from];
  switch (args.tie) {
    case Tie::copy: return p;
    case Tie::times_x: return args.x[i] * p;
    case Tie::by_sign: return positive(args.x[i]) * p + negative(args.x[i]) * args.second[from];
    case Tie::box: {
      const double x = args.x[i];
      return (x - args.low[i]) * p + (x - args.high[i]) * args.second[from];
    }
  }
  return 0;
}

void tie(const TieArgs& args) noexcept {
  for (Int k = 0; k < args.rows * args.n; ++k) {
    const Int from = k / args.n * args.sum_stride + k % args.n;
    const Int i = k / args.n * args.stride + k % args.n;
    args.r[i] = static_cast<float>((args.accumulate ? args.r[i] : 0.0) + tie_one(args, from, i));
  }
}

void tail_gradient(const TailGradientArgs& args) noexcept {
  for (Int i = 0; i < args.n; ++i) {
    const float y = args.y[i], g = args.g_in[i];
    switch (args.tail) {
      case Tail::none: args.g_out[i] = g; break;
      case Tail::relu: args.g_out[i] = y > 0 ? g : 0; break;
      case Tail::leaky_relu: args.g_out[i] = y > 0 ? g : args.a * g; break;
      case Tail::clip: args.g_out[i] = args.a < y && y < args.b ? g : 0; break;
    }
  }
}

void max_pool(const PoolArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = 0; x < args.out_width; ++x)
      for (Int c = 0; c < args.channels; ++c) {
        float best = -INFINITY;
        Int winner = -1;
        for_taps(args.y_taps, args.x_taps, 0, args.source_width, y, x, [&](Int, Int source) {
          const float v = args.x[source * args.channels + c];
          const bool better = v > best || std::isnan(v);
          if (winner >= 0 && !better) return;
          best = v;
          winner = source;
        });
        const Int at = ((y - args.y0) * args.out_width + x) * args.channels + c;
        args.y[at] = best;
        if (args.winner) args.winner[at] = static_cast<std::int32_t>(winner);
      }
}

void average_pool(const PoolArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = 0; x < args.out_width; ++x)
      for (Int c = 0; c < args.channels; ++c) {
        double sum = 0;
        for_taps(args.y_taps, args.x_taps, 0, args.source_width, y, x,
                 [&](Int, Int source) { sum += args.x[source * args.channels + c]; });
        args.y[((y - args.y0) * args.out_width + x) * args.channels + c] =
            static_cast<float>(sum * args.inverse_count[y * args.out_width + x]);
      }
}

void unpool_max(const UnpoolArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = 0; x < args.out_width; ++x)
      for (Int c = 0; c < args.channels; ++c) {
        const Int pixel = y * args.out_width + x;
        float& to = args.r_in[pixel * args.channels + c];
        if (!args.accumulate) to = 0;
        for_taps(args.y_taps, args.x_taps, 0, args.source_width, y, x, [&](Int, Int source) {
          const Int at = source * args.channels + c;
          if (args.winner[at] == pixel) to += args.r_out[at];
        });
      }
}

void unpool_average(const UnpoolAverageArgs& args) noexcept {
  for (Int y = args.y0; y < args.y1; ++y)
    for (Int x = 0; x < args.out_width; ++x)
      for (Int c = 0; c < args.channels; ++c) {
        double sum = 0;
        for_taps(args.y_taps, args.x_taps, 0, args.source_width, y, x, [&](Int, Int source) {
          sum +=
              static_cast<double>(args.s[source * args.channels + c]) * args.inverse_count[source];
        });
        args.out[((y - args.y0) * args.out_width + x) * args.channels + c] =
            static_cast<float>(sum);
      }
}

void add(const AddArgs& args) noexcept {
  for (Int i = 0; i < args.n; ++i) args.y[i] = args.a[i] + args.b[i];
}

void scale_shift(const ScaleShiftArgs& args) noexcept {
  for (Int i = 0; i < args.pixels * args.channels; ++i) {
    const double scale = args.scale ? args.scale[i % args.channels] : 1;
    const double shift = args.shift ? args.shift[i % args.channels] : 0;
    args.y[i] = static_cast<float>(args.x[i] * scale + shift);
  }
}

void transpose(const TransposeArgs& args) noexcept {
  for (Int r = 0; r < args.rows; ++r)
    for (Int c = 0; c < args.columns; ++c) args.y[c * args.rows + r] = args.x[r * args.columns + c];
}

}  // namespace

const Kernels kernels = {
    "reference",
    kVectorWidth,
    kLaneBlock,
    kWindowLanes,
    kDenseLanes,
    kPanelLanes,
    kSkipBelow,
    true,
    true,
    list,
    {skip<Mode::plain>, skip<Mode::split_product>, skip<Mode::split_weight>, skip<Mode::blend>,
     skip<Mode::blend_both>},
    fold,
    {scatter<Mode::plain>, nullptr, scatter<Mode::split_weight>, scatter<Mode::blend>,
     scatter<Mode::blend_both>},
    {narrow<Mode::plain>, narrow<Mode::split_product>, narrow<Mode::split_weight>,
     narrow<Mode::blend>, narrow<Mode::blend_both>},
    {partition<Mode::plain>, partition<Mode::split_product>, partition<Mode::split_weight>,
     partition<Mode::blend>, partition<Mode::blend_both>},
    {planar<Mode::plain>, planar<Mode::split_product>, planar<Mode::split_weight>,
     planar<Mode::blend>, planar<Mode::blend_both>},
    dense,
    {depthwise<Mode::plain>, depthwise<Mode::split_product>, depthwise<Mode::split_weight>,
     depthwise<Mode::blend>, depthwise<Mode::blend_both>},
    finish,
    map,
    tie,
    tail_gradient,
    max_pool,
    average_pool,
    unpool_max,
    unpool_average,
    add,
    scale_shift,
    transpose,
    {},
    nullptr,
};

}  // namespace relprop::reference
