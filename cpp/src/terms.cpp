#include <cmath>
#include <numeric>

#include "contraction.h"
#include "lower.h"
#include "parallel.h"
#include "prior_impl.h"

// Experts without matrix products: one pass over the values of each row, in float64.

namespace relprop {
namespace {

// f(x, gradient) returns log p of a row and adds weight * its gradient.
template <class F>
void each_row(const TermBatch& batch, F f) {
  parallel_for(threads_for_values(batch.n * batch.size, batch.threads), batch.n,
               [&](std::int64_t i, int) {
                 batch.log_p[i * batch.stride] =
                     batch.weight * f(batch.x + i * batch.size, batch.gradient + i * batch.size);
               });
}

// -sum k_i (x_i - mean_i)^2; mean empty: 0.
class Quadratic final : public Term {
 public:
  Quadratic(std::vector<double> k, std::vector<float> mean)
      : k_(std::move(k)), mean_(std::move(mean)) {
    mean_.resize(k_.size());
  }

  void add(const TermBatch& batch, TermScratch&) const override {
    each_row(batch, [&](const float* x, float* gradient) {
      return -add_row(x, batch.weight, batch.size, gradient);
    });
  }

 private:
  // In sums of every kLanes-th value, which a compiler makes in vectors.
  double add_row(const float* x, double weight, std::int64_t size,
                 float* __restrict gradient) const {
    constexpr std::int64_t kLanes = 8;
    const double* k = k_.data();
    const float* mean = mean_.data();
    double sums[kLanes] = {};
    const auto one = [&](std::int64_t i, std::int64_t lane) {
      const double d = double(x[i]) - double(mean[i]);
      sums[lane] += k[i] * d * d;
      gradient[i] += static_cast<float>(-2 * weight * k[i] * d);
    };
    const std::int64_t whole = size / kLanes * kLanes;
    for (std::int64_t i = 0; i < whole; i += kLanes)
      for (std::int64_t lane = 0; lane < kLanes; ++lane) one(i + lane, lane);
    for (std::int64_t i = whole; i < size; ++i) one(i, i - whole);
    return std::accumulate(sums, sums + kLanes, 0.0);
  }

  std::vector<double> k_;
  std::vector<float> mean_;
};

class Variation final : public Term {
 public:
  Variation(const TotalVariation& expert, const Shape& shape)
      : lambda_(expert.lambda),
        exponent_(expert.exponent),
        channels_(channels_of(shape)),
        height_(extent_of(shape)[0]),
        width_(extent_of(shape)[1]) {}

  void add(const TermBatch& batch, TermScratch&) const override {
    each_row(batch, [&](const float* x, float* gradient) {
      double sum = 0;
      for (std::int64_t c = 0; c < channels_; ++c)
        for (std::int64_t y = 0; y < height_; ++y)
          for (std::int64_t column = 0; column < width_; ++column)
            sum += pixel(x, gradient, (c * height_ + y) * width_ + column, y, column, batch.weight);
      return -lambda_ * sum;
    });
  }

 private:
  double pixel(const float* x, float* gradient, std::int64_t at, std::int64_t y,
               std::int64_t column, double weight) const {
    const double right = column + 1 < width_ ? double(x[at + 1]) - x[at] : 0;
    const double below = y + 1 < height_ ? double(x[at + width_]) - x[at] : 0;
    const double square = right * right + below * below;
    if (square == 0) return 0;
    const bool plain = exponent_ == 2;
    // d/dx of square^(exponent / 2) is factor * (right, below) towards the neighbours.
    const double factor =
        weight * lambda_ * exponent_ * (plain ? 1 : std::pow(square, exponent_ / 2 - 1));
    gradient[at] += static_cast<float>(factor * (right + below));
    if (right != 0) gradient[at + 1] -= static_cast<float>(factor * right);
    if (below != 0) gradient[at + width_] -= static_cast<float>(factor * below);
    return plain ? square : std::pow(square, exponent_ / 2);
  }

  double lambda_, exponent_;
  std::int64_t channels_, height_, width_;
};

class Callback final : public Term {
 public:
  explicit Callback(LogDensity expert) : expert_(std::move(expert)) {}

  void add(const TermBatch& batch, TermScratch& scratch) const override {
    scratch.gradient.resize(static_cast<std::size_t>(batch.size));
    for (std::int64_t i = 0; i < batch.n; ++i) {
      const double log_p = expert_.function(batch.x + i * batch.size, scratch.gradient.data());
      batch.log_p[i * batch.stride] = batch.weight * log_p;
      float* gradient = batch.gradient + i * batch.size;
      for (std::int64_t k = 0; k < batch.size; ++k)
        gradient[k] +=
            static_cast<float>(batch.weight * scratch.gradient[static_cast<std::size_t>(k)]);
    }
  }

 private:
  LogDensity expert_;
};

}  // namespace

std::unique_ptr<const Term> make_term(const L2& expert, const Shape& shape, Isa) {
  check_nonnegative("l2", "lambda", expert.lambda);
  check_finite("l2", "mean", expert.mean, size_of(shape), true);
  const auto size = static_cast<std::size_t>(size_of(shape));
  return std::make_unique<Quadratic>(std::vector<double>(size, expert.lambda), expert.mean);
}

std::unique_ptr<const Term> make_term(const TotalVariation& expert, const Shape& shape, Isa) {
  check_nonnegative("total_variation", "lambda", expert.lambda);
  if (!std::isfinite(expert.exponent) || expert.exponent < 1)
    refuse_expert("total_variation", "exponent = " + std::to_string(expert.exponent) +
                                         "; accepted: a finite number of at least 1");
  if (shape.size() != 2 && shape.size() != 3)
    refuse_expert("total_variation", "the input has shape " + to_string(shape) +
                                         "; accepted: (channels, height, width) or (channels, "
                                         "length)");
  return std::make_unique<Variation>(expert, shape);
}

std::unique_ptr<const Term> make_diagonal(const Gaussian& expert, const Shape& shape) {
  check_finite("gaussian", "variance", expert.variance, size_of(shape), false);
  check_positive("gaussian", "variance", expert.variance);
  std::vector<double> k;
  for (float variance : expert.variance) k.push_back(0.5 / double(variance));
  return std::make_unique<Quadratic>(std::move(k), expert.mean);
}

std::unique_ptr<const Term> make_term(const LogDensity& expert, const Shape&, Isa) {
  if (!expert.function) refuse_expert("log_density", "there is no function");
  return std::make_unique<Callback>(expert);
}

}  // namespace relprop
