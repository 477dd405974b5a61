#include "layer_norm.h"
#include "plan_impl.h"

namespace relprop {
namespace {

double stabilized(double z, double eps) { return z < 0 ? z - eps : z + eps; }

struct Losses {
  double bias = 0, epsilon = 0, zero = 0;
};

// R (z - b) / st(z) arrives at the inputs: of R, the bias keeps R b / st(z) and the stabilizer
// R (st(z) - z) / st(z). At z = 0 without bias nothing arrives at all.
void add_quotient(Losses& losses, double r, double z, double bias, double eps) {
  const double d = stabilized(z, eps);
  if (d == 0) {
    losses.zero += r;
    return;
  }
  losses.bias += r * bias / d;
  (z == 0 ? losses.zero : losses.epsilon) += r * (d - z) / d;
}

// One output of a linear layer; biases are zero where the rule ignores them.
struct Output {
  double r, z, zp, zn, bias, bias_positive, bias_negative;
};

void add_linear(Losses& losses, const Rule& rule, const Output& o) {
  const double eps = rule.stabilizer;
  switch (rule.kind) {
    case RuleKind::epsilon:
    case RuleKind::reweighted:
    case RuleKind::norm: return add_quotient(losses, o.r, o.z, o.bias, eps);
    case RuleKind::z_plus: return add_quotient(losses, o.r, o.zp, o.bias_positive, eps);
    case RuleKind::alpha_beta:
      add_quotient(losses, rule.alpha * o.r, o.zp, o.bias_positive, eps);
      // z- is never positive: its stabilizer subtracts, and adds at exactly 0.
      return add_quotient(losses, -rule.beta * o.r, o.zn, o.bias_negative, eps);
    case RuleKind::gamma: {
      if (o.z == 0) {
        losses.zero += o.r;
        return;
      }
      const double g = rule.gamma, gp = o.z > 0 ? g : 0, gn = o.z > 0 ? 0 : g;
      const double bias = o.bias + gp * o.bias_positive + gn * o.bias_negative;
      return add_quotient(losses, o.r, o.z + gp * o.zp + gn * o.zn, bias, eps);
    }
    case RuleKind::w_square: return add_quotient(losses, o.r, o.z, o.bias * o.bias, eps);
    case RuleKind::flat:
    case RuleKind::z_box: return add_quotient(losses, o.r, o.z, 0, eps);
    case RuleKind::gradient:
    case RuleKind::pass: return;
  }
}

Losses linear_losses(const Execution& run, const CompiledStep& step, const float* r) {
  const Linear& layer = *step.linear;
  const ContractionShape& s = layer.forward.shape;
  const std::int64_t channels = s.out_channels(), size = s.out_pixels() * channels;
  const float *z = run.buffer(step.z), *zp = run.buffer(step.zp), *zn = run.buffer(step.zn);
  const float* fixed = layer.denominator.size() ? layer.denominator.data() : nullptr;
  Losses losses;
  for (std::int64_t k = 0; k < run.n * size; ++k) {
    const auto c = static_cast<std::size_t>(k % channels);
    Output o{};
    o.r = r[k];
    o.z = fixed ? fixed[k % size] : z ? z[k] : 0;
    o.zp = zp ? zp[k] : 0;
    o.zn = zn ? zn[k] : 0;
    if (layer.absorbs_bias()) {
      o.bias = layer.bias[c];
      o.bias_positive = layer.bias_positive[c];
      o.bias_negative = layer.bias_negative[c];
    }
    add_linear(losses, layer.rule, o);
  }
  return losses;
}

Losses layer_norm_losses(const Execution& run, const CompiledStep& step, const float* r) {
  const LayerNorm& layer = *step.layer_norm;
  const bool absorbs = step.rule.absorb_bias && !layer.bias.empty();
  const float* x = run.value(step.step.inputs[0]);
  Losses losses;
  if (step.rule.kind == RuleKind::pass) return losses;
  std::vector<double> z(static_cast<std::size_t>(layer.size));
  for (std::int64_t at = 0; at < run.n * step.step.size; at += layer.size) {
    layer_norm_outputs(layer, absorbs, x + at, z.data());
    for (std::size_t j = 0; j < z.size(); ++j)
      add_quotient(losses, r[at + static_cast<std::int64_t>(j)], z[j], absorbs ? layer.bias[j] : 0,
                   step.rule.stabilizer);
  }
  return losses;
}

}  // namespace

void account_losses(const Execution& run, int i, const float* r, LayerConservation& account) {
  const CompiledStep& step = run.step(i);
  if (step.gradient) return;
  Losses losses;
  if (step.step.kind == StepKind::linear) losses = linear_losses(run, step, r);
  if (step.step.kind == StepKind::layer_norm) losses = layer_norm_losses(run, step, r);
  if (step.step.kind == StepKind::add || step.step.kind == StepKind::average_pool ||
      step.step.kind == StepKind::resample) {
    const float* y = run.value(i);
    for (std::int64_t k = 0; k < run.n * step.step.size; ++k)
      add_quotient(losses, r[k], y[k], 0, step.rule.stabilizer);
  }
  account.bias = losses.bias;
  account.epsilon = losses.epsilon;
  account.zero = losses.zero;
}

}  // namespace relprop
