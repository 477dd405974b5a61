#include "update.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "relprop/error.h"
#include "relprop/finite.h"

namespace relprop {
namespace {

void require(bool good, const char* name, double value, const char* accepted) {
  if (!good)
    throw Error(ErrorCode::invalid_argument, std::string("update: ") + name + " = " +
                                                 std::to_string(value) + "; accepted: " + accepted);
}

bool clamp_and_check(float* x, std::int64_t n, const float* low, const float* high) {
  if (low)
    for (std::int64_t i = 0; i < n; ++i) x[i] = std::max(x[i], low[i]);
  if (high)
    for (std::int64_t i = 0; i < n; ++i) x[i] = std::min(x[i], high[i]);
  return all_finite(x, n);
}

}  // namespace

void check_update(const Update& u) {
  const auto fraction = [](double v) { return v >= 0 && v < 1; };
  require(std::isfinite(u.rate) && u.rate > 0, "rate", u.rate, "a number above 0");
  require(fraction(u.momentum), "momentum", u.momentum, "0 to below 1");
  require(fraction(u.beta1), "beta1", u.beta1, "0 to below 1");
  require(fraction(u.beta2), "beta2", u.beta2, "0 to below 1");
  require(std::isfinite(u.epsilon) && u.epsilon > 0, "epsilon", u.epsilon, "a number above 0");
  require(u.decay > 0 && u.decay <= 1, "decay", u.decay, "above 0, up to 1");
  require(u.decay_steps >= 1, "decay_steps", static_cast<double>(u.decay_steps), "1 or more");
}

Updater::Updater(const Update& update, std::int64_t size) : update_(&update), size_(size) {
  const auto n = static_cast<std::size_t>(size);
  if (update.kind == UpdateKind::momentum || update.kind == UpdateKind::adam) first_.assign(n, 0);
  if (update.kind == UpdateKind::adam) second_.assign(n, 0);
}

double Updater::rate(std::int64_t t) const {
  return update_->rate * std::pow(update_->decay, static_cast<double>(t / update_->decay_steps));
}

// The four arrays do not overlap, which lets a compiler use vectors (a third of the time).
void Updater::adam(std::int64_t t, const float* __restrict x, const float* __restrict gradient,
                   float* __restrict next) {
  const double age = static_cast<double>(t + 1);
  const auto b1 = static_cast<float>(update_->beta1), b2 = static_cast<float>(update_->beta2);
  // Not 1 - b2 in float32: of 1 - 0.999 that keeps five digits.
  const auto c1 = static_cast<float>(1 - update_->beta1);
  const auto c2 = static_cast<float>(1 - update_->beta2);
  const auto step = static_cast<float>(rate(t) / (1 - std::pow(update_->beta1, age)));
  const auto root = static_cast<float>(1 / std::sqrt(1 - std::pow(update_->beta2, age)));
  const auto epsilon = static_cast<float>(update_->epsilon);
  float* __restrict m = first_.data(), * __restrict v = second_.data();
  for (std::int64_t i = 0; i < size_; ++i) {
    const float g = gradient[i];
    m[i] = b1 * m[i] + c1 * g;
    v[i] = b2 * v[i] + c2 * g * g;
    next[i] = x[i] + step * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

bool Updater::step(std::int64_t t, const float* x, const float* gradient, const float* low,
                   const float* high, float* next) {
  auto factor = static_cast<float>(rate(t));
  const float* direction = gradient;
  switch (update_->kind) {
    case UpdateKind::adam:
      adam(t, x, gradient, next);
      return clamp_and_check(next, size_, low, high);
    case UpdateKind::momentum: {
      const auto momentum = static_cast<float>(update_->momentum);
      for (std::int64_t i = 0; i < size_; ++i)
        first_[static_cast<std::size_t>(i)] =
            momentum * first_[static_cast<std::size_t>(i)] + gradient[i];
      direction = first_.data();
      break;
    }
    case UpdateKind::normalized: {
      double sum = 0;
      for (std::int64_t i = 0; i < size_; ++i) sum += double(gradient[i]) * gradient[i];
      // A gradient of zero has no direction: x stays.
      const double rms = std::sqrt(sum / static_cast<double>(size_));
      factor = rms > 0 ? static_cast<float>(rate(t) / rms) : 0.0f;
      break;
    }
    case UpdateKind::ascent: break;
  }
  for (std::int64_t i = 0; i < size_; ++i) next[i] = x[i] + factor * direction[i];
  return clamp_and_check(next, size_, low, high);
}

}  // namespace relprop
