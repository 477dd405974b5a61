#include <cmath>

#include "contraction.h"
#include "parallel.h"
#include "prior_impl.h"
#include "relprop/error.h"

// Experts with a matrix product. It is a dense layer, compiled into a plan like any network, so
// that these run on the same kernels and do not depend on the batch either.

namespace relprop {
namespace {

Plan dense_plan(std::int64_t in, std::int64_t out, std::vector<float> weight,
                std::vector<float> bias, Isa isa) {
  Model model({in});
  const int dense = model.add("dense", {0}, Dense{in, out, std::move(weight), std::move(bias)});
  model.add_output("output", dense);
  Rule rule;
  rule.kind = RuleKind::gradient;
  PlanOptions options;
  options.isa = isa;
  return Plan(model, std::vector<Rule>(model.nodes().size(), rule), options);
}

double softplus(double u) { return std::max(u, 0.0) + std::log1p(std::exp(-std::fabs(u))); }
double sigmoid(double u) { return 1 / (1 + std::exp(-u)); }

// Sum of f(W x + b) and its gradient W^T f'(W x + b) for n rows of x. f(u, slope) returns the value
// and writes the slope.
template <class F>
void dense_gradient(const Plan& plan, const float* x, const TermBatch& batch, TermScratch& scratch,
                    F f) {
  const std::int64_t out = size_of(plan.output_shape());
  scratch.output.resize(static_cast<std::size_t>(batch.n * out));
  scratch.start.resize(scratch.output.size());
  scratch.gradient.resize(static_cast<std::size_t>(batch.n * batch.size));
  RelevanceRequest request;
  request.x = x;
  request.n = batch.n;
  request.output = scratch.output.data();
  request.relevance = scratch.gradient.data();
  request.n_threads = batch.threads;
  request.start.kind = StartKind::array;
  request.start.values = scratch.start.data();
  request.start.fill = [&](std::int64_t first, std::int64_t n) {
    parallel_for(threads_for_values(n * out, batch.threads), n, [&](std::int64_t i, int) {
      const float* u = scratch.output.data() + (first + i) * out;
      float* slope = scratch.start.data() + (first + i) * out;
      double sum = 0;
      for (std::int64_t j = 0; j < out; ++j) sum += f(double(u[j]), slope[j]);
      batch.log_p[(first + i) * batch.stride] = sum;
    });
  };
  plan.relevance(request, scratch.workspace);
}

class Rbm final : public Term {
 public:
  Rbm(const GaussianRbm& rbm, std::int64_t size, Isa isa)
      : visible_bias_(rbm.visible_bias),
        sigma_(rbm.sigma),
        plan_(dense_plan(size, rbm.hidden, scaled_weight(rbm, size), rbm.hidden_bias, isa)) {}

  void add(const TermBatch& batch, TermScratch& scratch) const override {
    dense_gradient(plan_, batch.x, batch, scratch, [](double u, float& slope) {
      slope = static_cast<float>(sigmoid(u));
      return softplus(u);
    });
    parallel_for(threads_for_values(batch.n * batch.size, batch.threads), batch.n,
                 [&](std::int64_t i, int) { add_quadratic(batch, scratch, i); });
  }

 private:
  // (hidden, size): W_ij / sigma_i.
  static std::vector<float> scaled_weight(const GaussianRbm& rbm, std::int64_t size) {
    std::vector<float> weight(rbm.weight.size());
    for (std::int64_t j = 0; j < rbm.hidden; ++j)
      for (std::int64_t i = 0; i < size; ++i)
        weight[static_cast<std::size_t>(j * size + i)] =
            rbm.weight[static_cast<std::size_t>(i * rbm.hidden + j)] /
            rbm.sigma[static_cast<std::size_t>(i)];
    return weight;
  }

  void add_quadratic(const TermBatch& batch, const TermScratch& scratch, std::int64_t row) const {
    const float *x = batch.x + row * batch.size, *hidden = &scratch.gradient[0] + row * batch.size;
    float* gradient = batch.gradient + row * batch.size;
    double sum = 0;
    for (std::int64_t i = 0; i < batch.size; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double sigma = sigma_[at], z = (double(x[i]) - visible_bias_[at]) / sigma;
      sum += 0.5 * z * z;
      gradient[i] += static_cast<float>(batch.weight * (hidden[i] - z / sigma));
    }
    double& log_p = batch.log_p[row * batch.stride];
    log_p = batch.weight * (log_p - sum);
  }

  std::vector<float> visible_bias_, sigma_;
  Plan plan_;
};

// C = L L^T, so that (x - mean)^T C^-1 (x - mean) = |L^-1 (x - mean)|^2.
class FullGaussian final : public Term {
 public:
  FullGaussian(const Gaussian& expert, std::int64_t size, Isa isa)
      : mean_(expert.mean),
        plan_(dense_plan(size, size, whitening(expert.covariance, size), {}, isa)) {}

  void add(const TermBatch& batch, TermScratch& scratch) const override {
    scratch.x.resize(static_cast<std::size_t>(batch.n * batch.size));
    for (std::int64_t k = 0; k < batch.n * batch.size; ++k)
      scratch.x[static_cast<std::size_t>(k)] =
          batch.x[k] - (mean_.empty() ? 0 : mean_[static_cast<std::size_t>(k % batch.size)]);
    dense_gradient(plan_, scratch.x.data(), batch, scratch, [](double u, float& slope) {
      slope = static_cast<float>(-u);
      return -0.5 * u * u;
    });
    for (std::int64_t k = 0; k < batch.n * batch.size; ++k)
      batch.gradient[k] +=
          static_cast<float>(batch.weight * scratch.gradient[static_cast<std::size_t>(k)]);
    for (std::int64_t i = 0; i < batch.n; ++i) batch.log_p[i * batch.stride] *= batch.weight;
  }

 private:
  // Row-major n x n matrix in float64.
  struct Matrix {
    std::int64_t n;
    std::vector<double> values;
    double* row(std::int64_t i) { return values.data() + i * n; }
  };

  static Matrix cholesky(const std::vector<float>& covariance, std::int64_t n) {
    Matrix l{n, std::vector<double>(covariance.begin(), covariance.end())};
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j <= i; ++j) {
        double sum = l.row(i)[j];
        for (std::int64_t k = 0; k < j; ++k) sum -= l.row(i)[k] * l.row(j)[k];
        if (i == j && !(sum > 0))
          refuse_expert("gaussian", "covariance is not positive definite (pivot " +
                                        std::to_string(i) + " is " + std::to_string(sum) +
                                        "); accepted: positive definite matrices");
        l.row(i)[j] = i == j ? std::sqrt(sum) : sum / l.row(j)[j];
      }
    return l;
  }

  // L^-1 by forward substitution on the rows of the unit matrix.
  static std::vector<float> whitening(const std::vector<float>& covariance, std::int64_t n) {
    Matrix l = cholesky(covariance, n);
    Matrix inverse{n, std::vector<double>(static_cast<std::size_t>(n * n), 0)};
    for (std::int64_t i = 0; i < n; ++i) {
      double* row = inverse.row(i);
      row[i] = 1;
      for (std::int64_t k = 0; k < i; ++k)
        for (std::int64_t j = 0; j <= k; ++j) row[j] -= l.row(i)[k] * inverse.row(k)[j];
      for (std::int64_t j = 0; j <= i; ++j) row[j] /= l.row(i)[i];
    }
    return std::vector<float>(inverse.values.begin(), inverse.values.end());
  }

  std::vector<float> mean_;
  Plan plan_;
};

void check_symmetric(const std::vector<float>& covariance, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < i; ++j) {
      const float a = covariance[static_cast<std::size_t>(i * n + j)];
      const float b = covariance[static_cast<std::size_t>(j * n + i)];
      if (std::fabs(a - b) > 1e-4f * (std::fabs(a) + std::fabs(b)))
        refuse_expert("gaussian", "covariance is not symmetric: " + std::to_string(a) + " at (" +
                                      std::to_string(i) + ", " + std::to_string(j) + ") and " +
                                      std::to_string(b) +
                                      " opposite; accepted: symmetric matrices");
    }
}

}  // namespace

std::unique_ptr<const Term> make_term(const Gaussian& expert, const Shape& shape, Isa isa) {
  const std::int64_t size = size_of(shape);
  check_finite("gaussian", "mean", expert.mean, size, true);
  if (expert.variance.empty() == expert.covariance.empty())
    refuse_expert("gaussian", "accepted: either variance or covariance");
  if (expert.covariance.empty()) return make_diagonal(expert, shape);
  check_finite("gaussian", "covariance", expert.covariance, size * size, false);
  check_symmetric(expert.covariance, size);
  return std::make_unique<FullGaussian>(expert, size, isa);
}

std::unique_ptr<const Term> make_term(const GaussianRbm& rbm, const Shape& shape, Isa isa) {
  const char* name = "gaussian_rbm";
  const std::int64_t size = size_of(shape);
  if (rbm.hidden < 1)
    refuse_expert(name, std::to_string(rbm.hidden) + " hidden units; accepted: 1 or more");
  check_finite(name, "W", rbm.weight, size * rbm.hidden, false);
  check_finite(name, "visible_bias", rbm.visible_bias, size, false);
  check_finite(name, "hidden_bias", rbm.hidden_bias, rbm.hidden, false);
  check_finite(name, "sigma", rbm.sigma, size, false);
  check_positive(name, "sigma", rbm.sigma);
  return std::make_unique<Rbm>(rbm, size, isa);
}

}  // namespace relprop
