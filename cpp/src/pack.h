#pragma once

#include <cstdint>
#include <vector>

#include "aligned_floats.h"
#include "kernels/kernels.h"
#include "planes.h"
#include "taps.h"

// Weight layouts of the two contractions. A contraction's weights are given as a function of
// (group, output m, channel k, tap t) through strides, so that forward, backward and transposed
// convolutions pack from the same array.

namespace relprop {

struct WeightView {
  const float* data;
  std::int64_t groups, outputs, channels, taps;  // outputs and channels per group
  std::int64_t group_stride, output_stride, channel_stride, tap_stride;
  float at(std::int64_t g, std::int64_t m, std::int64_t k, std::int64_t t) const {
    return data[g * group_stride + m * output_stride + k * channel_stride + t * tap_stride];
  }
};

// Zero-skipping: [group][output block][channel block][kernel row][channel in block][kernel column]
// [half][lane]. Output blocks are `lanes` wide, the last one (outputs - m0) rounded up to the
// vector width, lanes beyond the outputs hold zero; channel blocks are kListBlock, the last one
// shorter. Halves: max(w, 0) and min(w, 0), or w alone (weight_halves, whole). So the block that
// starts at output m0 begins at m0 * channels * taps * halves (m0 is a multiple of lanes). The
// columns of a sliding kernel are in the order in which they slide.
struct SkipWeights {
  AlignedFloats data;
  std::int64_t group_stride = 0;
  std::int64_t lanes = 0;
  bool whole = false;
};
SkipWeights pack_skip(const WeightView& w, Mode mode, bool whole, std::int64_t kernel_width,
                      const SlidingColumns& sliding, const Kernels& kernels);

// The weights of a pointwise product onto (tap, output), packed as above.
SkipWeights pack_fold(const WeightView& w, Mode mode, const Kernels& kernels);

// Scattered, of a layer without groups: [channel][kernel row][half][run], a run being (kernel
// column, sum, output), rounded up to whole vectors. What the value a adds to the first and the
// second sum, then (blend modes) what b adds.
AlignedFloats pack_scatter(const WeightView& w, Mode mode, std::int64_t kernel_width,
                           int vector_width);

// Narrow: (groups, taps, outputs, channels).
AlignedFloats pack_narrow(const WeightView& w);

// Sign-partitioned, of one group of the convolution: see PartitionArgs.
template <class Row>
struct PairWeights {
  std::vector<Row> row;
  std::vector<float> weight;
  std::vector<std::int32_t> group;

  std::int64_t bytes() const {
    return static_cast<std::int64_t>(row.size() * sizeof(Row) + weight.size() * 4 +
                                     group.size() * 4);
  }
};
using PartitionWeights = std::vector<PairWeights<std::uint16_t>>;
PartitionWeights pack_partition(const WeightView& w, Mode mode, bool nonnegative);

// The same with rows that are offsets into planes: see PlanarArgs.
using PlanarWeights = std::vector<PairWeights<std::int32_t>>;
PlanarWeights pack_planar(const WeightView& w, const Planes& planes);

// Dense: [group][output block][row][lane], rows being (tap, channel) pairs, tap by tap. Output
// blocks are dense_lanes wide, the last one as for the zero-skipping product.
struct DenseWeights {
  AlignedFloats data;
  std::int64_t group_stride = 0;
};
DenseWeights pack_dense(const WeightView& w, const Kernels& kernels);

// By matrix unit: three bfloat16 of every weight, w1 + w2 + w3 = w, each rounded to the nearest.
// [group][block of kMatrixRows rows][two tiles of outputs][step of kMatrixDepth rows][part][tile],
// the last tile of a group alone if their number is odd. Of a step, row r and row r + kMatrixSide
// lie side by side: a tile is [16 rows][16 outputs][r, r + 16]. What does not exist is zero.
struct MatrixWeights {
  AlignedFloats data;             // two numbers each
  std::int64_t group_stride = 0;  // in numbers

  const std::uint16_t* group(std::int64_t g) const {
    return reinterpret_cast<const std::uint16_t*>(data.data()) + g * group_stride;
  }
};
MatrixWeights pack_matrix(const WeightView& w);

// Depthwise (outputs = channels = 1 per group): [block of vector_width channels][tap][half][lane];
// lanes beyond the channels hold zero, halves as above.
AlignedFloats pack_depthwise(const WeightView& w, Mode mode, int vector_width);

}  // namespace relprop
