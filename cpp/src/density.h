#pragma once

#include "lower.h"

namespace relprop {

// Writes every step's density and relevance_density: the shares of non-zero values to expect,
// computed from the weights alone. They decide which kernel is faster, never what it computes.
void expect_densities(const Model& model, Lowered& lowered);

}  // namespace relprop
