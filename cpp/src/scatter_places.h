#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "taps.h"

namespace relprop {

// Where the values of a source row go in the ring of output rows: see ScatterArgs.
struct ScatterPlaces {
  std::int64_t run = 0;  // 0: not possible
  std::int64_t copies = 0, copy_floats = 0, first_column = 0;
  std::vector<std::int32_t> row_base, column, weight_at;

  std::int64_t ring_floats() const { return copies * copy_floats; }
  // What they say of a call; the rest of it is left to be filled in.
  ScatterArgs args() const;
};

struct ScatterWindow {
  const TapTable &y, &x;
  std::int64_t kernel_height, kernel_width, source_height, source_width, channels, outputs;
};
ScatterPlaces scatter_places(const ScatterWindow& window, Mode mode, std::int64_t vector_width);

}  // namespace relprop
