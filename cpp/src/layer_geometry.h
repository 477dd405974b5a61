#pragma once

#include <vector>

#include "contraction.h"
#include "lower.h"
#include "relprop/rules.h"

namespace relprop {

// Geometry and weights of a linear layer, one direction being the transpose of the other.
struct LayerGeometry {
  ContractionShape forward;
  WeightView weight;       // seen forward
  std::vector<float> own;  // what `weight` looks at, if not the layer's
};
LayerGeometry geometry_of(const Model& model, const Step& step, const Rule& rule);

// The other direction.
WeightView swapped(const WeightView& weight);
ContractionShape transposed(const ContractionShape& forward);

std::vector<float> bias_of(const Model& model, const Step& step);

}  // namespace relprop
