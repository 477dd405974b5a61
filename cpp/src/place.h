#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "relprop/model.h"

namespace relprop {

// Every value of a sample of `small` that lies inside `big` when small's origin is at `begin`:
// f(offset in small, offset in big, values), offsets channels last.
void for_runs(const Shape& small, const Shape& big, const std::vector<std::int64_t>& begin,
              const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& f);

// Where each input of a concat or pad lies in its output.
std::vector<std::vector<std::int64_t>> input_origins(const std::vector<Node>& nodes,
                                                     const Node& node);

}  // namespace relprop
