#include "planes.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace relprop {
namespace {

constexpr std::int64_t kPlaneFloats = 98304;  // of a tile's planes, which stay in L2
// Tiles share source rows, and each of them copies what it reads: small tiles of tall windows would
// copy too much.
constexpr double kPlaneRepeats = 1.5;
// Planes that are nearly all margin multiply zeros (LeNet's last convolution backward: 1 pixel of
// 144).
constexpr std::int64_t kMostMargin = 4;

}  // namespace

Planes make_planes(const WindowAxis& y, const WindowAxis& x, std::int64_t channels,
                   std::int64_t most_rows, std::int64_t vector_width) {
  Planes planes;
  const auto row_shift = tap_shifts(y.taps, y.kernel, y.sources);
  planes.column_shift = tap_shifts(x.taps, x.kernel, x.sources);
  if (row_shift.empty() || planes.column_shift.empty()) return planes;
  const auto [top, bottom] = std::minmax_element(row_shift.begin(), row_shift.end());
  const auto [left, right] =
      std::minmax_element(planes.column_shift.begin(), planes.column_shift.end());
  const std::int64_t height = y.taps.size(), more = *bottom - *top;
  planes.row = *top;
  planes.reach = *right - *left + 1;
  planes.width = round_up(x.taps.size(), vector_width);
  if ((height + more) * planes.width > kMostMargin * y.sources * x.sources) return planes;
  const std::int64_t fit = kPlaneFloats / (channels * x.kernel * planes.width) - more;
  const std::int64_t most = std::min({height, most_rows, fit});
  if (most < 1) return planes;
  const std::int64_t tiles = ceil_div(height, most);
  const std::int64_t rows = ceil_div(height, tiles);
  if (tiles > 1 && static_cast<double>(rows + more) > kPlaneRepeats * static_cast<double>(rows))
    return planes;
  planes.rows = rows;
  planes.height = rows + more;
  for (std::int32_t shift : row_shift)
    planes.row_offset.push_back(static_cast<std::int32_t>((shift - planes.row) * planes.width));
  return planes;
}

}  // namespace relprop
