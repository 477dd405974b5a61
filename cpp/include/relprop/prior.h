#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "relprop/export.h"
#include "relprop/model.h"
#include "relprop/plan.h"

namespace relprop {

// Experts: what is known of inputs before any network is asked, as log-densities up to a constant.
// Their arrays are row-major and of the input's shape unless said otherwise.

// -lambda |x - mean|^2. mean empty: 0.
struct L2 {
  double lambda = 0.01;
  std::vector<float> mean;
};
// -lambda sum ((x_right - x)^2 + (x_below - x)^2)^(exponent / 2) over (C, H, W) or (C, L), where
// the last row and column have no neighbour. Mahendran & Vedaldi 2015, section 3.
struct TotalVariation {
  double lambda = 0.01;
  double exponent = 2;  // at least 1; the gradient is 0 where the bracket is
};
// -(x - mean)^T C^-1 (x - mean) / 2, with either the variances on the diagonal of C or all of it,
// (size, size).
struct Gaussian {
  std::vector<float> mean, variance, covariance;
};
// Gaussian-Bernoulli restricted Boltzmann machine:
// sum_j softplus(c_j + sum_i x_i W_ij / sigma_i) - sum_i (x_i - a_i)^2 / (2 sigma_i^2).
struct GaussianRbm {
  std::int64_t hidden = 0;
  std::vector<float> weight;        // W, (size, hidden)
  std::vector<float> visible_bias;  // a
  std::vector<float> hidden_bias;   // c, (hidden)
  std::vector<float> sigma;
};
// Anything else: returns log p of one x and writes its gradient. Called for one row at a time, on
// the thread that called.
struct LogDensity {
  std::function<double(const float* x, float* gradient)> function;
};

using Expert = std::variant<L2, TotalVariation, Gaussian, GaussianRbm, LogDensity>;

RELPROP_API const char* expert_name(const Expert& expert);

// A product of experts: the sum of their weighted log-densities. Once made it may be used from any
// number of threads.
class RELPROP_API Prior {
 public:
  explicit Prior(Shape shape, Isa isa = default_isa());
  ~Prior();
  Prior(Prior&&) noexcept;
  Prior& operator=(Prior&&) noexcept;

  // Throws Error that names the expert and the parameter; the prior is unchanged then.
  void add(const Expert& expert, double weight = 1);

  const Shape& shape() const noexcept;
  std::int64_t size() const noexcept;  // number of experts
  // x: (n, shape). log_p: (n, size()), with weights; gradient: (n, shape), that of their sum.
  void evaluate(const float* x, std::int64_t n, double* log_p, float* gradient,
                int n_threads = 0) const;

  struct Impl;
  const Impl& impl() const noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace relprop
