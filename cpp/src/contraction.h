#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/kernels.h"
#include "pack.h"
#include "planes.h"
#include "scatter_places.h"
#include "taps.h"

namespace relprop {

enum class Path {
  skip,       // zero-skipping: lists of non-zero sources, lanes over output channels
  dense,      // plain, dense sources: lanes over output channels, several pixels at once
  partition,  // sign-partitioned: a panel of sources, lanes over output pixels
  matrix,     // by a matrix unit: tiles of pixels, rows and outputs, floats in three parts
  planar,     // few channels and outputs: the same, with planes in place of panels
  fold,       // few outputs of a window: zero-skipping with lanes over (tap, output), then summed
  scatter,    // few channels and outputs, rare values: each is added to the outputs it reaches
  narrow,     // few outputs: dot products, lanes over source channels
  depthwise,  // one source channel per output channel
  phases,     // outputs between strides: a dense or a sign-partitioned product for every phase
};
const char* path_name(Path path);
// Whether the source comes as lists of its non-zero values.
constexpr bool reads_lists(Path path) { return path == Path::skip || path == Path::fold; }

// What is known of the source when the plan is made; decides the path.
struct SourceFacts {
  bool nonnegative = false;
  double density = 1;        // share of non-zero values to expect
  std::int64_t samples = 1;  // that usually come together
};

// Geometry of one direction of a linear layer. Pixels are those of one sample.
struct ContractionShape {
  std::int64_t groups = 1, channels = 0, outputs = 0;  // channels and outputs per group
  std::int64_t source_height = 1, source_width = 1, out_height = 1, out_width = 1;
  std::int64_t kernel_height = 1, kernel_width = 1;
  TapTable y, x;

  std::int64_t source_pixels() const { return source_height * source_width; }
  std::int64_t out_pixels() const { return out_height * out_width; }
  std::int64_t source_channels() const { return groups * channels; }
  std::int64_t out_channels() const { return groups * outputs; }
  std::int64_t taps() const { return kernel_height * kernel_width; }
  // Every output pixel reads exactly the source pixel of its own index.
  bool pointwise() const;
};

struct Phase;
// Steps between the outputs of a phase, in rows and columns.
struct PhaseSteps {
  std::int64_t y = 0, x = 0;
};
struct Phases {
  PhaseSteps step;
  std::vector<Phase> phase;
};

// One direction of a linear layer, compiled: what is summed, by which kernel, with packed weights.
struct Contraction {
  ContractionShape shape;
  Mode mode = Mode::plain;
  Path path = Path::skip;
  std::string reason;
  bool nonnegative = false;
  bool pointwise = false;
  SlidingColumns sliding;
  bool pairs = false;          // the source is listed in pairs of pixels
  SkipWeights skip;            // fold: of a pointwise product onto (tap, output)
  std::int64_t fold_rows = 0;  // rows of a tile, and how many source rows it reads at most
  std::int64_t fold_source_rows = 0;
  PhaseShifts fold_shifts;
  PartitionWeights partition;
  PlanarWeights planar;
  Planes planes;
  ScatterPlaces scatter;
  AlignedFloats scattered;
  DenseWeights dense;
  bool kernel_rows = false;  // dense, panels: the columns of a kernel row are channels of one tap
  MatrixWeights matrix;
  Phases phases;
  std::vector<std::int64_t> row_source, column_source;  // see PartitionArgs
  AlignedFloats narrow, depthwise;
  // Depthwise: columns that are taken together; output rows whose source is filled at once, and how
  // many source rows those are at most.
  AlikeOutputs columns;
  std::int64_t fill_rows = 0, fill_source_rows = 0;

  std::int64_t weight_bytes() const;
};

// Outputs (y + p * step.y, x + q * step.x), for which `product` is all there is.
struct Phase {
  std::int64_t y, x;
  Contraction product;
};

// Whether a product is faster with the taps of a kernel row as one.
bool pays_by_kernel_rows(const ContractionShape& s, Mode mode, SourceFacts source,
                         const Kernels& kernels);
Contraction make_contraction(ContractionShape shape, const WeightView& weight, Mode mode,
                             SourceFacts source, const Kernels& kernels);
// By the dense or the sign-partitioned product, whatever else might be faster.
Contraction make_dense_contraction(ContractionShape shape, const WeightView& weight, Mode mode,
                                   SourceFacts source, const Kernels& kernels);

// Part of the result, in a thread's scratch: `count` pixels from `pixel` of sample `image`,
// channels [channel, channel + width). first, second and sum hold (count, width).
struct ResultTile {
  std::int64_t image, pixel, count, channel, width;
  std::int64_t stride;  // floats between pixels of first, second and sum
  float* first;
  float* second;
  float* sum;
  std::int64_t step = 1;  // from each pixel of the tile to the next one, in the result
};

// Lists of the non-zero sources of n samples (see ListArgs). A list row is a row
// of source pixels; pointwise layers have no rows, and take any run of points.
struct ListShape {
  std::int64_t rows, pixels, width;  // width: points, see ListArgs
  std::int64_t entries, begins;      // room of a row
};
ListShape list_shape(const Contraction& c, std::int64_t n);

struct ListBuffers {
  float* value = nullptr;
  std::uint8_t* index = nullptr;
  std::uint32_t* begin = nullptr;
};
ListBuffers list_buffers(const Contraction& c, std::int64_t n, float* memory);
// Floats of such memory: this many for every sample are enough for any n.
std::int64_t list_floats(const Contraction& c);
int list_kinds(const Contraction& c);
int list_values(const Contraction& c);  // floats of an entry

// Per-thread scratch that run_contraction needs.
std::int64_t contraction_scratch(const Contraction& c, const Kernels& kernels);

// Makes a and b (null where there is none) of `count` pixels from `pixel`, counted over all
// samples: (count, source channels) each.
using FillSource = std::function<void(std::int64_t pixel, std::int64_t count, float* a, float* b)>;

// The source of a contraction, for n samples: lists if reads_lists(path), dense arrays otherwise.
// Or a function that makes a tile of them where it is read, if fills_tiles says so.
struct ContractionSource {
  ListBuffers lists;
  const float* a = nullptr;
  const float* b = nullptr;
  FillSource fill;
};

// Whether run_contraction takes ContractionSource::fill: every tile is read by one thread, once,
// and need not go through memory.
bool fills_tiles(const Contraction& c, const Kernels& kernels, std::int64_t n, int n_threads);

// Gets every finished tile and the thread that made it.
using FinishTile = std::function<void(const ResultTile&, int)>;

// Runs c over n samples.
void run_contraction(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                     std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                     const FinishTile& finish);

// Threads worth starting for this many values that are only read and written.
int threads_for_values(std::int64_t values, int n_threads);

}  // namespace relprop
