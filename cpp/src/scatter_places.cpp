#include "scatter_places.h"

#include <algorithm>

namespace relprop {

ScatterPlaces scatter_places(const ScatterWindow& w, Mode mode, std::int64_t vector_width) {
  const std::int64_t pixel = (has_second(mode) ? 2 : 1) * w.outputs;
  const std::int64_t run = w.kernel_width * pixel;
  const std::int64_t row_weights =
      (reads_b(mode) ? 2 : 1) * round_up(std::max<std::int64_t>(run, 1), vector_width);
  ScatterPlaces places;
  if (has_sum(mode) || run == 0 || run > kMostScatterVectors * vector_width ||
      w.kernel_height > kMostScatterRows)
    return places;
  places.row_base = tap_bases(w.y, w.kernel_height, w.source_height);
  const std::vector<std::int32_t> base = tap_bases(w.x, w.kernel_width, w.source_width);
  if (places.row_base.empty() || base.empty()) return places;
  // Neighbours `step` columns apart share outputs up to this many sources away.
  const std::int64_t step =
      base.size() < 2 ? w.kernel_width : std::max<std::int64_t>(base[1] - base[0], 1);
  places.copies = ceil_div(w.kernel_width, step);
  const std::int64_t margin = std::max<std::int64_t>(-base.front(), 0);
  const std::int64_t columns =
      margin + std::max<std::int64_t>(w.x.size(), base.back() + w.kernel_width);
  places.copy_floats = round_up(columns * pixel, vector_width) + vector_width;
  places.first_column = margin * pixel;
  for (std::int64_t x = 0; x < w.source_width; ++x)
    for (std::int64_t c = 0; c < w.channels; ++c) {
      places.column.push_back(
          static_cast<std::int32_t>(x % places.copies * places.copy_floats +
                                    (margin + base[static_cast<std::size_t>(x)]) * pixel));
      places.weight_at.push_back(static_cast<std::int32_t>(c * w.kernel_height * row_weights));
    }
  places.run = run;
  return places;
}

ScatterArgs ScatterPlaces::args() const {
  ScatterArgs args{};
  args.row_base = row_base.data();
  args.column = column.data();
  args.weight_at = weight_at.data();
  args.run = run;
  args.copies = copies;
  args.copy_floats = copy_floats;
  args.first_column = first_column;
  return args;
}

}  // namespace relprop
