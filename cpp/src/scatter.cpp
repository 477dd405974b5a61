#include <algorithm>

#include "contraction_run.h"
#include "parallel.h"

namespace relprop {
namespace {

// Output rows of a tile: their results stay in L2.
std::int64_t tile_rows(const ContractionShape& s) {
  return std::clamp<std::int64_t>(kTileFloats / (s.out_width * s.outputs), 1, s.out_height);
}

std::int64_t ring_scratch(const Contraction& c) {
  return scatter_scratch(c.shape.kernel_height, c.scatter.ring_floats(), c.shape.out_width,
                         c.shape.outputs);
}

}  // namespace

ScatterPlaces scatter_of(const ContractionShape& s, Mode mode, const Kernels& kernels) {
  if (s.groups != 1 || s.taps() == 1 || s.out_pixels() == 0) return {};
  return scatter_places({s.y, s.x, s.kernel_height, s.kernel_width, s.source_height, s.source_width,
                         s.channels, s.outputs},
                        mode, kernels.vector_width);
}

std::int64_t scatter_floats(const Contraction& c) {
  return ring_scratch(c) + 2 * tile_rows(c.shape) * c.shape.out_width * c.shape.outputs;
}

void run_scatter(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                 std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                 const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t rows = tile_rows(s), tiles = ceil_div(s.out_height, rows);
  const std::int64_t image_floats = s.source_pixels() * s.channels;
  const auto kernel = kernels.scatter[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / tiles;
    float* mine = scratch + thread * scratch_stride;
    ScatterArgs args = c.scatter.args();
    args.a = source.a + image * image_floats;
    args.b = source.b ? source.b + image * image_floats : nullptr;
    args.source_row = s.source_width * s.channels;
    args.kernel_height = s.kernel_height;
    args.weight = c.scattered.data();
    args.out_width = s.out_width;
    args.outputs = s.outputs;
    args.y0 = item % tiles * rows;
    args.y1 = std::min(args.y0 + rows, s.out_height);
    const SourceSpan span = source_span(s.y, args.y0, args.y1);
    args.source_y0 = span.first;
    args.source_y1 = span.end;
    args.scratch = mine;
    args.first = mine + ring_scratch(c);
    args.second = has_second(c.mode) ? args.first + rows * s.out_width * s.outputs : nullptr;
    kernel(args);
    finish({image, args.y0 * s.out_width, (args.y1 - args.y0) * s.out_width, 0, s.outputs,
            s.outputs, args.first, args.second, nullptr},
           thread);
  });
}

}  // namespace relprop
