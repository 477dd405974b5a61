#include <algorithm>

#include "contraction_run.h"
#include "parallel.h"

namespace relprop {
namespace {

// Extent of the tiles one image is cut into on the skip path. All images of a pointwise layer are
// one, of kPointRow points a row.
struct SkipTiling {
  std::int64_t images, height, width, outputs;  // extents to cover
  std::int64_t tile_rows, tile_columns, tile_outputs;
  std::int64_t rows() const { return ceil_div(height, tile_rows); }
  std::int64_t columns() const { return ceil_div(width, tile_columns); }
  std::int64_t blocks() const { return ceil_div(outputs, tile_outputs); }
  std::int64_t tiles() const { return rows() * columns() * blocks(); }
};

SkipTiling skip_tiling(const Contraction& c, const ListShape& lists, std::int64_t n) {
  const ContractionShape& s = c.shape;
  SkipTiling t;
  t.images = c.pointwise ? 1 : n;
  t.height = c.pointwise ? lists.rows : s.out_height;
  t.width = c.pointwise ? lists.pixels : s.out_width;
  t.outputs = s.outputs;
  t.tile_outputs = std::min<std::int64_t>(c.skip.lanes, s.outputs);
  const std::int64_t pixels = kTileFloats / c.skip.lanes;
  t.tile_columns = std::min(t.width, pixels);
  t.tile_rows = std::clamp<std::int64_t>(pixels / std::max<std::int64_t>(t.tile_columns, 1), 1,
                                         std::max<std::int64_t>(t.height, 1));
  return t;
}

constexpr std::int64_t kSumChannels = 4 * kListBlock;

// The product over all source channels into the three sums at `mine`. Long sums are made of shorter
// ones, which takes 1 % more time and makes the error of VGG-16's heatmaps 0.82 of what it was.
void sum_channels(const Kernels& kernels, void (*kernel)(const SkipArgs&) noexcept, SkipArgs args,
                  float* mine) {
  const std::int64_t values = (args.y1 - args.y0) * (args.x1 - args.x0) * args.out_stride;
  const int arrays = args.sum ? 3 : args.second ? 2 : 1;
  const auto shift = [](float* p, std::int64_t n) { return p ? p + n : nullptr; };
  // Weights that are kept whole are read once, and as one stream.
  const std::int64_t step = args.whole ? args.channels : kSumChannels;
  for (std::int64_t k = 0; k < args.channels; k += step) {
    SkipArgs part = args;
    part.k0 = k;
    part.k1 = std::min(k + step, args.channels);
    float* to = k == 0 ? mine : mine + 3 * kTileFloats;
    part.first = shift(args.first, to - mine);
    part.second = shift(args.second, to - mine);
    part.sum = shift(args.sum, to - mine);
    kernel(part);
    for (int i = 0; i < arrays && k > 0; ++i) {
      float* total = mine + i * kTileFloats;
      kernels.add({total, to + i * kTileFloats, total, values});
    }
  }
}

}  // namespace

SkipArgs skip_args(const Contraction& c, const ListShape& shape, const ListBuffers& lists,
                   std::int64_t image, std::int64_t group) {
  const ContractionShape& s = c.shape;
  const std::int64_t row = image * s.source_height;
  const std::int64_t at = row * shape.entries + shape.width * group * s.channels;
  SkipArgs args{};
  args.value = lists.value + list_values(c) * at;
  args.index = lists.index + at;
  args.kinds = list_kinds(c);
  args.begin = lists.begin + row * shape.begins +
               group * ceil_div(s.channels, kListBlock) * (shape.width * args.kinds + 1);
  args.row_entries = shape.entries;
  args.row_begins = shape.begins;
  args.points = shape.width;
  args.channels = args.k1 = s.channels;
  args.source_width = shape.pixels;
  args.kernel_height = s.kernel_height;
  args.kernel_width = s.kernel_width;
  args.y = c.pointwise ? no_taps() : s.y.view();
  args.x = c.pointwise ? no_taps() : s.x.view();
  args.weight = c.skip.data.data() + group * c.skip.group_stride;
  args.whole = c.skip.whole;
  args.lanes = c.skip.lanes;
  args.sliding = c.sliding.valid;
  args.pairs = c.pairs;
  args.sliding_offset = c.sliding.offset;
  args.outputs = s.outputs;
  return args;
}

std::int64_t skip_scratch(const Contraction& c) {
  return (c.shape.channels > kSumChannels ? 6 : 3) * kTileFloats;
}

void run_skip(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
              std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
              const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const ListShape lists = list_shape(c, n);
  const SkipTiling t = skip_tiling(c, lists, n);
  const std::int64_t per_image = s.groups * t.tiles();
  const auto kernel = kernels.skip[static_cast<int>(c.mode)];

  parallel_for(n_threads, t.images * per_image, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / per_image;
    std::int64_t rest = item % per_image;
    const std::int64_t block = rest % t.blocks();
    rest /= t.blocks();
    const std::int64_t group = rest % s.groups;
    rest /= s.groups;
    const std::int64_t column = rest % t.columns(), row = rest / t.columns();

    SkipArgs args = skip_args(c, lists, source.lists, image, group);
    args.y0 = row * t.tile_rows;
    args.y1 = std::min(args.y0 + t.tile_rows, t.height);
    args.x0 = column * t.tile_columns;
    args.x1 = std::min(args.x0 + t.tile_columns, t.width);
    args.m0 = block * t.tile_outputs;
    args.m1 = std::min(args.m0 + t.tile_outputs, s.outputs);
    args.out_stride = ceil_div(args.m1 - args.m0, kernels.vector_width) * kernels.vector_width;
    float* mine = scratch + thread * scratch_stride;
    // m0 counts from the group's first output, so the tile's origin lies m0 in front of scratch.
    args.first = mine - args.m0;
    args.second = has_second(c.mode) ? mine + kTileFloats - args.m0 : nullptr;
    args.sum = has_sum(c.mode) ? mine + 2 * kTileFloats - args.m0 : nullptr;
    sum_channels(kernels, kernel, args, mine);

    ResultTile tile;
    tile.width = args.m1 - args.m0;
    tile.stride = args.out_stride;
    tile.channel = group * s.outputs + args.m0;
    tile.first = mine;
    tile.second = has_second(c.mode) ? mine + kTileFloats : nullptr;
    tile.sum = has_sum(c.mode) ? mine + 2 * kTileFloats : nullptr;
    tile.image = image;
    const std::int64_t columns = args.x1 - args.x0;
    if (columns == t.width) {
      tile.pixel = args.y0 * t.width;
      tile.count = (args.y1 - args.y0) * columns;
      // The last row of points may not be full.
      if (c.pointwise) tile.count = std::min(tile.count, n * s.out_pixels() - tile.pixel);
      return finish(tile, thread);
    }
    for (std::int64_t y = args.y0; y < args.y1; ++y) {
      tile.pixel = y * t.width + args.x0;
      tile.count = columns;
      finish(tile, thread);
      tile.first += columns * tile.stride;
      if (tile.second) tile.second += columns * tile.stride;
      if (tile.sum) tile.sum += columns * tile.stride;
    }
  });
}

}  // namespace relprop
