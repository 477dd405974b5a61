#include "contraction_run.h"

#include <algorithm>

#include "parallel.h"
#include "phases.h"

namespace relprop {
namespace {

// Less is not worth a region: it costs a few microseconds, milliseconds where the cores are busy.
constexpr std::int64_t kSerialMultiplyAdds = 1000000, kSerialValues = 100000;
// Outputs of a tile on the partition path, an even number: more would not stay in L2 (ResNet-50's
// last layers have 2048), fewer would copy a panel for too little work.
constexpr std::int64_t kPairedOutputs = 256, kFewPairedOutputs = 64;
// Fewer would leave threads waiting for the last one.
constexpr std::int64_t kTilesPerThread = 3;
constexpr std::int64_t kNarrowWork = 16;  // a narrow output counts as this many others in a tile

int threads_for(const ContractionShape& s, std::int64_t n, int n_threads) {
  const std::int64_t work = n * s.out_pixels() * s.out_channels() * s.channels * s.taps();
  return work < kSerialMultiplyAdds ? 1 : n_threads;
}

// Outputs of a tile where there are `tiles` of all outputs: so few that every thread gets some.
std::int64_t paired_outputs(std::int64_t outputs, std::int64_t tiles, int n_threads) {
  const std::int64_t most = ceil_div(outputs, kFewPairedOutputs);
  const std::int64_t wanted = ceil_div(4 * n_threads, std::max<std::int64_t>(tiles, 1));
  const std::int64_t blocks =
      std::max(ceil_div(outputs, kPairedOutputs), n_threads == 1 ? 1 : std::min(most, wanted));
  return ceil_div(outputs, 2 * blocks) * 2;
}

// Floats of a thread's panels, sums and results.
std::int64_t paired_scratch(const ContractionShape& s, const Kernels& kernels) {
  const std::int64_t outputs = std::min(s.outputs, kPairedOutputs);
  return partition_scratch(outputs, kernels.panel_lanes) +
         kPairArrays * kernels.panel_lanes * outputs;
}

// All images of a pointwise layer are one: of 7 x 7 pixels each would fill 49 lanes of 64.
void run_partition(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                   std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                   const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t images = c.pointwise ? 1 : n;
  const std::int64_t pixels = c.pointwise ? n * s.out_pixels() : s.out_pixels();
  const std::int64_t lanes = kernels.panel_lanes, tiles = ceil_div(pixels, lanes);
  const std::int64_t step = paired_outputs(s.outputs, images * tiles * s.groups, n_threads);
  const std::int64_t blocks = ceil_div(s.outputs, step);
  const std::int64_t at_once = source.fill ? blocks : 1;  // blocks that share a filled tile
  const auto kernel = kernels.partition[static_cast<int>(c.mode)];
  parallel_for(
      n_threads, images * tiles * s.groups * blocks / at_once, [&](std::int64_t item, int thread) {
        const std::int64_t first = item * at_once % blocks;
        const std::int64_t place = item * at_once / blocks, image = place / (tiles * s.groups);
        const std::int64_t group = place / tiles % s.groups, p0 = place % tiles * lanes;
        const PairWeights<std::uint16_t>& weights = c.partition[static_cast<std::size_t>(group)];
        float* mine = scratch + thread * scratch_stride;

        PartitionArgs args{};
        args.source_stride = s.source_channels();
        args.channels = c.kernel_rows ? s.kernel_width * s.channels : s.channels;
        args.nonnegative = c.nonnegative;
        args.kernel_height = s.kernel_height;
        args.kernel_width = c.kernel_rows ? 1 : s.kernel_width;
        args.row_source = c.pointwise ? nullptr : c.row_source.data();
        args.column_source = c.pointwise ? nullptr : c.column_source.data();
        args.out_height = s.out_height;
        args.out_width = s.out_width;
        args.p0 = p0;
        args.count = std::min(lanes, pixels - p0);
        args.row = weights.row.data();
        args.weight = weights.weight.data();
        args.group = weights.group.data();
        args.pairs = ceil_div(s.outputs, 2);
        if (source.fill) {
          float* a = mine + paired_scratch(s, kernels);
          float* b = reads_b(c.mode) ? a + lanes * s.channels : nullptr;
          source.fill(p0, args.count, a, b);  // pointwise
          args.a = a;
          args.b = b;
          args.p0 = 0;
        } else {
          const std::int64_t offset =
              image * s.source_pixels() * s.source_channels() + group * s.channels;
          args.a = source.a + offset;
          args.b = source.b ? source.b + offset : nullptr;
        }
        for (std::int64_t block = first; block < first + at_once; ++block) {
          args.m0 = block * step;
          args.outputs = std::min(step, s.outputs - args.m0);
          args.scratch = mine;
          args.first = mine + partition_scratch(args.outputs, lanes);
          args.second = has_second(c.mode) ? args.first + lanes * args.outputs : nullptr;
          args.sum = has_sum(c.mode) ? args.first + 2 * lanes * args.outputs : nullptr;
          args.out_stride = args.outputs;
          kernel(args);
          finish({image, p0, args.count, group * s.outputs + args.m0, args.outputs, args.outputs,
                  args.first, args.second, args.sum},
                 thread);
        }
      });
}

// All images of a pointwise layer are one.
void run_dense(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
               std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
               const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t images = c.pointwise ? 1 : n;
  const std::int64_t pixels = c.pointwise ? n * s.out_pixels() : s.out_pixels();
  // Tiles of nearly the same size, whose results fit into the scratch.
  const std::int64_t most = kTileFloats / kernels.dense_lanes;
  const std::int64_t step = ceil_div(pixels, ceil_div(pixels, most));
  const std::int64_t tiles = ceil_div(pixels, step);
  const std::int64_t blocks = ceil_div(s.outputs, kernels.dense_lanes),
                     per_image = s.groups * tiles;
  parallel_for(n_threads, images * per_image * blocks, [&](std::int64_t item, int thread) {
    const std::int64_t block = item % blocks, image = item / blocks / per_image;
    const std::int64_t group = item / blocks / tiles % s.groups, tile = item / blocks % tiles;
    const std::int64_t offset =
        image * s.source_pixels() * s.source_channels() + group * s.channels;
    float* mine = scratch + thread * scratch_stride;

    DenseArgs args{};
    args.a = source.a + offset;
    args.source_stride = s.source_channels();
    args.channels = c.kernel_rows ? s.kernel_width * s.channels : s.channels;
    args.rows = s.taps() * s.channels;
    args.kernel_width = c.kernel_rows ? 1 : s.kernel_width;
    args.row_source = c.pointwise ? nullptr : c.row_source.data();
    args.column_source = c.pointwise ? nullptr : c.column_source.data();
    args.out_height = s.out_height;
    args.out_width = s.out_width;
    args.p0 = tile * step;
    args.count = std::min(step, pixels - args.p0);
    args.weight = c.dense.data.data() + group * c.dense.group_stride;
    args.m0 = block * kernels.dense_lanes;
    args.m1 = std::min(args.m0 + kernels.dense_lanes, s.outputs);
    args.out_stride = kernels.dense_lanes;
    // m0 counts from the group's first output, so the tile's origin lies m0 in front of scratch.
    args.out = mine - args.m0;
    kernels.dense(args);
    finish({image, args.p0, args.count, group * s.outputs + args.m0, args.m1 - args.m0,
            args.out_stride, mine, nullptr, nullptr},
           thread);
  });
}

// Rows of a tile whose results, all channels of them, fill a tile of the scratch.
std::int64_t whole_rows(const ContractionShape& s, std::int64_t channels) {
  const std::int64_t row = s.out_width * channels;
  return std::clamp<std::int64_t>(kTileFloats / std::max<std::int64_t>(row, 1), 1,
                                  std::max<std::int64_t>(s.out_height, 1));
}

// Floats of a source that is filled for a tile of rows.
std::int64_t filled_floats(const Contraction& c) {
  return 2 * c.fill_source_rows * c.shape.source_width * c.shape.source_channels();
}

// Where output rows [first, last) of an image find their source: as it is, or filled for them,
// which the sample's first row lies in front of.
template <class Args>
void place_source(const Contraction& c, const ContractionSource& source, std::int64_t image,
                  std::int64_t first, std::int64_t last, float* memory, Args& args) {
  const ContractionShape& s = c.shape;
  const std::int64_t channels = s.source_channels();
  if (!source.fill) {
    const std::int64_t offset = image * s.source_pixels() * channels;
    args.a = source.a + offset;
    args.b = source.b ? source.b + offset : nullptr;
    return;
  }
  const SourceSpan span = source_span(s.y, first, last);
  const std::int64_t pixel = span.first * s.source_width;
  const std::int64_t pixels = (span.end - span.first) * s.source_width;
  float* b = reads_b(c.mode) ? memory + pixels * channels : nullptr;
  source.fill(image * s.source_pixels() + pixel, pixels, memory, b);
  args.a = memory - pixel * channels;
  args.b = b ? b - pixel * channels : nullptr;
}

// What the kernels of these two have in common.
template <class Args>
void set_pixels(const Contraction& c, Args& args) {
  args.source_width = c.shape.source_width;
  args.kernel_width = c.shape.kernel_width;
  args.y = c.shape.y.view();
  args.x = c.shape.x.view();
  args.alike = c.columns.alike.data();
  args.period = c.columns.period;
  args.out_width = c.shape.out_width;
}

void run_narrow(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t rows = whole_rows(s, s.outputs * kNarrowWork);
  const std::int64_t step = source.fill ? c.fill_rows : rows, tiles = ceil_div(s.out_height, step);
  const std::int64_t values = round_up(rows * s.out_width * s.outputs, kernels.vector_width);
  const auto kernel = kernels.narrow[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * s.groups * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / (s.groups * tiles), group = item / tiles % s.groups;
    const std::int64_t first = item % tiles * step, last = std::min(first + step, s.out_height);
    float* mine = scratch + thread * scratch_stride;
    NarrowArgs args{};
    set_pixels(c, args);
    args.source_stride = s.source_channels();
    args.channels = s.channels;
    args.weight = c.narrow.data() + group * s.taps() * s.outputs * s.channels;
    args.outputs = s.outputs;
    args.tap = reinterpret_cast<PixelTap*>(mine);
    args.first = mine + round_up(tap_scratch(s.taps()), kernels.vector_width);
    args.second = has_second(c.mode) ? args.first + values : nullptr;
    args.sum = has_sum(c.mode) ? args.first + 2 * values : nullptr;
    place_source(c, source, image, first, last, args.first + 3 * values, args);
    args.a += group * s.channels;
    if (args.b) args.b += group * s.channels;
    for (args.y0 = first; args.y0 < last; args.y0 = args.y1) {
      args.y1 = std::min(args.y0 + rows, last);
      kernel(args);
      finish({image, args.y0 * s.out_width, (args.y1 - args.y0) * s.out_width, group * s.outputs,
              s.outputs, s.outputs, args.first, args.second, args.sum},
             thread);
    }
  });
}

void run_depthwise(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                   std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                   const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t channels = s.out_channels(), rows = whole_rows(s, channels);
  const std::int64_t step = source.fill ? c.fill_rows : rows, tiles = ceil_div(s.out_height, step);
  const std::int64_t values = round_up(rows * s.out_width * channels, kernels.vector_width);
  const auto kernel = kernels.depthwise[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / tiles, first = item % tiles * step;
    const std::int64_t last = std::min(first + step, s.out_height);
    float* mine = scratch + thread * scratch_stride;
    DepthwiseArgs args{};
    set_pixels(c, args);
    args.channels = channels;
    args.nonnegative = c.nonnegative;
    args.taps = s.taps();
    args.weight = c.depthwise.data();
    args.tap = reinterpret_cast<PixelTap*>(mine);
    args.first = mine + round_up(tap_scratch(s.taps()), kernels.vector_width);
    args.second = has_second(c.mode) ? args.first + values : nullptr;
    args.sum = has_sum(c.mode) ? args.first + 2 * values : nullptr;
    place_source(c, source, image, first, last, args.first + 3 * values, args);
    for (args.y0 = first; args.y0 < last; args.y0 = args.y1) {
      args.y1 = std::min(args.y0 + rows, last);
      kernel(args);
      finish({image, args.y0 * s.out_width, (args.y1 - args.y0) * s.out_width, 0, channels,
              channels, args.first, args.second, args.sum},
             thread);
    }
  });
}

}  // namespace

std::int64_t contraction_scratch(const Contraction& c, const Kernels& kernels) {
  const ContractionShape& s = c.shape;
  switch (c.path) {
    case Path::skip: return skip_scratch(c);
    case Path::dense: return kTileFloats;
    case Path::partition:
      return paired_scratch(s, kernels) + (c.pointwise ? 2 * kernels.panel_lanes * s.channels : 0);
    case Path::matrix: return matrix_floats(c);
    case Path::planar: return planar_floats(c, kernels);
    case Path::fold: return fold_scratch(c, kernels);
    case Path::scatter: return scatter_floats(c);
    case Path::narrow:
    case Path::depthwise: {
      const std::int64_t channels = c.path == Path::narrow ? s.outputs : s.out_channels();
      const std::int64_t work = c.path == Path::narrow ? kNarrowWork : 1;
      return round_up(tap_scratch(s.taps()), kernels.vector_width) +
             3 * round_up(whole_rows(s, channels * work) * s.out_width * channels,
                          kernels.vector_width) +
             filled_floats(c);
    }
    case Path::phases: return phases_scratch(c, kernels);
  }
  return 0;
}

bool fills_tiles(const Contraction& c, const Kernels& kernels, std::int64_t n, int n_threads) {
  const ContractionShape& s = c.shape;
  const int threads = threads_for(s, n, n_threads);
  std::int64_t tiles = 0;
  if (c.path == Path::depthwise || (c.path == Path::narrow && s.groups == 1))
    tiles = ceil_div(s.out_height, c.fill_rows);
  if (c.path == Path::partition && c.pointwise && s.groups == 1)
    tiles = ceil_div(s.out_pixels(), kernels.panel_lanes);
  if (c.path == Path::matrix && matrix_fills_tiles(c))
    tiles = ceil_div(s.out_pixels(), kMatrixPixels);
  return tiles > 0 && (threads == 1 || n * tiles >= kTilesPerThread * threads);
}

int threads_for_values(std::int64_t values, int n_threads) {
  return values < kSerialValues ? 1 : n_threads;
}

void run_contraction(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                     std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                     const FinishTile& finish) {
  const int threads = threads_for(c.shape, n, n_threads);
  switch (c.path) {
    case Path::skip:
      return run_skip(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::fold:
      return run_fold(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::dense:
      return run_dense(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::partition:
      return run_partition(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::matrix:
      return run_matrix(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::planar:
      return run_planar(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::scatter:
      return run_scatter(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::narrow:
      return run_narrow(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::depthwise:
      return run_depthwise(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::phases:
      return run_phases(c, kernels, source, n, scratch, scratch_stride, threads, finish);
  }
}

}  // namespace relprop
