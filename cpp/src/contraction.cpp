#include "contraction.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "parallel.h"

namespace relprop {
namespace {

// Floats of one accumulator array of a tile: three of them and a block of weights fit into L2.
constexpr std::int64_t kTileFloats = 16384;
// Less is not worth a region: it costs a few microseconds, milliseconds where the cores are busy.
constexpr std::int64_t kSerialMultiplyAdds = 1000000, kSerialValues = 100000;
constexpr std::int64_t kNarrowOutputs = 8, kNarrowChannels = 16;
// Where lists of one tap are too short to pay: 32 channels at 35 % non-zero are eleven entries and
// a loop exit. EfficientNet-Lite0 and SqueezeNet, per layer: 0.6 to 0.9 of the time below these.
constexpr std::int64_t kManyPixels = 512, kShortRow = 128;
// So few uses of a weight that reading it is what counts.
constexpr std::int64_t kFewPixels = 4;
constexpr std::int64_t kFoldFloats = 65536;  // of a tile's sums by tap, which stay in L2
constexpr std::int64_t kNarrowWork = 16;     // a narrow output counts as this many others in a tile
// Points of a list row where the layer has no rows: enough for a tile to be made of a few.
constexpr std::int64_t kPointRow = 64;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

struct Choice {
  Path path;
  const char* reason;
};

Choice choose_path(const ContractionShape& s, Mode mode, SourceFacts source,
                   const Kernels& kernels) {
  if (s.channels == 1 && s.outputs == 1) return {Path::depthwise, "one channel per group"};
  if (s.outputs <= kNarrowOutputs && s.taps() > 1 && !has_sum(mode))
    return {Path::fold, "few outputs of a window"};
  if (s.outputs <= kNarrowOutputs && s.channels >= kNarrowChannels)
    return {Path::narrow, "few outputs of many channels"};
  if (s.out_pixels() < kernels.panel_lanes / 2) return {Path::skip, "too few pixels for a panel"};
  // One vector of outputs is too few sums to hide how long an addition takes, but lists of few
  // channels are worse.
  const bool few = s.outputs <= kernels.vector_width && s.channels < kNarrowChannels;
  const bool short_lists =
      s.taps() == 1 && weight_halves(mode) == 2 &&
      (s.out_pixels() >= kManyPixels || (has_sum(mode) && s.outputs <= kShortRow));
  if (short_lists) return {Path::partition, "one tap, lists would be short"};
  if (source.sparse && !few) return {Path::skip, "zeros behind a ReLU or max pooling"};
  return {Path::partition, source.nonnegative ? "dense, non-negative" : "dense, either sign"};
}

AxisTaps no_taps() { return {nullptr, nullptr, nullptr}; }

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
  t.width = c.pointwise ? lists.width : s.out_width;
  t.outputs = s.outputs;
  t.tile_outputs = std::min<std::int64_t>(c.skip.lanes, s.outputs);
  const std::int64_t pixels = kTileFloats / c.skip.lanes;
  t.tile_columns = std::min(t.width, pixels);
  t.tile_rows = std::clamp<std::int64_t>(pixels / std::max<std::int64_t>(t.tile_columns, 1), 1,
                                         std::max<std::int64_t>(t.height, 1));
  return t;
}

// The lists and weights of a group of an image.
SkipArgs skip_args(const Contraction& c, const ListShape& shape, const ListBuffers& lists,
                   std::int64_t image, std::int64_t group) {
  const ContractionShape& s = c.shape;
  const std::int64_t row = image * s.source_height;
  const std::int64_t at = row * shape.entries + shape.width * group * s.channels;
  SkipArgs args{};
  args.value = lists.value + (reads_b(c.mode) ? 2 * at : at);
  args.index = lists.index + at;
  args.kinds = list_kinds(c);
  args.begin = lists.begin + row * shape.begins +
               group * ceil_div(s.channels, kListBlock) * (shape.width * args.kinds + 1);
  args.row_entries = shape.entries;
  args.row_begins = shape.begins;
  args.channels = s.channels;
  args.source_width = shape.width;
  args.kernel_height = s.kernel_height;
  args.kernel_width = s.kernel_width;
  args.y = c.pointwise ? no_taps() : s.y.view();
  args.x = c.pointwise ? no_taps() : s.x.view();
  args.weight = c.skip.data.data() + group * c.skip.group_stride;
  args.whole = c.skip.whole;
  args.lanes = c.skip.lanes;
  args.sliding = c.sliding.valid;
  args.sliding_offset = c.sliding.offset;
  args.outputs = s.outputs;
  return args;
}

void run_skip(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
              std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
              const std::function<void(const ResultTile&, int)>& finish) {
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
    kernel(args);

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

// Source rows [first, end) that output rows [y0, y1) read.
struct RowSpan {
  std::int64_t first, end;
};
RowSpan source_rows(const TapTable& y, std::int64_t y0, std::int64_t y1) {
  const AxisTaps taps = y.view();
  if (taps.begin[y0] == taps.begin[y1]) return {0, 0};
  const auto [low, high] =
      std::minmax_element(taps.source + taps.begin[y0], taps.source + taps.begin[y1]);
  return {*low, *high + 1};
}

std::int64_t fold_width(const Contraction& c, const Kernels& kernels) {
  return fold_plane_width(c.shape.source_width, c.shape.out_width, c.fold_margin,
                          kernels.vector_width);
}

// Floats of a tile's planes, none where there are no shifts.
std::int64_t fold_planes(const Contraction& c, const Kernels& kernels) {
  if (c.fold_shift.empty()) return 0;
  return c.fold_source_rows * c.shape.taps() * c.shape.outputs * fold_width(c, kernels);
}

// Floats of a source pixel's sums by tap.
std::int64_t fold_stride(const Contraction& c, const Kernels& kernels) {
  return ceil_div(c.shape.taps() * c.shape.outputs, kernels.vector_width) * kernels.vector_width;
}

void make_fold(Contraction& c, const WeightView& weight, const Kernels& kernels) {
  const ContractionShape& s = c.shape;
  c.skip = pack_fold(weight, c.mode, kernels);
  c.fold_shift = tap_shifts(s.x, s.kernel_width);
  for (std::int32_t shift : c.fold_shift)
    c.fold_margin = std::max<std::int64_t>(c.fold_margin, std::abs(shift));
  const std::int64_t row = std::max<std::int64_t>(s.source_width * fold_stride(c, kernels), 1);
  for (c.fold_rows = s.out_height;; c.fold_rows = ceil_div(c.fold_rows, 2)) {
    c.fold_source_rows = 0;
    for (std::int64_t y = 0; y < s.out_height; y += c.fold_rows) {
      const RowSpan span = source_rows(s.y, y, std::min(y + c.fold_rows, s.out_height));
      c.fold_source_rows = std::max(c.fold_source_rows, span.end - span.first);
    }
    if (c.fold_rows <= 1 || c.fold_source_rows * row <= kFoldFloats) return;
  }
}

void run_fold(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
              std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
              const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const ListShape lists = list_shape(c, n);
  const std::int64_t tiles = ceil_div(s.out_height, c.fold_rows), stride = fold_stride(c, kernels);
  const std::int64_t by_tap = c.fold_source_rows * s.source_width * stride;
  const auto kernel = kernels.skip[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * s.groups * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / (s.groups * tiles), group = item / tiles % s.groups;
    const std::int64_t y0 = item % tiles * c.fold_rows;
    const std::int64_t y1 = std::min(y0 + c.fold_rows, s.out_height);
    const RowSpan span = source_rows(s.y, y0, y1);
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
    fold.shift = c.fold_shift.empty() ? nullptr : c.fold_shift.data();
    fold.plane_margin = c.fold_margin;
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
    finish({image, args.p0, args.count, group * s.outputs, s.outputs, s.outputs, args.first,
            args.second, args.sum},
           thread);
  });
}

// Rows of a tile whose results, all channels of them, fill a tile of the scratch.
std::int64_t whole_rows(const ContractionShape& s, std::int64_t channels) {
  const std::int64_t row = s.out_width * channels;
  return std::clamp<std::int64_t>(kTileFloats / std::max<std::int64_t>(row, 1), 1,
                                  std::max<std::int64_t>(s.out_height, 1));
}

void run_narrow(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t rows = whole_rows(s, s.outputs * kNarrowWork),
                     tiles = ceil_div(s.out_height, rows);
  const std::int64_t values = rows * s.out_width * s.outputs;
  const auto kernel = kernels.narrow[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * s.groups * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / (s.groups * tiles), group = item / tiles % s.groups;
    const std::int64_t offset =
        image * s.source_pixels() * s.source_channels() + group * s.channels;
    float* mine = scratch + thread * scratch_stride;
    NarrowArgs args{};
    args.a = source.a + offset;
    args.b = source.b ? source.b + offset : nullptr;
    args.source_stride = s.source_channels();
    args.source_width = s.source_width;
    args.channels = s.channels;
    args.kernel_width = s.kernel_width;
    args.y = s.y.view();
    args.x = s.x.view();
    args.out_width = s.out_width;
    args.y0 = item % tiles * rows;
    args.y1 = std::min(args.y0 + rows, s.out_height);
    args.weight = c.narrow.data() + group * s.taps() * s.outputs * s.channels;
    args.outputs = s.outputs;
    args.first = mine;
    args.second = has_second(c.mode) ? mine + values : nullptr;
    args.sum = has_sum(c.mode) ? mine + 2 * values : nullptr;
    kernel(args);
    finish({image, args.y0 * s.out_width, (args.y1 - args.y0) * s.out_width, group * s.outputs,
            s.outputs, s.outputs, args.first, args.second, args.sum},
           thread);
  });
}

void run_depthwise(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                   std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                   const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t rows = whole_rows(s, s.out_channels()), tiles = ceil_div(s.out_height, rows);
  const std::int64_t channels = s.out_channels();
  const auto kernel = kernels.depthwise[static_cast<int>(c.mode)];
  parallel_for(n_threads, n * tiles, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / tiles, offset = image * s.source_pixels() * channels;
    float* mine = scratch + thread * scratch_stride;
    DepthwiseArgs args{};
    args.a = source.a + offset;
    args.b = source.b ? source.b + offset : nullptr;
    args.channels = channels;
    args.nonnegative = c.nonnegative;
    args.source_width = s.source_width;
    args.kernel_width = s.kernel_width;
    args.taps = s.taps();
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
    finish({image, args.y0 * s.out_width, (args.y1 - args.y0) * s.out_width, 0, channels, channels,
            args.first, args.second, args.sum},
           thread);
  });
}

}  // namespace

const char* path_name(Path path) {
  switch (path) {
    case Path::skip: return "zero-skipping";
    case Path::partition: return "sign-partitioned";
    case Path::fold: return "zero-skipping by tap";
    case Path::narrow: return "dot-product";
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
  std::int64_t bytes = (skip.data.size() + narrow.size() + depthwise.size()) * 4;
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
    case Path::skip:
      if (!c.pointwise) c.sliding = sliding_columns(c.shape.x, c.shape.kernel_width);
      c.skip = pack_skip(weight, mode, c.shape.out_pixels() < kFewPixels, c.shape.kernel_width,
                         c.sliding, kernels);
      if (c.sliding.valid) c.shape.x = in_sliding_order(c.shape.x, c.sliding);
      break;
    case Path::fold: make_fold(c, weight, kernels); break;
    case Path::partition: c.partition = pack_partition(weight, mode); break;
    case Path::narrow: c.narrow = pack_narrow(weight); break;
    case Path::depthwise: c.depthwise = pack_depthwise(weight, mode, kernels.vector_width); break;
  }
  return c;
}

// Only a split product has to know an entry's sign.
int list_kinds(const Contraction& c) {
  return c.mode == Mode::split_product && !c.nonnegative ? 2 : 1;
}

ListShape list_shape(const Contraction& c, std::int64_t n) {
  const ContractionShape& s = c.shape;
  ListShape lists{n * s.source_height, s.source_width, 0, 0};
  if (c.pointwise) {
    const std::int64_t points = n * s.source_pixels();
    lists.width = std::min(points, kPointRow);
    lists.rows = ceil_div(points, std::max<std::int64_t>(lists.width, 1));
  }
  lists.entries = lists.width * s.source_channels();
  lists.begins = s.groups * ceil_div(s.channels, kListBlock) * (lists.width * list_kinds(c) + 1);
  return lists;
}

ListBuffers list_buffers(const Contraction& c, std::int64_t n, float* memory) {
  const ListShape shape = list_shape(c, n);
  const std::int64_t values = shape.rows * shape.entries;
  ListBuffers lists;
  lists.value = memory;
  lists.begin = reinterpret_cast<std::uint32_t*>(memory + (reads_b(c.mode) ? 2 : 1) * values);
  lists.index = reinterpret_cast<std::uint8_t*>(lists.begin + shape.rows * shape.begins);
  return lists;
}

std::int64_t list_floats(const Contraction& c) {
  const ContractionShape& s = c.shape;
  std::int64_t points = s.source_pixels();
  // Of n samples' points up to kPointRow - 1 are added to fill the last row, but only if they are
  // more than one row.
  if (c.pointwise)
    points = points < kPointRow ? 2 * points : ceil_div(points, kPointRow) * kPointRow;
  const std::int64_t blocks = s.groups * ceil_div(s.channels, kListBlock);
  const std::int64_t begins = points * blocks * (list_kinds(c) + 1);
  const std::int64_t values = points * s.source_channels();
  return (reads_b(c.mode) ? 2 : 1) * values + begins + ceil_div(values, 4);
}

std::int64_t contraction_scratch(const Contraction& c, const Kernels& kernels) {
  const ContractionShape& s = c.shape;
  switch (c.path) {
    case Path::skip: return 3 * kTileFloats;
    case Path::partition:
      return partition_scratch(s.outputs, kernels.panel_lanes) +
             3 * kernels.panel_lanes * s.outputs;
    case Path::fold:
      return 2 * (c.fold_source_rows * s.source_width * fold_stride(c, kernels) +
                  c.fold_rows * s.out_width * s.outputs) +
             fold_planes(c, kernels);
    case Path::narrow: return 3 * whole_rows(s, s.outputs * kNarrowWork) * s.out_width * s.outputs;
    case Path::depthwise:
      return 3 * whole_rows(s, s.out_channels()) * s.out_width * s.out_channels();
  }
  return 0;
}

int threads_for_values(std::int64_t values, int n_threads) {
  return values < kSerialValues ? 1 : n_threads;
}

void run_contraction(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                     std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                     const std::function<void(const ResultTile&, int)>& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t work = n * s.out_pixels() * s.out_channels() * s.channels * s.taps();
  const int threads = work < kSerialMultiplyAdds ? 1 : n_threads;
  switch (c.path) {
    case Path::skip:
      return run_skip(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::fold:
      return run_fold(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::partition:
      return run_partition(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::narrow:
      return run_narrow(c, kernels, source, n, scratch, scratch_stride, threads, finish);
    case Path::depthwise:
      return run_depthwise(c, kernels, source, n, scratch, scratch_stride, threads, finish);
  }
}

}  // namespace relprop
