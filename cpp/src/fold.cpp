#include <algorithm>

#include "contraction_run.h"
#include "parallel.h"

namespace relprop {
namespace {

constexpr std::int64_t kFoldFloats = 65536;  // of a tile's sums by tap, which stay in L2
// Tiles share source rows, whose sums are made once for each. Small tiles of tall windows would
// make them seven times (7 x 7, stride 2), which costs more than leaving L2.
constexpr double kFoldRepeats = 1.5;

std::int64_t fold_width(const Contraction& c, const Kernels& kernels) {
  return fold_plane_width(c.shape.source_width, c.shape.out_width, c.fold_shifts.period,
                          c.fold_shifts.most, kernels.vector_width);
}

// Floats of a tile's planes, none where there are no shifts.
std::int64_t fold_planes(const Contraction& c, const Kernels& kernels) {
  if (c.fold_shifts.shift.empty()) return 0;
  return c.fold_source_rows * c.shape.taps() * c.shape.outputs * fold_width(c, kernels);
}

// Floats of a source pixel's sums by tap.
std::int64_t fold_stride(const Contraction& c, const Kernels& kernels) {
  return ceil_div(c.shape.taps() * c.shape.outputs, kernels.vector_width) * kernels.vector_width;
}

}  // namespace

void make_fold(Contraction& c, const WeightView& weight, const Kernels& kernels) {
  const ContractionShape& s = c.shape;
  c.skip = pack_fold(weight, c.mode, kernels);
  c.fold_shifts = phase_shifts(s.x, s.kernel_width, s.source_width);
  const std::int64_t row = std::max<std::int64_t>(s.source_width * fold_stride(c, kernels), 1);
  c.fold_rows = s.out_height;
  c.fold_source_rows = widest_span(s.y, c.fold_rows);
  while (c.fold_rows > 1 && c.fold_source_rows * row > kFoldFloats) {
    const std::int64_t rows = ceil_div(c.fold_rows, 2), sources = widest_span(s.y, rows);
    const auto done = static_cast<double>(ceil_div(s.out_height, rows) * sources);
    if (done > kFoldRepeats * static_cast<double>(s.source_height)) return;
    c.fold_rows = rows;
    c.fold_source_rows = sources;
  }
}

std::int64_t fold_scratch(const Contraction& c, const Kernels& kernels) {
  const ContractionShape& s = c.shape;
  return 2 * (c.fold_source_rows * s.source_width * fold_stride(c, kernels) +
              c.fold_rows * s.out_width * s.outputs) +
         fold_planes(c, kernels);
}

void run_fold(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
              std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
              const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const ListShape lists = list_shape(c, n);
  const std::int64_t tiles = ceil_div(s.out_height, c.fold_rows), stride = fold_stride(c, kernels);
  const std::int64_t by_tap = c.fold_source_rows * s.source_width * stride;
  const auto kernel = kernels.skip[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * s.groups * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / (s.groups * tiles), group = item / tiles % s.groups;
    const std::int64_t y0 = item % tiles * c.fold_rows;
    const std::int64_t y1 = std::min(y0 + c.fold_rows, s.out_height);
    const SourceSpan span = source_span(s.y, y0, y1);
    float* mine = scratch + thread * scratch_stride;

    SkipArgs args = skip_args(c, lists, source.lists, image, group);
    args.kernel_height = args.kernel_width = 1;
    args.y = args.x = no_taps();
    args.outputs = args.m1 = s.taps() * s.outputs;
    args.y0 = span.first;
    args.y1 = span.end;
    args.x1 = s.source_width;
    args.out_stride = stride;
    args.first = mine;
    args.second = has_second(c.mode) ? mine + by_tap : nullptr;
    kernel(args);

    float* first = mine + 2 * by_tap;
    float* second = has_second(c.mode) ? first + c.fold_rows * s.out_width * s.outputs : nullptr;
    FoldArgs fold{};
    fold.taps = args.first;
    fold.row0 = span.first;
    fold.row1 = span.end;
    fold.source_width = s.source_width;
    fold.stride = stride;
    fold.outputs = s.outputs;
    fold.kernel_height = s.kernel_height;
    fold.kernel_width = s.kernel_width;
    fold.y = s.y.view();
    fold.x = s.x.view();
    fold.out_width = s.out_width;
    fold.y0 = y0;
    fold.y1 = y1;
    fold.out = first;
    fold.shift = c.fold_shifts.shift.empty() ? nullptr : c.fold_shifts.shift.data();
    fold.period = c.fold_shifts.period;
    fold.plane_margin = c.fold_shifts.most;
    fold.plane_width = fold_width(c, kernels);
    fold.planes = mine + 2 * by_tap + 2 * c.fold_rows * s.out_width * s.outputs;
    kernels.fold(fold);
    if (second) {
      fold.taps = args.second;
      fold.out = second;
      kernels.fold(fold);
    }
    finish({image, y0 * s.out_width, (y1 - y0) * s.out_width, group * s.outputs, s.outputs,
            s.outputs, first, second, nullptr},
           thread);
  });
}

}  // namespace relprop
