#pragma once

#include "plan_impl.h"

namespace relprop {

// y = a b, elementwise. Relevance goes to a alone where b is a gate and the rule is pass (Arras et
// al. 2017), and in equal halves to both otherwise (Achtibat et al. 2024). docs/rules.md has more.
void forward_product(const Execution& run, const CompiledStep& step);

// What input 0 or 1 gets of r; for the gradient, r times the other one.
void back_product(const Execution& run, const CompiledStep& step, std::size_t input, const float* r,
                  float* r_in, bool accumulate);

// Whether input 1 gets nothing at all.
bool is_constant_gate(const CompiledStep& step);

}  // namespace relprop
