#pragma once

#include "relprop/maximize.h"

namespace relprop {

// Throws Error if the index does not exist in an output of this shape.
void check_objective(const Objective& objective, const std::string& what);

// The objective of one output f of this shape (row-major), and its derivative with respect to f.
double evaluate_objective(const Objective& objective, const Shape& shape, const float* f,
                          float* derivative);

// Softmax of f at the index; NaN for objectives without one.
double probability_of(const Objective& objective, const Shape& shape, const float* f);

}  // namespace relprop
