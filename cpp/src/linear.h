#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "contraction.h"
#include "lower.h"
#include "relprop/plan.h"
#include "relprop/rules.h"

namespace relprop {

// One rule as the engine sees it: which sums the forward product makes, which denominators are
// kept, the map R -> s, and what multiplies the backward product. A new rule is one row of kRules
// in linear.cpp.
struct RuleTraits {
  RuleKind kind;
  const char* name;
  bool split;                     // forward makes z+ and z-; otherwise z alone
  bool keep_z, keep_zp, keep_zn;  // denominators that the map reads
  Map map;
  Mode backward, backward_signed;  // for inputs known to be >= 0, and for any sign
  Tie tie, tie_signed;
  // Of the backward product. positive: max(w, 0), for inputs known to be >= 0.
  // reweighted: of the denominators as well, so that z has a product of its own.
  enum class Weights { own, positive, square, ones, reweighted } weights;
};
const RuleTraits& traits_of(RuleKind kind);

// A value of `rows` x `columns` pixels inside its padding, as far as a layer reads it: at (top,
// left) of height x width. Without a height there is none.
struct PaddedSource {
  std::int64_t top = 0, left = 0, height = 0, width = 0, rows = 0, columns = 0;
};

// A dense, convolution, transposed convolution or affine layer, compiled for one rule.
struct Linear {
  Rule rule;
  const RuleTraits* traits = nullptr;
  Contraction forward;
  PaddedSource padded;  // what `forward` reads in place of the value
  // gamma divides by z + gamma z+, where the rounding of z counts up to 2 / gamma times
  // (VGG-16: 2.5 times torch's error with z = z+ + z-), so z has a product of its own. So has the
  // output where `forward` has other weights than the layer.
  std::unique_ptr<const Contraction> plain;
  Contraction backward;                                   // empty with forward_only
  std::vector<float> bias, bias_positive, bias_negative;  // empty: none
  Tail tail = Tail::none;
  float tail_a = 0, tail_b = 0;
  Tie tie = Tie::copy;
  AlignedFloats denominator;  // w^2, flat: one sample's, (out pixels, channels)
  AlignedFloats minus_box;    // z^B: -(W+ low + W- high), the same shape
  AlignedFloats low, high;    // z^B: (source pixels, channels)

  bool absorbs_bias() const { return rule.absorb_bias && !bias.empty(); }
  std::int64_t multiply_adds() const;
  std::int64_t weight_bytes() const;
};

// step must be StepKind::linear. Throws Error naming the layer where the rule does not fit it.
Linear make_linear(const Model& model, const Step& step, const Lowered& lowered, const Rule& rule,
                   const Kernels& kernels, const PlanOptions& options);

}  // namespace relprop
