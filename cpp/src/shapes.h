#pragma once

#include <string>
#include <vector>

#include "relprop/model.h"

namespace relprop {

// Checks everything about the op that its inputs' shapes and its own numbers can tell and returns
// the shape of its output. Throws Error naming the layer.
Shape infer_shape(const std::string& name, const Op& op, const std::vector<const Shape*>& inputs);

// Throws Error unless every size is at least 1 and they multiply to at most kMaxElements. `what`
// begins the message.
void check_shape(const Shape& shape, const std::string& what);

}  // namespace relprop
