#pragma once

#include <vector>

#include "relprop/export.h"

namespace relprop {

enum class RuleKind {
  gradient,  // plain vector-Jacobian product, no multiplication by x
  epsilon,
  z_plus,
  alpha_beta,
  gamma,
  w_square,
  flat,
  z_box,
  reweighted,  // epsilon with the weights alpha max(w, 0) + beta min(w, 0)
  pass,
  norm,  // epsilon for layers without weights
};

// One propagation rule as data. The formulas stand beside the map kernels
// (src/kernels/elementwise.inl) and the table in src/linear.cpp; sources are in docs/rules.md.
struct Rule {
  RuleKind kind = RuleKind::epsilon;
  float alpha = 1, beta = 0;     // alpha_beta, reweighted
  float gamma = 0.25f;           // gamma
  float stabilizer = 1e-6f;      // epsilon of st(z) = z + epsilon sign(z), sign(0) = +1
  bool absorb_bias = true;       // false: the bias is left out of every denominator
  std::vector<float> low, high;  // z_box: one value, one per channel, or the layer input's shape
};

RELPROP_API const char* rule_name(RuleKind kind);
RELPROP_API std::vector<RuleKind> rule_kinds();

}  // namespace relprop
