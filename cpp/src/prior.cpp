#include "relprop/prior.h"

#include <algorithm>
#include <cmath>

#include "parallel.h"
#include "prior_impl.h"
#include "relprop/error.h"
#include "relprop/finite.h"
#include "request.h"

namespace relprop {

const char* expert_name(const Expert& expert) {
  constexpr const char* kNames[] = {"l2", "total_variation", "gaussian", "gaussian_rbm",
                                    "log_density"};
  return kNames[expert.index()];
}

void refuse_expert(const char* expert, const std::string& message) {
  throw Error(ErrorCode::invalid_argument, std::string(expert) + ": " + message);
}

void check_nonnegative(const char* expert, const char* name, double value) {
  if (!std::isfinite(value) || value < 0)
    refuse_expert(expert, std::string(name) + " = " + std::to_string(value) +
                              "; accepted: a finite number, 0 or more");
}

void check_finite(const char* expert, const char* name, const std::vector<float>& values,
                  std::int64_t count, bool may_be_empty) {
  if (may_be_empty && values.empty()) return;
  if (static_cast<std::int64_t>(values.size()) != count)
    refuse_expert(expert, std::string(name) + " has " + std::to_string(values.size()) +
                              " values; accepted: " + std::to_string(count));
  if (!all_finite(values.data(), count))
    refuse_expert(expert,
                  std::string(name) + " has NaN or infinite values; accepted: finite values");
}

void check_positive(const char* expert, const char* name, const std::vector<float>& values) {
  for (float v : values)
    if (!(v > 0))
      refuse_expert(
          expert, std::string(name) + " holds " + std::to_string(v) + "; accepted: values above 0");
}

Prior::Prior(Shape shape, Isa isa) : impl_(std::make_unique<Impl>()) {
  impl_->shape = std::move(shape);
  impl_->isa = isa;
}
Prior::~Prior() = default;
Prior::Prior(Prior&&) noexcept = default;
Prior& Prior::operator=(Prior&&) noexcept = default;

const Shape& Prior::shape() const noexcept { return impl_->shape; }
std::int64_t Prior::size() const noexcept {
  return static_cast<std::int64_t>(impl_->entries.size());
}

void Prior::add(const Expert& expert, double weight) {
  check_nonnegative(expert_name(expert), "weight", weight);
  auto term =
      std::visit([&](const auto& e) { return make_term(e, impl_->shape, impl_->isa); }, expert);
  impl_->entries.push_back({std::move(term), weight});
}

void Prior::evaluate(const float* x, std::int64_t n, double* log_p, float* gradient,
                     int n_threads) const {
  check_batch(n, x, gradient, n_threads);
  std::vector<TermScratch> scratch;
  impl_->evaluate(x, n, log_p, gradient, effective_threads(n_threads), scratch);
}

void Prior::Impl::evaluate(const float* x, std::int64_t n, double* log_p, float* gradient,
                           int threads, std::vector<TermScratch>& scratch) const {
  const std::int64_t size = size_of(shape);
  std::fill(gradient, gradient + n * size, 0.0f);
  scratch.resize(entries.size());
  const auto stride = static_cast<std::int64_t>(entries.size());
  for (std::size_t k = 0; k < entries.size(); ++k)
    entries[k].term->add({x, n, size, entries[k].weight, log_p + k, stride, gradient, threads},
                         scratch[k]);
}

}  // namespace relprop
