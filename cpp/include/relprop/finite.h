#pragma once

#include <cstdint>
#include <cstring>

namespace relprop {

// Whether none of n values is infinite or NaN. By their bits, which a compiler does in vectors
// (std::isfinite: 5 times as long).
inline bool all_finite(const float* values, std::int64_t n) {
  constexpr std::uint32_t kMagnitude = 0x7fffffff, kInfinity = 0x7f800000;
  std::uint32_t wrong = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    wrong |= (bits & kMagnitude) >= kInfinity;
  }
  return wrong == 0;
}

}  // namespace relprop
