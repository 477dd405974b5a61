#include "start.h"

#include <algorithm>
#include <cmath>

namespace relprop {
namespace {

// Channels-last offset of the target, -1: the first of equal maxima in row-major order.
std::int64_t offset_of(std::int64_t index, const float* f, const Shape& shape) {
  const std::int64_t channels = channels_of(shape), pixels = pixels_of(shape);
  const auto place = [&](std::int64_t k) { return k % pixels * channels + k / pixels; };
  if (index >= 0) return place(index);
  index = 0;
  for (std::int64_t k = 1; k < channels * pixels; ++k)
    if (f[place(k)] > f[place(index)]) index = k;
  return place(index);
}

void one_hot_minus_softmax(const float* f, float* r, std::int64_t size, std::int64_t at) {
  const double largest = *std::max_element(f, f + size);
  double sum = 0;
  for (std::int64_t k = 0; k < size; ++k) sum += std::exp(f[k] - largest);
  for (std::int64_t k = 0; k < size; ++k)
    r[k] = static_cast<float>((k == at ? 1.0 : 0.0) - std::exp(f[k] - largest) / sum);
}

}  // namespace

void write_start(const Execution& run, const RelevanceRequest& request, std::int64_t first_sample,
                 int target, float* r) {
  const int last = static_cast<int>(run.plan.steps.size()) - 1;
  const std::int64_t size = run.step(last).step.size;
  const Shape& shape = run.plan.start_shape();
  const Start& start = request.start;
  // Of sample i in an array (n, targets_per_sample, ...).
  const auto of_sample = [&](std::int64_t i) {
    return (first_sample + i) * start.targets_per_sample + target;
  };
  if (start.kind == StartKind::array) {
    for (std::int64_t i = 0; i < run.n; ++i)
      run.kernels.transpose(
          {start.values + of_sample(i) * size, r + i * size, channels_of(shape), pixels_of(shape)});
    return;
  }
  std::fill(r, r + run.n * size, 0.0f);
  for (std::int64_t i = 0; i < run.n; ++i) {
    const float* f = run.value(last) + i * size;
    const std::int64_t at = offset_of(start.targets ? start.targets[of_sample(i)] : -1, f, shape);
    if (start.kind == StartKind::log_prob) {
      one_hot_minus_softmax(f, r + i * size, size, at);
    } else {
      r[i * size + at] = start.kind == StartKind::one ? 1.0f : f[at];
    }
  }
}

}  // namespace relprop
