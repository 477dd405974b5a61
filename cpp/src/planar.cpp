#include <algorithm>

#include "contraction_run.h"
#include "parallel.h"

namespace relprop {
Planes planes_of(const ContractionShape& s, Mode mode, const Kernels& kernels) {
  if (s.taps() == 1 || s.out_pixels() == 0) return {};
  const std::int64_t sources = reads_b(mode) || has_sum(mode) ? 2 : 1;
  return make_planes({s.y, s.kernel_height, s.source_height}, {s.x, s.kernel_width, s.source_width},
                     sources * s.channels, kTileFloats / (s.out_width * s.outputs),
                     kernels.vector_width);
}

std::int64_t planar_floats(const Contraction& c, const Kernels& kernels) {
  const ContractionShape& s = c.shape;
  return planar_scratch(s.channels, s.kernel_width, c.planes.reach, c.planes.width,
                        c.planes.floats(), s.outputs, kernels.panel_lanes) +
         3 * c.planes.rows * s.out_width * s.outputs;
}

void run_planar(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const Planes& planes = c.planes;
  const std::int64_t tiles = ceil_div(s.out_height, planes.rows);
  const std::int64_t values = planes.rows * s.out_width * s.outputs;
  const auto kernel = kernels.planar[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * s.groups * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / (s.groups * tiles), group = item / tiles % s.groups;
    const std::int64_t y0 = item % tiles * planes.rows;
    const std::int64_t offset =
        image * s.source_pixels() * s.source_channels() + group * s.channels;
    const auto& weights = c.planar[static_cast<std::size_t>(group)];
    float* mine = scratch + thread * scratch_stride;

    PlanarArgs args{};
    args.a = source.a + offset;
    args.b = source.b ? source.b + offset : nullptr;
    args.source_stride = s.source_channels();
    args.channels = s.channels;
    args.nonnegative = c.nonnegative;
    args.source_height = s.source_height;
    args.source_width = s.source_width;
    args.row0 = y0 + planes.row;
    args.column_shift = planes.column_shift.data();
    args.kernel_width = s.kernel_width;
    args.rows = std::min(planes.rows, s.out_height - y0);
    args.plane_rows = planes.height - planes.rows + args.rows;
    args.plane_width = planes.width;
    args.out_width = s.out_width;
    args.offset = weights.row.data();
    args.weight = weights.weight.data();
    args.group = weights.group.data();
    args.plane_floats = planes.floats();
    args.outputs = args.out_stride = s.outputs;
    args.scratch = mine;
    args.first = mine + planar_scratch(s.channels, s.kernel_width, planes.reach, planes.width,
                                       planes.floats(), s.outputs, kernels.panel_lanes);
    args.second = has_second(c.mode) ? args.first + values : nullptr;
    args.sum = has_sum(c.mode) ? args.first + 2 * values : nullptr;
    kernel(args);
    finish({image, y0 * s.out_width, args.rows * s.out_width, group * s.outputs, s.outputs,
            s.outputs, args.first, args.second, args.sum},
           thread);
  });
}

}  // namespace relprop
