#include "contraction.h"

#include <algorithm>
#include <utility>

#include "parallel.h"

namespace relprop {
namespace {

// Floats of one accumulator array of a tile: three of them and a block of weights fit into L2.
constexpr std::int64_t kTileFloats = 16384;
constexpr std::int64_t kSerialMultiplyAdds = 100000;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

struct Choice {
  Path path;
  const char* reason;
};

Choice choose_path(const ContractionShape& s, Mode mode, SourceFacts source,
                   const Kernels& kernels) {
  if (s.channels == 1 && s.outputs == 1) return {Path::depthwise, "one channel per group"};
  if (kernels.partition[static_cast<int>(mode)] == nullptr)
    return {Path::skip, "a product without a panel form"};
  if (source.sparse) return {Path::skip, "zeros behind a ReLU or max pooling"};
  if (s.out_pixels() < kernels.panel_lanes / 2) return {Path::skip, "too few pixels for a panel"};
  if (s.outputs < 16) return {Path::skip, "too few outputs to pay for a panel"};
  return {Path::partition, source.nonnegative ? "dense, non-negative" : "dense, either sign"};
}

AxisTaps no_taps() { return {nullptr, nullptr, nullptr}; }

// Extent of the tiles one image is cut into on the skip path.
struct SkipTiling {
  std::int64_t height, width, outputs;  // extents to cover
  std::int64_t tile_rows, tile_columns, tile_outputs;
  std::int64_t rows() const { return ceil_div(height, tile_rows); }
  std::int64_t columns() const { return ceil_div(width, tile_columns); }
  std::int64_t blocks() const { return ceil_div(outputs, tile_outputs); }
  std::int64_t tiles() const { return rows() * columns() * blocks(); }
};

SkipTiling skip_tiling(const Contraction& c, const Kernels& kernels, std::int64_t n) {
  const ContractionShape& s = c.shape;
  SkipTiling t;
  t.height = c.pointwise ? 1 : s.out_height;
  t.width = c.pointwise ? n * s.out_pixels() : s.out_width;
  t.outputs = s.outputs;
  t.tile_outputs = std::min<std::int64_t>(kernels.lane_block, s.outputs);
  const std::int64_t pixels = kTileFloats / kernels.lane_block;
  t.tile_columns = std::min(t.width, pixels);
  t.tile_rows = std::clamp<std::int64_t>(pixels / std::max<std::int64_t>(t.tile_columns, 1), 1,
                                         std::max<std::int64_t>(t.height, 1));
  return t;
}

void run_skip(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
              std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
              const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const SkipTiling t = skip_tiling(c, kernels, n);
  const std::int64_t images = c.pointwise ? 1 : n;
  const std::int64_t blocks = ceil_div(s.channels, kListBlock);
  const std::int64_t per_image = s.groups * t.tiles();
  const auto kernel = kernels.skip[static_cast<int>(c.mode)];

  parallel_for(n_threads, images * per_image, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / per_image;
    std::int64_t rest = item % per_image;
    const std::int64_t block = rest % t.blocks();
    rest /= t.blocks();
    const std::int64_t group = rest % s.groups;
    rest /= s.groups;
    const std::int64_t column = rest % t.columns(), row = rest / t.columns();

    SkipArgs args{};
    const std::int64_t list_offset = image * s.source_pixels() * s.source_channels();
    args.value_a = source.lists.value_a + list_offset + group * s.channels;
    args.value_b =
        source.lists.value_b ? source.lists.value_b + list_offset + group * s.channels : nullptr;
    args.index = source.lists.index + list_offset + group * s.channels;
    args.count_stride = s.groups * blocks * 2;
    args.count =
        source.lists.count + image * s.source_pixels() * args.count_stride + group * blocks * 2;
    args.list_stride = s.source_channels();
    args.channels = s.channels;
    args.source_width = s.source_width;
    args.kernel_height = s.kernel_height;
    args.kernel_width = s.kernel_width;
    args.y = c.pointwise ? no_taps() : s.y.view();
    args.x = c.pointwise ? no_taps() : s.x.view();
    args.y0 = row * t.tile_rows;
    args.y1 = std::min(args.y0 + t.tile_rows, t.height);
    args.x0 = column * t.tile_columns;
    args.x1 = std::min(args.x0 + t.tile_columns, t.width);
    args.weight = c.skip.data.data() + group * c.skip.group_stride;
    args.outputs = s.outputs;
    args.m0 = block * t.tile_outputs;
    args.m1 = std::min(args.m0 + t.tile_outputs, s.outputs);
    args.out_stride = args.m1 - args.m0;
    float* mine = scratch + thread * scratch_stride;
    // m0 counts from the group's first output, so the tile's origin lies m0 in front of scratch.
    args.first = mine - args.m0;
    args.second = has_second(c.mode) ? mine + kTileFloats - args.m0 : nullptr;
    args.sum = has_sum(c.mode) ? mine + 2 * kTileFloats - args.m0 : nullptr;
    kernel(args);

    ResultTile tile;
    tile.width = args.m1 - args.m0;
    tile.channel = group * s.outputs + args.m0;
    tile.first = mine;
    tile.second = has_second(c.mode) ? mine + kTileFloats : nullptr;
    tile.sum = has_sum(c.mode) ? mine + 2 * kTileFloats : nullptr;
    const std::int64_t columns = args.x1 - args.x0;
    if (c.pointwise || columns == t.width) {
      tile.image = c.pointwise ? 0 : image;
      tile.pixel = args.y0 * t.width + args.x0;
      tile.count = (args.y1 - args.y0) * columns;
      finish(tile, thread);
      return;
    }
    for (std::int64_t y = args.y0; y < args.y1; ++y) {
      tile.image = image;
      tile.pixel = y * t.width + args.x0;
      tile.count = columns;
      finish(tile, thread);
      tile.first += columns * tile.width;
      if (tile.second) tile.second += columns * tile.width;
      if (tile.sum) tile.sum += columns * tile.width;
    }
  });
}

void run_partition(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                   std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                   const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t lanes = kernels.panel_lanes;
  const std::int64_t tiles = ceil_div(s.out_pixels(), lanes);
  const auto kernel = kernels.partition[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * tiles * s.groups, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / (tiles * s.groups);
    const std::int64_t group = item / tiles % s.groups, tile_index = item % tiles;
    const PartitionWeights::Group& weights = c.partition.groups[static_cast<std::size_t>(group)];
    const std::int64_t offset =
        image * s.source_pixels() * s.source_channels() + group * s.channels;
    float* mine = scratch + thread * scratch_stride;

    PartitionArgs args{};
    args.a = source.a + offset;
    args.b = source.b ? source.b + offset : nullptr;
    args.source_stride = s.source_channels();
    args.source_width = s.source_width;
    args.channels = s.channels;
    args.nonnegative = c.nonnegative;
    args.kernel_height = s.kernel_height;
    args.kernel_width = s.kernel_width;
    args.y = c.pointwise ? no_taps() : s.y.view();
    args.x = c.pointwise ? no_taps() : s.x.view();
    args.out_width = s.out_width;
    args.p0 = tile_index * lanes;
    args.count = std::min(lanes, s.out_pixels() - args.p0);
    args.row = weights.row.data();
    args.weight = weights.weight.data();
    args.group = weights.group.data();
    args.outputs = s.outputs;
    args.scratch = mine;
    args.first = mine + partition_scratch(s.outputs, lanes);
    args.second = has_second(c.mode) ? args.first + lanes * s.outputs : nullptr;
    args.sum = has_sum(c.mode) ? args.first + 2 * lanes * s.outputs : nullptr;
    args.out_stride = s.outputs;
    kernel(args);
    finish({image, args.p0, args.count, group * s.outputs, s.outputs, args.first, args.second,
            args.sum},
           thread);
  });
}

std::int64_t depthwise_rows(const ContractionShape& s) {
  const std::int64_t row = s.out_width * s.out_channels();
  return std::clamp<std::int64_t>(kTileFloats / std::max<std::int64_t>(row, 1), 1,
                                  std::max<std::int64_t>(s.out_height, 1));
}

void run_depthwise(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                   std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                   const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t rows = depthwise_rows(s), tiles = ceil_div(s.out_height, rows);
  const std::int64_t channels = s.out_channels();
  const auto kernel = kernels.depthwise[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / tiles, offset = image * s.source_pixels() * channels;
    float* mine = scratch + thread * scratch_stride;
    DepthwiseArgs args{};
    args.a = source.a + offset;
    args.b = source.b ? source.b + offset : nullptr;
    args.channels = channels;
    args.source_width = s.source_width;
    args.kernel_width = s.kernel_width;
    args.y = s.y.view();
    args.x = s.x.view();
    args.out_width = s.out_width;
    args.y0 = item % tiles * rows;
    args.y1 = std::min(args.y0 + rows, s.out_height);
    args.weight = c.depthwise.data();
    args.first = mine;
    args.second = has_second(c.mode) ? mine + rows * s.out_width * channels : nullptr;
    args.sum = has_sum(c.mode) ? mine + 2 * rows * s.out_width * channels : nullptr;
    kernel(args);
    finish({image, args.y0 * s.out_width, (args.y1 - args.y0) * s.out_width, 0, channels,
            args.first, args.second, args.sum},
           thread);
  });
}

}  // namespace

const char* path_name(Path path) {
  switch (path) {
    case Path::skip: return "zero-skipping";
    case Path::partition: return "sign-partitioned";
    case Path::depthwise: return "depthwise";
  }
  return "";
}

bool ContractionShape::pointwise() const {
  if (kernel_height != 1 || kernel_width != 1) return false;
  if (source_height != out_height || source_width != out_width) return false;
  const auto identity = [](const TapTable& t) {
    for (std::int64_t o = 0; o < t.size(); ++o)
      if (t.count(o) != 1 || t.source[static_cast<std::size_t>(o)] != o) return false;
    return true;
  };
  return identity(y) && identity(x);
}

std::int64_t Contraction::weight_bytes() const {
  std::int64_t bytes = (skip.data.size() + depthwise.size()) * 4;
  for (const auto& g : partition.groups)
    bytes += static_cast<std::int64_t>(g.row.size() * 2 + g.weight.size() * 4 + g.group.size() * 4);
  return bytes;
}

Contraction make_contraction(ContractionShape shape, const WeightView& weight, Mode mode,
                             SourceFacts source, const Kernels& kernels) {
  Contraction c;
  c.shape = std::move(shape);
  c.mode = mode;
  c.nonnegative = source.nonnegative;
  c.pointwise = c.shape.pointwise();
  const Choice choice = choose_path(c.shape, mode, source, kernels);
  c.path = choice.path;
  c.reason = choice.reason;
  switch (c.path) {
    case Path::skip: c.skip = pack_skip(weight, kernels.lane_block, kernels.vector_width); break;
    case Path::partition: c.partition = pack_partition(weight); break;
    case Path::depthwise: c.depthwise = pack_depthwise(weight); break;
  }
  return c;
}

std::int64_t list_values(const ContractionShape& s) {
  return s.source_pixels() * s.source_channels();
}

std::int64_t list_bytes(const ContractionShape& s) {
  return list_values(s) + s.source_pixels() * s.groups * ceil_div(s.channels, kListBlock) * 2;
}

std::int64_t contraction_scratch(const Contraction& c, const Kernels& kernels) {
  const ContractionShape& s = c.shape;
  switch (c.path) {
    case Path::skip: return 3 * kTileFloats;
    case Path::partition:
      return partition_scratch(s.outputs, kernels.panel_lanes) +
             3 * kernels.panel_lanes * s.outputs;
    case Path::depthwise: return 3 * depthwise_rows(s) * s.out_width * s.out_channels();
  }
  return 0;
}

int threads_for(std::int64_t multiply_adds, int n_threads) {
  return multiply_adds < kSerialMultiplyAdds ? 1 : n_threads;
}

void run_contraction(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                     std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                     const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t work = n * s.out_pixels() * s.out_channels() * s.channels * s.taps();
  const int threads = threads_for(work, n_threads);
  switch (c.path) {
    case Path::skip:
      return run_skip(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::partition:
      return run_partition(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::depthwise:
      return run_depthwise(c, kernels, source, n, scratch, scratch_stride, threads, finish);
  }
}

}  // namespace relprop
