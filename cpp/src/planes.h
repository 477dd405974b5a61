#pragma once

#include <cstdint>
#include <vector>

#include "taps.h"

namespace relprop {

// How a tile of output rows of a window of stride 1 is laid out in planes: see PlanarArgs.
struct Planes {
  std::int64_t rows = 0;  // output rows of a tile; 0: not possible
  std::int64_t row = 0;   // source row that output row 0 sees first
  std::int64_t height = 0, width = 0, reach = 0;
  std::vector<std::int32_t> column_shift;
  std::vector<std::int32_t> row_offset;  // of every kernel row, in floats
  std::int64_t floats() const { return height * width; }
};

struct WindowAxis {
  const TapTable& taps;
  std::int64_t kernel, sources;
};

// channels: those whose planes are held at a time, of all sources. most_rows: of a tile.
Planes make_planes(const WindowAxis& y, const WindowAxis& x, std::int64_t channels,
                   std::int64_t most_rows, std::int64_t vector_width);

}  // namespace relprop
