#pragma once

#include <array>
#include <cstdint>

namespace relprop {

// Philox4x32-10, a counter-based generator (Salmon et al. 2011): the k-th number of a stream is a
// function of the key, the stream and k, so that whoever needs it computes it, in any order.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

// splitmix64's finalizer: makes one key of several numbers.
std::uint64_t mix(std::uint64_t a, std::uint64_t b);

// Random numbers of one row; streams are independent of each other.
class Random {
 public:
  explicit Random(std::uint64_t key = 0) : key_(key) {}

  double uniform(std::uint64_t stream, std::uint32_t index) const;  // in (0, 1)
  // x_i = center_i + scale N(0, 1), i < n. center null: 0.
  void normal(std::uint64_t stream, const float* center, double scale, float* x,
              std::int64_t n) const;

 private:
  std::array<std::uint32_t, 4> block(std::uint64_t stream, std::uint64_t index) const;
  std::uint64_t key_;
};

}  // namespace relprop
