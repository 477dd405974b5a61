#include "random.h"

#include <algorithm>
#include <cmath>

namespace relprop {
namespace {

constexpr double kTwoPi = 6.28318530717958647693;

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }
double unit(std::uint32_t bits) { return (bits + 0.5) * 0x1p-32; }

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t z = a * 0x9E3779B97F4A7C15u + b + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::array<std::uint32_t, 4> Random::block(std::uint64_t stream, std::uint64_t index) const {
  return philox({low(index), high(index), low(stream), high(stream)}, {low(key_), high(key_)});
}

double Random::uniform(std::uint64_t stream, std::uint32_t index) const {
  return unit(block(stream, index)[0]);
}

void Random::normal(std::uint64_t stream, const float* center, double scale, float* x,
                    std::int64_t n) const {
  if (scale == 0) {  // numbers that nobody sees take 15 ns each
    for (std::int64_t i = 0; i < n; ++i) x[i] = center ? center[i] : 0;
    return;
  }
  for (std::int64_t i = 0; i < n; i += 4) {
    const auto bits = block(stream, static_cast<std::uint64_t>(i / 4));
    double values[4];  // Box-Muller
    for (std::size_t k = 0; k < 4; k += 2) {
      const double radius = std::sqrt(-2 * std::log(unit(bits[k])));
      values[k] = radius * std::cos(kTwoPi * unit(bits[k + 1]));
      values[k + 1] = radius * std::sin(kTwoPi * unit(bits[k + 1]));
    }
    for (std::int64_t k = i; k < std::min(i + 4, n); ++k)
      x[k] = static_cast<float>((center ? double(center[k]) : 0) + scale * values[k - i]);
  }
}

}  // namespace relprop
