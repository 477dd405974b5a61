#pragma once

#include <cstdint>

#include "relprop/model.h"

namespace relprop {

// y = f(x) and dx = dy f'(x), n values; y may alias x, dx may alias dy. Float64 inside where f
// needs the exponential, so that every instruction set gives the same bits.
void apply_function(const Activation& f, const float* x, float* y, std::int64_t n);
void apply_derivative(const Activation& f, const float* x, const float* dy, float* dx,
                      std::int64_t n);

}  // namespace relprop
