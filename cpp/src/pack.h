#pragma once

#include <cstdint>
#include <vector>

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

// 64-byte aligned floats, zero-initialised.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::int64_t n);
  ~AlignedFloats();
  AlignedFloats(AlignedFloats&& other) noexcept;
  AlignedFloats& operator=(AlignedFloats&& other) noexcept;
  AlignedFloats(const AlignedFloats&) = delete;
  AlignedFloats& operator=(const AlignedFloats&) = delete;
  float* data() { return data_; }
  const float* data() const { return data_; }
  std::int64_t size() const { return size_; }

 private:
  float* data_ = nullptr;
  std::int64_t size_ = 0;
};

// Zero-skipping: [group][output block][channel block][tap][channel in block][lane].
// Output blocks are `lanes` wide, the last one (outputs - m0) rounded up to vector_width, lanes
// beyond the outputs hold zero; channel blocks are `block`, the last one shorter. So the block
// that starts at output m0 with width v begins at m0 * channels * taps (m0 is a multiple of lanes),
// its channel block k at k * block * taps * v behind that.
struct SkipWeights {
  AlignedFloats data;
  std::int64_t group_stride = 0;
  std::int64_t lanes = 0, block = 0;
};
SkipWeights pack_skip(const WeightView& w, int lanes, int block, int vector_width);

// Narrow: (groups, taps, outputs, channels).
AlignedFloats pack_narrow(const WeightView& w);

// Sign-partitioned: see PartitionArgs. Offsets in group are absolute per group of the convolution.
struct PartitionWeights {
  struct Group {
    std::vector<std::uint16_t> row;
    std::vector<float> weight;
    std::vector<std::int32_t> group;
  };
  std::vector<Group> groups;
};
PartitionWeights pack_partition(const WeightView& w);

// Depthwise (outputs = channels = 1 per group): (taps, groups).
AlignedFloats pack_depthwise(const WeightView& w);

}  // namespace relprop
