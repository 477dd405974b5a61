#include "contraction.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "contraction_run.h"
#include "phases.h"

namespace relprop {
namespace {

constexpr std::int64_t kNarrowOutputs = 8, kNarrowChannels = 16, kFoldOutputs = 4;
// A window of few channels and outputs: 1.25 to 1.6 times as fast in planes as in panels (one
// kernel of 5 x 5 or 3 x 3 onto 6 or 16 outputs); with 32 channels 0.85 to 1. Lists need a vector
// of outputs, that many channels and rare values to be faster there.
constexpr std::int64_t kPlanarChannels = 16, kPlanarOutputs = 16;
constexpr double kPlanarDensity = 0.3;
// Rarer values of so few channels are scattered: behind a max pooling 0.25 to 0.5 of the time of
// planes (kernels of 5 x 5 from 16 to 6 and from 6 to 1 channels, AVX-512 and AVX2).
constexpr std::int64_t kScatterChannels = 16;
constexpr double kScatterDensity = 0.3;
// Where lists of one tap are too short to pay: 32 channels at 35 % non-zero are eleven entries and
// a loop exit. With two sums forward they never do: 0.5 to 1.1 of the time without lists, per layer
// of SqueezeNet, EfficientNet-Lite0 and ResNet-50. Backward they do with AVX-512 in images of few
// pixels, and everywhere if nearly all values are zero, as behind one class: SqueezeNet's last
// layer takes a quarter of the time.
constexpr std::int64_t kManyPixels = 512;
constexpr double kRareDensity = 0.05;
// Of plain products: lists of one tap pay below this density only, the dense product takes 0.86 to
// 0.91 of their time on ResNet-50 and EfficientNet-Lite0. It needs some channels to a tap.
constexpr double kShortListDensity = 0.2;
constexpr std::int64_t kDenseChannels = 8;
// So few uses of a weight that reading it is what counts.
constexpr std::int64_t kFewPixels = 4;
// Lists in pairs pay where neighbouring pixels are alike: in images so wide (VGG-16: 0.75 to 0.95
// of the time, ResNet-50's 14 x 14 pixels: 1.6), and where values are not rare, as they are behind
// a max pooling, which leaves neighbours nothing in common (1.1 to 1.3). There they also pay for
// more non-zero values than lists of single pixels do.
constexpr std::int64_t kPairWidth = 28;
constexpr double kPairDensity = 0.2, kPairGain = 1.3;
// Points of a list row where the layer has no rows: enough for a tile to be made of a few.
constexpr std::int64_t kPointRow = 64;

// Plain sums of so many terms are made by dot products in 0.6 to 0.7 of the time that lists take
// for half of them (first layers of ResNet-50 and VGG-16 backward, AVX-512 and AVX2); shorter ones
// end in too many sums over lanes (EfficientNet-Lite0, 72 terms: 1.2). Terms by sign take 0.8
// to 1.5.
constexpr double kNarrowTerms = 128;

struct Choice {
  Path path;
  std::string reason;
};

std::string nonzero_share(double density) {
  return std::to_string(std::lround(100 * density)) + " % non-zero expected";
}

// On average.
double terms_of_output(const ContractionShape& s) {
  const auto taps = [](const TapTable& t) {
    return static_cast<double>(t.source.size()) /
           static_cast<double>(std::max<std::int64_t>(t.size(), 1));
  };
  return static_cast<double>(s.channels) * taps(s.y) * taps(s.x);
}

// Sources are split into parts for a tile of pixels and weights by sign, which takes too long for
// few outputs and few pixels. Panels and lists need 0.5 to 0.9 of the time for 16 channels of a
// window, backward for 24 channels or 40 outputs of EfficientNet-Lite0 and 64 outputs of a window
// of VGG-16. With 7 x 7 pixels of one sample they take as long, of eight 1.3 times (ResNet-50: 0.96
// of the time).
bool pays_by_matrix(const ContractionShape& s, Mode mode, std::int64_t together,
                    const Kernels& kernels) {
  const bool window = s.taps() > 1, two = reads_b(mode);
  const std::int64_t channels = two ? 48 : window ? 32 : 16;
  const std::int64_t outputs = two ? (window ? 96 : 64) : 16;
  const std::int64_t pixels = mode == Mode::plain ? 1 : kernels.panel_lanes / 2;
  return kernels.matrix[0] != nullptr && s.channels >= channels && s.outputs >= outputs &&
         together >= pixels;
}

// Output pixels that go through a layer as if they were those of one image.
std::int64_t pixels_together(const ContractionShape& s, std::int64_t samples) {
  return s.pointwise() ? samples * s.out_pixels() : s.out_pixels();
}

// By matrix unit, by the dense product or by panels, which take any source.
Path dense_path(const ContractionShape& s, Mode mode, std::int64_t together,
                const Kernels& kernels) {
  if (pays_by_matrix(s, mode, together, kernels)) return Path::matrix;
  return mode == Mode::plain && s.channels >= kDenseChannels ? Path::dense : Path::partition;
}

// Ways that the geometry leaves open: the source may be listed in pairs, it may be copied into
// planes, kernel rows may be read as one tap, values may be scattered, or the outputs may be taken
// by phase.
struct Open {
  bool pairs, planes, kernel_rows, scatter, phases;
};

Choice choose_path(const ContractionShape& s, Mode mode, SourceFacts source, Open open,
                   const Kernels& kernels) {
  if (s.channels == 1 && s.outputs == 1) return {Path::depthwise, "one channel per group"};
  const bool lists_are_short = s.outputs < kernels.vector_width || s.channels < kNarrowChannels;
  if (open.scatter && s.channels <= kScatterChannels && source.density <= kScatterDensity)
    return {Path::scatter, "few channels and outputs, " + nonzero_share(source.density)};
  if (open.kernel_rows) return {Path::dense, "few channels, whole kernel rows"};
  if (open.planes && s.channels <= kPlanarChannels && s.outputs <= kPlanarOutputs &&
      (lists_are_short || source.density >= kPlanarDensity))
    return {Path::planar, "few channels and outputs of a window"};
  const bool few_outputs = s.outputs <= kFoldOutputs && s.outputs <= s.channels && s.taps() > 1;
  if (few_outputs && mode == Mode::plain && source.density >= kRareDensity &&
      terms_of_output(s) >= kNarrowTerms)
    return {Path::narrow, "few outputs of a window, plain"};
  if (few_outputs && !has_sum(mode)) return {Path::fold, "few outputs of a window"};
  if (s.outputs <= kNarrowOutputs && s.channels >= kNarrowChannels)
    return {Path::narrow, "few outputs of many channels"};
  // Whose window is the whole image has one source pixel, backward. Phase by phase every output
  // would be a product of its own: LeNet's last convolution takes 12 times as long (AVX2).
  const std::int64_t together = pixels_together(s, source.samples);
  if (together < kernels.panel_lanes / 2 || (!s.pointwise() && s.source_pixels() < kFewPixels))
    return {Path::skip, "too few pixels for a panel"};
  if (s.out_pixels() > s.source_pixels()) {
    if (open.phases) return {Path::phases, "most taps lie between strides"};
    return {Path::skip, "most taps lie between strides"};
  }
  const Path rest = dense_path(s, mode, together, kernels);
  const float below =
      (rest == Path::matrix ? kernels.matrix_below : kernels.skip_below)[static_cast<int>(mode)];
  // Backward, in images of few pixels, lists of one tap pay.
  const bool may_list = reads_b(mode) && together < kManyPixels && source.density < double(below);
  if (rest == Path::matrix && s.taps() == 1 && source.density >= kRareDensity && !may_list)
    return {rest, "one tap"};
  if (rest == Path::dense && s.taps() == 1 && source.density >= kShortListDensity)
    return {Path::dense, "one tap, plain"};
  // One vector of outputs is too few sums to hide how long an addition takes, but lists of few
  // channels are worse.
  const bool few = s.outputs <= kernels.vector_width && s.channels < kNarrowChannels;
  const bool short_lists =
      s.taps() == 1 && source.density >= kRareDensity &&
      (has_sum(mode) || !kernels.short_lists || (reads_b(mode) && together >= kManyPixels));
  if (short_lists) return {Path::partition, "one tap, lists would be short"};
  const double gain = open.pairs ? kPairGain : 1;
  if (source.density < gain * double(below) && !few)
    return {Path::skip, nonzero_share(source.density)};
  if (source.density < 1) return {rest, nonzero_share(source.density)};
  return {rest, source.nonnegative ? "dense, non-negative" : "dense, either sign"};
}

Contraction start_contraction(ContractionShape shape, Mode mode, SourceFacts source) {
  Contraction c;
  c.shape = std::move(shape);
  c.mode = mode;
  c.nonnegative = source.nonnegative;
  c.pointwise = c.shape.pointwise();
  return c;
}

void find_sources(Contraction& c) {
  const ContractionShape& s = c.shape;
  if (c.pointwise) return;
  c.row_source = tap_sources(s.y, s.kernel_height, s.source_width * s.source_channels());
  c.column_source = tap_sources(s.x, s.kernel_width, s.source_channels());
}

// Whether every output column reads one run of source columns: the taps of a kernel row are then as
// good as one tap of so many channels, a longer loop (LeNet's second layer, 6 channels: 0.7 of the
// time of planes).
bool reads_kernel_rows(const ContractionShape& s) {
  if (s.groups != 1 || s.kernel_width == 1) return false;
  for (std::int64_t o = 0; o < s.x.size(); ++o) {
    if (s.x.count(o) != s.kernel_width) return false;
    const std::int32_t first = s.x.begin[static_cast<std::size_t>(o)];
    for (std::int32_t t = 0; t < s.kernel_width; ++t) {
      const auto i = static_cast<std::size_t>(first + t);
      if (s.x.tap[i] != t || s.x.source[i] - s.x.source[static_cast<std::size_t>(first)] != t)
        return false;
    }
  }
  return true;
}

// For the paths that read the source as it is, through tables.
void pack_dense_source(Contraction& c, const WeightView& weight, const Kernels& kernels) {
  if (c.path == Path::matrix) {
    c.matrix = pack_matrix(weight);
  } else if (c.path == Path::dense) {
    c.dense = pack_dense(weight, kernels);
    c.kernel_rows = reads_kernel_rows(c.shape);
  } else {
    c.partition = pack_partition(weight, c.mode, c.nonnegative);
    // One channel has a copy of its own.
    c.kernel_rows = c.shape.channels > 1 && c.shape.channels < kernels.vector_width &&
                    reads_kernel_rows(c.shape);
  }
  find_sources(c);
}

// Neighbouring tiles share source rows, and each fills them for itself: tiles as large as they can
// be.
void find_fill_rows(Contraction& c) {
  const ContractionShape& s = c.shape;
  const std::int64_t row = 2 * s.source_width * s.source_channels();
  std::int64_t tiles = 0;
  do {
    c.fill_rows = ceil_div(s.out_height, ++tiles);
    c.fill_source_rows = widest_span(s.y, std::max<std::int64_t>(c.fill_rows, 1));
  } while (c.fill_rows > 1 && c.fill_source_rows * row > kFilledFloats);
}

}  // namespace

const char* path_name(Path path) {
  switch (path) {
    case Path::skip: return "zero-skipping";
    case Path::dense: return "dense";
    case Path::partition: return "sign-partitioned";
    case Path::matrix: return "matrix unit";
    case Path::planar: return "sign-partitioned in planes";
    case Path::fold: return "zero-skipping by tap";
    case Path::scatter: return "scattered";
    case Path::narrow: return "dot-product";
    case Path::depthwise: return "depthwise";
    case Path::phases: return "phase by phase";
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
  std::int64_t bytes = (skip.data.size() + scattered.size() + dense.data.size() +
                        matrix.data.size() + narrow.size() + depthwise.size()) *
                       4;
  for (const auto& group : partition) bytes += group.bytes();
  for (const auto& group : planar) bytes += group.bytes();
  for (const Phase& phase : phases.phase) bytes += phase.product.weight_bytes();
  return bytes;
}

bool pays_by_kernel_rows(const ContractionShape& s, Mode mode, SourceFacts source,
                         const Kernels& kernels) {
  // Of sums by sign, only the copy into panels is faster, where a row fills a vector; one channel
  // has a copy of its own.
  const bool panels = s.channels > 1 && s.channels * s.kernel_width >= kernels.vector_width;
  return s.channels < kDenseChannels && (mode == Mode::plain || panels) &&
         s.outputs >= kernels.vector_width && source.density >= kPlanarDensity &&
         reads_kernel_rows(s);
}

Contraction make_contraction(ContractionShape shape, const WeightView& weight, Mode mode,
                             SourceFacts source, const Kernels& kernels) {
  Contraction c = start_contraction(std::move(shape), mode, source);
  const bool whole = pixels_together(c.shape, source.samples) < kFewPixels;
  SlidingColumns sliding;
  if (!c.pointwise && !whole && list_kinds(c) == 1)
    sliding = sliding_columns(c.shape.x, c.shape.kernel_width, c.shape.source_width);
  const bool in_pairs = sliding.valid && kernels.lists_pairs &&
                        c.shape.source_width >= kPairWidth && source.density >= kPairDensity;
  Planes planes = planes_of(c.shape, mode, kernels);
  ScatterPlaces places = scatter_of(c.shape, mode, kernels);
  const PhaseSteps steps = phase_steps(c.shape, source.density, kernels);
  Choice choice =
      choose_path(c.shape, mode, source,
                  {in_pairs, planes.rows > 0,
                   mode == Mode::plain && pays_by_kernel_rows(c.shape, mode, source, kernels),
                   places.run > 0, steps.y > 0},
                  kernels);
  c.path = choice.path;
  c.reason = std::move(choice.reason);
  switch (c.path) {
    case Path::skip:
      c.sliding = sliding;
      c.pairs = in_pairs;
      c.skip = pack_skip(weight, mode, whole, c.shape.kernel_width, c.sliding, kernels);
      if (c.sliding.valid) c.shape.x = in_sliding_order(c.shape.x, c.sliding);
      break;
    case Path::fold: make_fold(c, weight, kernels); break;
    case Path::dense:
    case Path::matrix:
    case Path::partition: pack_dense_source(c, weight, kernels); break;
    case Path::planar:
      c.planes = std::move(planes);
      c.planar = pack_planar(weight, c.planes);
      break;
    case Path::scatter:
      c.scatter = std::move(places);
      c.scattered = pack_scatter(weight, mode, c.shape.kernel_width, kernels.vector_width);
      break;
    case Path::narrow:
    case Path::depthwise:
      if (c.path == Path::narrow)
        c.narrow = pack_narrow(weight);
      else
        c.depthwise = pack_depthwise(weight, mode, kernels.vector_width);
      c.columns = alike_outputs(c.shape.x, kAlikePixels);
      find_fill_rows(c);
      break;
    case Path::phases: c.phases = make_phases(c.shape, weight, mode, source, kernels, steps); break;
  }
  return c;
}

Contraction make_dense_contraction(ContractionShape shape, const WeightView& weight, Mode mode,
                                   SourceFacts source, const Kernels& kernels) {
  Contraction c = start_contraction(std::move(shape), mode, source);
  c.path = dense_path(c.shape, mode, c.shape.out_pixels(), kernels);
  pack_dense_source(c, weight, kernels);
  return c;
}

int list_values(const Contraction& c) { return (reads_b(c.mode) ? 2 : 1) * (c.pairs ? 2 : 1); }

// Only a split product has to know an entry's sign.
int list_kinds(const Contraction& c) {
  return c.mode == Mode::split_product && !c.nonnegative ? 2 : 1;
}

ListShape list_shape(const Contraction& c, std::int64_t n) {
  const ContractionShape& s = c.shape;
  ListShape lists{n * s.source_height, s.source_width, s.source_width, 0, 0};
  if (c.pointwise) {
    const std::int64_t points = n * s.source_pixels();
    lists.width = lists.pixels = std::min(points, kPointRow);
    lists.rows = ceil_div(points, std::max<std::int64_t>(lists.width, 1));
  }
  if (c.pairs) lists.width = ceil_div(lists.pixels, 2);
  lists.entries = lists.width * s.source_channels();
  lists.begins = s.groups * ceil_div(s.channels, kListBlock) * (lists.width * list_kinds(c) + 1);
  return lists;
}

ListBuffers list_buffers(const Contraction& c, std::int64_t n, float* memory) {
  const ListShape shape = list_shape(c, n);
  const std::int64_t values = shape.rows * shape.entries;
  ListBuffers lists;
  lists.value = memory;
  lists.begin = reinterpret_cast<std::uint32_t*>(memory + list_values(c) * values);
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
  if (c.pairs) points = s.source_height * ceil_div(s.source_width, 2);
  const std::int64_t blocks = s.groups * ceil_div(s.channels, kListBlock);
  const std::int64_t begins = points * blocks * (list_kinds(c) + 1);
  const std::int64_t values = points * s.source_channels();
  return list_values(c) * values + begins + ceil_div(values, 4);
}

}  // namespace relprop
