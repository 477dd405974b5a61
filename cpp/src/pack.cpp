#include "pack.h"

#include <algorithm>
#include <cstring>

namespace relprop {
namespace {

// Three outputs' sums at once must fit in registers and their weights in L1, so split weights take
// narrower blocks.
std::int64_t skip_lanes(const Kernels& kernels, Mode mode, bool sliding) {
  if (!sliding) return kernels.lane_block;
  return std::min(kernels.sliding_lanes * 2 / weight_halves(mode), kernels.lane_block);
}

std::int64_t block_width(std::int64_t outputs, std::int64_t m0, std::int64_t lanes,
                         int vector_width) {
  const std::int64_t rest = (outputs - m0 + vector_width - 1) / vector_width * vector_width;
  return std::min(rest, lanes);
}

// Kernels tell a negative weight by its sign bit, so -0 becomes +0.
float without_negative_zero(float w) { return w == 0 ? 0.0f : w; }

// Position of the sign pair in (+,+) (+,-) (-,-) (-,+).
int sign_group(float w0, float w1) {
  if (w0 >= 0) return w1 >= 0 ? 0 : 1;
  return w1 >= 0 ? 3 : 2;
}

// Memory for what append_pair appends, so that nothing is moved.
template <class Row>
void reserve_pairs(const WeightView& w, std::int64_t blocks, PairWeights<Row>& packed) {
  const std::int64_t pairs = (w.outputs + 1) / 2, entries = pairs * w.channels * w.taps;
  packed.row.reserve(static_cast<std::size_t>(entries));
  packed.weight.reserve(static_cast<std::size_t>(2 * entries));
  packed.group.reserve(static_cast<std::size_t>(5 * pairs * blocks));
}

// Rows [r0, r1) for one pair of outputs, sorted into the four groups. Row r is stored as
// row_of(channel, tap, r).
template <class Row, class RowOf>
void append_pair(const WeightView& w, std::int64_t g, std::int64_t m, std::int64_t r0,
                 std::int64_t r1, PairWeights<Row>& packed, RowOf row_of) {
  struct Entry {
    Row row;
    float w0, w1;
  };
  std::vector<Entry> groups[4];
  for (std::int64_t r = r0; r < r1; ++r) {
    const std::int64_t tap = r / w.channels, k = r % w.channels;
    const float w0 = w.at(g, m, k, tap), w1 = m + 1 < w.outputs ? w.at(g, m + 1, k, tap) : 0;
    if (w0 != 0 || w1 != 0)
      groups[sign_group(w0, w1)].push_back({static_cast<Row>(row_of(k, tap, r)), w0, w1});
  }
  for (const auto& entries : groups) {
    packed.group.push_back(static_cast<std::int32_t>(packed.row.size()));
    for (const Entry& e : entries) {
      packed.row.push_back(e.row);
      packed.weight.push_back(e.w0);
      packed.weight.push_back(e.w1);
    }
  }
  packed.group.push_back(static_cast<std::int32_t>(packed.row.size()));
}

}  // namespace

SkipWeights pack_skip(const WeightView& w, Mode mode, bool whole, std::int64_t kernel_width,
                      const SlidingColumns& sliding, const Kernels& kernels) {
  SkipWeights packed;
  const std::int64_t halves = whole ? 1 : weight_halves(mode);
  packed.whole = whole;
  packed.lanes = skip_lanes(kernels, mode, sliding.valid);
  const auto width_at = [&](std::int64_t m0) {
    return block_width(w.outputs, m0, packed.lanes, kernels.vector_width);
  };
  for (std::int64_t m0 = 0; m0 < w.outputs; m0 += packed.lanes)
    packed.group_stride += width_at(m0) * halves * w.channels * w.taps;
  packed.data = AlignedFloats(packed.group_stride * w.groups);
  float* to = packed.data.data();
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t m0 = 0; m0 < w.outputs; m0 += packed.lanes)
      for (std::int64_t k0 = 0; k0 < w.channels; k0 += kListBlock)
        for (std::int64_t ky = 0; ky < w.taps / kernel_width; ++ky)
          for (std::int64_t k = k0; k < std::min<std::int64_t>(k0 + kListBlock, w.channels); ++k)
            for (std::int64_t x = 0; x < kernel_width; ++x) {
              const std::int64_t t = ky * kernel_width + (sliding.valid ? sliding.tap[x] : x);
              const std::int64_t used = std::min(width_at(m0), w.outputs - m0);
              for (std::int64_t l = 0; l < used; ++l) {
                const float v = without_negative_zero(w.at(g, m0 + l, k, t));
                to[l] = halves == 1 ? v : std::max(v, 0.0f);
                if (halves == 2) to[width_at(m0) + l] = std::min(v, 0.0f);
              }
              to += width_at(m0) * halves;
            }
  return packed;
}

SkipWeights pack_fold(const WeightView& w, Mode mode, const Kernels& kernels) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(w.groups * w.taps * w.outputs * w.channels));
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t t = 0; t < w.taps; ++t)
      for (std::int64_t m = 0; m < w.outputs; ++m)
        for (std::int64_t k = 0; k < w.channels; ++k) values.push_back(w.at(g, m, k, t));
  const std::int64_t outputs = w.taps * w.outputs;
  return pack_skip(
      {values.data(), w.groups, outputs, w.channels, 1, outputs * w.channels, w.channels, 1, 1},
      mode, false, 1, SlidingColumns{}, kernels);
}

AlignedFloats pack_narrow(const WeightView& w) {
  AlignedFloats packed(w.groups * w.taps * w.outputs * w.channels);
  float* to = packed.data();
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t t = 0; t < w.taps; ++t)
      for (std::int64_t m = 0; m < w.outputs; ++m)
        for (std::int64_t k = 0; k < w.channels; ++k)
          *to++ = without_negative_zero(w.at(g, m, k, t));
  return packed;
}

AlignedFloats pack_scatter(const WeightView& w, Mode mode, std::int64_t kernel_width,
                           int vector_width) {
  const std::int64_t sums = has_second(mode) ? 2 : 1, halves = reads_b(mode) ? 2 : 1;
  const std::int64_t run = round_up(kernel_width * sums * w.outputs, vector_width);
  const std::int64_t kernel_height = w.taps / kernel_width;
  AlignedFloats packed(w.channels * kernel_height * halves * run);
  for (std::int64_t k = 0; k < w.channels; ++k)
    for (std::int64_t t = 0; t < w.taps; ++t)
      for (std::int64_t half = 0; half < halves; ++half)
        for (std::int64_t sum = 0; sum < sums; ++sum)
          for (std::int64_t m = 0; m < w.outputs; ++m) {
            const float v = without_negative_zero(w.at(0, m, k, t));
            float* to = packed.data() +
                        ((k * kernel_height + t / kernel_width) * halves + half) * run +
                        (t % kernel_width * sums + sum) * w.outputs + m;
            *to = mode == Mode::plain ? v : half == sum ? std::max(v, 0.0f) : std::min(v, 0.0f);
          }
  return packed;
}

PartitionWeights pack_partition(const WeightView& w, Mode mode, bool nonnegative) {
  const std::int64_t rows = w.channels * w.taps, step = panel_rows(mode, nonnegative);
  PartitionWeights packed(static_cast<std::size_t>(w.groups));
  for (std::int64_t g = 0; g < w.groups; ++g) {
    PairWeights<std::uint16_t>& pairs = packed[static_cast<std::size_t>(g)];
    reserve_pairs(w, (rows + step - 1) / step, pairs);
    for (std::int64_t r0 = 0; r0 < rows; r0 += step)
      for (std::int64_t m = 0; m < w.outputs; m += 2)
        append_pair(w, g, m, r0, std::min(r0 + step, rows), pairs,
                    [r0](std::int64_t, std::int64_t, std::int64_t r) { return r - r0; });
  }
  return packed;
}

PlanarWeights pack_planar(const WeightView& w, const Planes& planes) {
  const auto columns = static_cast<std::int64_t>(planes.column_shift.size());
  PlanarWeights packed(static_cast<std::size_t>(w.groups));
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t m = 0; m < w.outputs; m += 2)
      append_pair(w, g, m, 0, w.channels * w.taps, packed[static_cast<std::size_t>(g)],
                  [&](std::int64_t k, std::int64_t tap, std::int64_t) {
                    return (k * columns + tap % columns) * planes.floats() +
                           planes.row_offset[static_cast<std::size_t>(tap / columns)];
                  });
  return packed;
}

DenseWeights pack_dense(const WeightView& w, const Kernels& kernels) {
  DenseWeights packed;
  const auto width_at = [&](std::int64_t m0) {
    return block_width(w.outputs, m0, kernels.dense_lanes, kernels.vector_width);
  };
  for (std::int64_t m0 = 0; m0 < w.outputs; m0 += kernels.dense_lanes)
    packed.group_stride += width_at(m0) * w.channels * w.taps;
  packed.data = AlignedFloats(packed.group_stride * w.groups);
  float* to = packed.data.data();
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t m0 = 0; m0 < w.outputs; m0 += kernels.dense_lanes)
      for (std::int64_t t = 0; t < w.taps; ++t)
        for (std::int64_t k = 0; k < w.channels; ++k, to += width_at(m0))
          for (std::int64_t l = 0; l < std::min(width_at(m0), w.outputs - m0); ++l)
            to[l] = w.at(g, m0 + l, k, t);
  return packed;
}

namespace {

// Rounds to the nearest bfloat16: its upper half is that number, the rest zero.
float rounded_half(float v) {
  std::uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  bits = (bits + 0x8000u) & 0xffff0000u;
  std::memcpy(&v, &bits, sizeof bits);
  return v;
}

std::uint16_t upper_half(float v) {
  std::uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16);
}

// The three parts of v, `stride` apart.
void put_parts(float v, std::int64_t stride, std::uint16_t* to) {
  for (int part = 0; part < 3; ++part, to += stride) {
    const float rounded = rounded_half(v);
    *to = upper_half(rounded);
    v -= rounded;
  }
}

}  // namespace

MatrixWeights pack_matrix(const WeightView& w) {
  constexpr std::int64_t kTile = kMatrixSide * kMatrixDepth;
  const std::int64_t rows = w.channels * w.taps;
  const std::int64_t tiles = ceil_div(w.outputs, kMatrixSide);
  MatrixWeights packed;
  packed.group_stride = tiles * ceil_div(rows, kMatrixDepth) * 3 * kTile;
  packed.data = AlignedFloats(w.groups * packed.group_stride / 2);
  auto* to = reinterpret_cast<std::uint16_t*>(packed.data.data());
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t block = 0; block < rows; block += kMatrixRows)
      for (std::int64_t n = 0; n < tiles; n += 2) {
        const std::int64_t together = std::min<std::int64_t>(2, tiles - n);
        for (std::int64_t step = block; step < std::min(block + kMatrixRows, rows);
             step += kMatrixDepth, to += 3 * together * kTile)
          for (std::int64_t r = step; r < std::min(step + kMatrixDepth, rows); ++r)
            for (std::int64_t m = n * kMatrixSide;
                 m < std::min((n + together) * kMatrixSide, w.outputs); ++m) {
              const std::int64_t tile = m / kMatrixSide - n, at = (r - step) % kMatrixSide;
              put_parts(without_negative_zero(w.at(g, m, r % w.channels, r / w.channels)),
                        together * kTile,
                        to + tile * kTile + (at * kMatrixSide + m % kMatrixSide) * 2 +
                            (r - step) / kMatrixSide);
            }
      }
  return packed;
}

AlignedFloats pack_depthwise(const WeightView& w, Mode mode, int vector_width) {
  const std::int64_t width = vector_width, halves = weight_halves(mode);
  const std::int64_t blocks = (w.groups + width - 1) / width;
  AlignedFloats packed(blocks * width * w.taps * halves);
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t t = 0; t < w.taps; ++t) {
      const float v = without_negative_zero(w.at(g, 0, 0, t));
      float* to = packed.data() + (g / width * w.taps + t) * halves * width + g % width;
      to[0] = halves == 1 ? v : std::max(v, 0.0f);
      if (halves == 2) to[width] = std::min(v, 0.0f);
    }
  return packed;
}

}  // namespace relprop
