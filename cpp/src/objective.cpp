#include "objective.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lower.h"
#include "relprop/error.h"

namespace relprop {
namespace {

// log sum exp of n values, without overflow.
double log_sum_exp(const float* f, std::int64_t n) {
  const double largest = *std::max_element(f, f + n);
  double sum = 0;
  for (std::int64_t k = 0; k < n; ++k) sum += std::exp(f[k] - largest);
  return largest + std::log(sum);
}

double log_probability(const float* f, std::int64_t n, std::int64_t target, float* derivative) {
  const double total = log_sum_exp(f, n);
  for (std::int64_t k = 0; k < n; ++k)
    derivative[k] = static_cast<float>((k == target ? 1.0 : 0.0) - std::exp(f[k] - total));
  return f[target] - total;
}

double channel_mean(const float* f, const Shape& shape, std::int64_t channel, float* derivative) {
  const std::int64_t pixels = pixels_of(shape);
  std::fill(derivative, derivative + size_of(shape), 0.0f);
  double sum = 0;
  for (std::int64_t p = channel * pixels; p < (channel + 1) * pixels; ++p) {
    sum += f[p];
    derivative[p] = static_cast<float>(1.0 / static_cast<double>(pixels));
  }
  return sum / static_cast<double>(pixels);
}

double mean_square(const float* f, std::int64_t n, float* derivative) {
  double sum = 0;
  for (std::int64_t k = 0; k < n; ++k) {
    sum += double(f[k]) * f[k];
    derivative[k] = static_cast<float>(2.0 * f[k] / static_cast<double>(n));
  }
  return sum / static_cast<double>(n);
}

}  // namespace

void check_objective(const Objective& objective, const std::string& what) {
  const Shape& shape = objective.plan->output_shape();
  const std::int64_t count =
      objective.kind == ObjectiveKind::channel ? channels_of(shape) : size_of(shape);
  if (objective.kind == ObjectiveKind::layer) return;
  if (objective.index < 0 || objective.index >= count)
    throw Error(ErrorCode::invalid_argument,
                what + " asks for " +
                    (objective.kind == ObjectiveKind::channel ? "channel " : "position ") +
                    std::to_string(objective.index) + " of an output of shape " + to_string(shape) +
                    "; accepted: 0 to " + std::to_string(count - 1));
}

double evaluate_objective(const Objective& objective, const Shape& shape, const float* f,
                          float* derivative) {
  const std::int64_t n = size_of(shape), k = objective.index;
  switch (objective.kind) {
    case ObjectiveKind::log_probability: return log_probability(f, n, k, derivative);
    case ObjectiveKind::channel: return channel_mean(f, shape, k, derivative);
    case ObjectiveKind::layer: return mean_square(f, n, derivative);
    case ObjectiveKind::neuron: break;
  }
  std::fill(derivative, derivative + n, 0.0f);
  derivative[k] = 1;
  return f[k];
}

double probability_of(const Objective& objective, const Shape& shape, const float* f) {
  if (objective.kind == ObjectiveKind::channel || objective.kind == ObjectiveKind::layer)
    return std::numeric_limits<double>::quiet_NaN();
  return std::exp(f[objective.index] - log_sum_exp(f, size_of(shape)));
}

}  // namespace relprop
