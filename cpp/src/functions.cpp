#include "functions.h"

#include <algorithm>
#include <cmath>

namespace relprop {
namespace {

constexpr double kInverseSqrt2 = 0.70710678118654752440;
constexpr double kInverseSqrt2Pi = 0.39894228040143267794;
constexpr double kSqrt2OverPi = 0.79788456080286535588;
constexpr double kGeluCubic = 0.044715;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double hard_sigmoid(double x) { return std::min(std::max(x / 6 + 0.5, 0.0), 1.0); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

template <class F>
void each(const float* x, float* y, std::int64_t n, F f) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(f(double(x[i])));
}

template <class F>
void each_slope(const float* x, const float* dy, float* dx, std::int64_t n, F slope) {
  for (std::int64_t i = 0; i < n; ++i)
    dx[i] = static_cast<float>(double(dy[i]) * slope(double(x[i])));
}

}  // namespace

void apply_function(const Activation& f, const float* x, float* y, std::int64_t n) {
  const double a = f.a, b = f.b;
  switch (f.function) {
    case Function::relu: return each(x, y, n, [](double v) { return v < 0 ? 0 : v; });
    case Function::leaky_relu: return each(x, y, n, [a](double v) { return v < 0 ? a * v : v; });
    case Function::clip:
      return each(x, y, n, [a, b](double v) { return std::min(std::max(v, a), b); });
    case Function::elu:
      return each(x, y, n, [a](double v) { return v < 0 ? a * std::expm1(v) : v; });
    case Function::silu: return each(x, y, n, [](double v) { return v * sigmoid(v); });
    case Function::gelu:
      return each(x, y, n, [](double v) { return 0.5 * v * (1 + std::erf(v * kInverseSqrt2)); });
    case Function::gelu_tanh:
      return each(x, y, n, [](double v) {
        return 0.5 * v * (1 + std::tanh(kSqrt2OverPi * (v + kGeluCubic * v * v * v)));
      });
    case Function::sigmoid: return each(x, y, n, sigmoid);
    case Function::tanh: return each(x, y, n, [](double v) { return std::tanh(v); });
    case Function::hard_sigmoid: return each(x, y, n, hard_sigmoid);
    case Function::hard_swish: return each(x, y, n, [](double v) { return v * hard_sigmoid(v); });
    case Function::softplus: return each(x, y, n, softplus);
    case Function::mish: return each(x, y, n, [](double v) { return v * std::tanh(softplus(v)); });
  }
}

void apply_derivative(const Activation& f, const float* x, const float* dy, float* dx,
                      std::int64_t n) {
  const double a = f.a, b = f.b;
  switch (f.function) {
    case Function::relu:
      return each_slope(x, dy, dx, n, [](double v) { return v > 0 ? 1.0 : 0.0; });
    case Function::leaky_relu:
      return each_slope(x, dy, dx, n, [a](double v) { return v > 0 ? 1.0 : a; });
    case Function::clip:
      return each_slope(x, dy, dx, n, [a, b](double v) { return v > a && v < b ? 1.0 : 0.0; });
    case Function::elu:
      return each_slope(x, dy, dx, n, [a](double v) { return v > 0 ? 1.0 : a * std::exp(v); });
    case Function::silu:
      return each_slope(x, dy, dx, n, [](double v) {
        const double s = sigmoid(v);
        return s * (1 + v * (1 - s));
      });
    case Function::gelu:
      return each_slope(x, dy, dx, n, [](double v) {
        return 0.5 * (1 + std::erf(v * kInverseSqrt2)) +
               v * kInverseSqrt2Pi * std::exp(-0.5 * v * v);
      });
    case Function::gelu_tanh:
      return each_slope(x, dy, dx, n, [](double v) {
        const double t = std::tanh(kSqrt2OverPi * (v + kGeluCubic * v * v * v));
        return 0.5 * (1 + t) + 0.5 * v * (1 - t * t) * kSqrt2OverPi * (1 + 3 * kGeluCubic * v * v);
      });
    case Function::sigmoid:
      return each_slope(x, dy, dx, n, [](double v) {
        const double s = sigmoid(v);
        return s * (1 - s);
      });
    case Function::tanh:
      return each_slope(x, dy, dx, n, [](double v) {
        const double t = std::tanh(v);
        return 1 - t * t;
      });
    case Function::hard_sigmoid:
      return each_slope(x, dy, dx, n, [](double v) { return v > -3 && v < 3 ? 1.0 / 6 : 0.0; });
    case Function::hard_swish:
      return each_slope(x, dy, dx, n, [](double v) {
        return v <= -3 ? 0.0 : v < 3 ? v / 3 + 0.5 : 1.0;
      });
    case Function::softplus: return each_slope(x, dy, dx, n, sigmoid);
    case Function::mish:
      return each_slope(x, dy, dx, n, [](double v) {
        const double t = std::tanh(softplus(v));
        return t + v * (1 - t * t) * sigmoid(v);
      });
  }
}

}  // namespace relprop
