#include "layer_norm.h"

#include <cmath>

#include "parallel.h"

namespace relprop {
namespace {

struct Row {
  double mean, inverse_deviation;
};

Row statistics(const float* x, std::int64_t n, double eps) {
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, 1 / std::sqrt(squares / static_cast<double>(n) + eps)};
}

double weight_at(const LayerNorm& layer, std::int64_t i) {
  return layer.weight.empty() ? 1 : layer.weight[static_cast<std::size_t>(i)];
}
double bias_at(const LayerNorm& layer, std::int64_t i) {
  return layer.bias.empty() ? 0 : layer.bias[static_cast<std::size_t>(i)];
}

void store(float& to, double value, bool accumulate) {
  to = accumulate ? to + static_cast<float>(value) : static_cast<float>(value);
}

double output_at(const LayerNorm& layer, bool absorb_bias, const Row& row, float x,
                 std::int64_t j) {
  const double z = (x - row.mean) * row.inverse_deviation * weight_at(layer, j);
  return absorb_bias ? z + bias_at(layer, j) : z;
}

void norm_row(const LayerNorm& layer, const Rule& rule, const float* x, const float* r, float* r_in,
              bool accumulate) {
  const Row row = statistics(x, layer.size, layer.eps);
  const auto share = [&](std::int64_t j) {
    const double z = output_at(layer, rule.absorb_bias, row, x[j], j);
    const double d = z < 0 ? z - rule.stabilizer : z + rule.stabilizer;
    return d == 0 ? 0 : weight_at(layer, j) * row.inverse_deviation * r[j] / d;
  };
  double sum = 0;
  for (std::int64_t j = 0; j < layer.size; ++j) sum += share(j);
  const double mean = sum / static_cast<double>(layer.size);
  for (std::int64_t i = 0; i < layer.size; ++i)
    store(r_in[i], x[i] * (share(i) - mean), accumulate);
}

// dx_i = (g_i - mean(g) - h_i mean(g h)) / deviation with g = w r, h = (x - mean) / deviation.
void gradient_row(const LayerNorm& layer, const float* x, const float* r, float* r_in,
                  bool accumulate) {
  const Row row = statistics(x, layer.size, layer.eps);
  const auto h = [&](std::int64_t i) { return (x[i] - row.mean) * row.inverse_deviation; };
  double sum = 0, product = 0;
  for (std::int64_t i = 0; i < layer.size; ++i) {
    sum += weight_at(layer, i) * r[i];
    product += weight_at(layer, i) * r[i] * h(i);
  }
  const auto n = static_cast<double>(layer.size);
  for (std::int64_t i = 0; i < layer.size; ++i)
    store(r_in[i],
          row.inverse_deviation * (weight_at(layer, i) * r[i] - sum / n - h(i) * product / n),
          accumulate);
}

template <class F>
void for_rows(const Execution& run, const CompiledStep& step, F f) {
  const std::int64_t rows = run.n * step.step.size / step.layer_norm->size;
  parallel_for(threads_for_values(run.n * step.step.size, run.threads), rows,
               [&](std::int64_t row, int) { f(row * step.layer_norm->size); });
}

}  // namespace

void forward_layer_norm(const Execution& run, const CompiledStep& step) {
  const LayerNorm& layer = *step.layer_norm;
  const float* x = run.value(step.step.inputs[0]);
  float* y = run.buffer(step.value);
  for_rows(run, step, [&](std::int64_t at) {
    const Row row = statistics(x + at, layer.size, layer.eps);
    for (std::int64_t i = 0; i < layer.size; ++i)
      y[at + i] = static_cast<float>(output_at(layer, true, row, x[at + i], i));
  });
}

void back_layer_norm(const Execution& run, const CompiledStep& step, const float* r, float* r_in,
                     bool accumulate) {
  const LayerNorm& layer = *step.layer_norm;
  const float* x = run.value(step.step.inputs[0]);
  for_rows(run, step, [&](std::int64_t at) {
    if (step.gradient) return gradient_row(layer, x + at, r + at, r_in + at, accumulate);
    if (step.rule.kind != RuleKind::pass)
      return norm_row(layer, step.rule, x + at, r + at, r_in + at, accumulate);
    for (std::int64_t i = 0; i < layer.size; ++i) store(r_in[at + i], r[at + i], accumulate);
  });
}

void layer_norm_outputs(const LayerNorm& layer, bool absorb_bias, const float* x, double* z) {
  const Row row = statistics(x, layer.size, layer.eps);
  for (std::int64_t j = 0; j < layer.size; ++j) z[j] = output_at(layer, absorb_bias, row, x[j], j);
}

}  // namespace relprop
