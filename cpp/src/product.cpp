#include "product.h"

namespace relprop {

void forward_product(const Execution& run, const CompiledStep& step) {
  const float *a = run.value(step.step.inputs[0]), *b = run.value(step.step.inputs[1]);
  float* y = run.buffer(step.value);
  for_blocks(run, run.n * step.step.size, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) y[k] = a[k] * b[k];
  });
}

void back_product(const Execution& run, const CompiledStep& step, std::size_t input, const float* r,
                  float* r_in, bool accumulate) {
  const float* other = run.value(step.step.inputs[1 - input]);
  const float share = is_constant_gate(step) ? 1.0f : 0.5f;
  for_blocks(run, run.n * step.step.size, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      const float part = r[k] * (step.gradient ? other[k] : share);
      r_in[k] = accumulate ? r_in[k] + part : part;
    }
  });
}

bool is_constant_gate(const CompiledStep& step) {
  return step.has_gate && !step.gradient && step.rule.kind == RuleKind::pass;
}

}  // namespace relprop
