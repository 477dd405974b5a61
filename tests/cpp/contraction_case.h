#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "pack.h"
#include "scatter_places.h"
#include "taps.h"

// One direction of a layer with small made-up data, and the three ways to run it: by definition, by
// the zero-skipping kernel and by the sign-partitioned one.

namespace relprop::test {

// Reproducible numbers (splitmix64); the standard distributions differ between libraries.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(n));
  }
  float unit() { return static_cast<float>(next() >> 40) * 0x1p-24f; }  // [0, 1)

 private:
  std::uint64_t state_;
};

struct Geometry {
  std::int64_t groups, channels, outputs;  // channels and outputs per group
  std::int64_t height, width;              // of the source
  std::int64_t kernel = 1, stride = 1, dilation = 1, pad = 0;
  bool transposed = false;  // the taps of a transposed convolution
  bool pointwise = false;   // no tap tables
};

// How the data is made. Small integers keep every sum exact in float, so any order of summation
// gives the same bits; reals show the order.
struct Fill {
  double density = 0.5;  // share of non-zero sources
  bool integers = true;
  bool nonnegative = false;
};

struct Sums {
  std::vector<float> first, second, sum;  // second and sum only where the mode has them
};

struct Case {
  Geometry shape;
  Mode mode;
  Fill fill;
  std::int64_t out_height, out_width;
  TapTable y, x;
  std::vector<float> a, b;
  std::vector<float> weight;  // (group, output, channel, tap)

  Case(const Geometry& geometry, Mode mode, Fill fill, std::uint64_t seed);

  std::int64_t taps() const { return shape.kernel * shape.kernel; }
  std::int64_t out_pixels() const { return out_height * out_width; }
  std::int64_t sources() const { return shape.groups * shape.channels; }
  std::int64_t results() const { return shape.groups * shape.outputs; }
  bool depthwise() const { return shape.channels == 1 && shape.outputs == 1; }
  WeightView view() const;
  std::string name() const;
};

// Tile extents of a run; 0: everything at once.
struct Tile {
  std::int64_t rows = 0, columns = 0, outputs = 0;
};

Sums by_definition(const Case& c);
// Results in (pixels, groups * outputs). Checks that nothing is written outside of them.
// whole: weights are packed without splitting them.
// may_pair: with lists in pairs, where the kernels and the geometry have them.
Sums by_skip(const Case& c, const Kernels& kernels, Tile tile = {}, bool whole = false,
             bool may_pair = false);
// step: output pixels per call, 0: Kernels::panel_lanes.
// outputs: per call, an even number; 0: all.
Sums by_partition(const Case& c, const Kernels& kernels, std::int64_t step = 0,
                  std::int64_t outputs = 0);
// The planes of the geometry, if it can have them; what a call takes that computes `rows` output
// rows from y0, but for the results; and a sum by such calls.
Planes planes_of(const Case& c, const Kernels& kernels);
PlanarArgs planar_args(const Case& c, const Planes& planes, const PlanarWeights& weights,
                       std::int64_t g, std::int64_t y0, std::int64_t rows, float* scratch);
AlignedFloats planar_memory(const Case& c, const Planes& planes, const Kernels& kernels);
// rows: output rows per call, 0: all.
Sums by_planar(const Case& c, const Kernels& kernels, std::int64_t rows = 0);
// pixels and outputs per call, 0: all; outputs a multiple of the block. Plain products only.
Sums by_dense(const Case& c, const Kernels& kernels, std::int64_t pixels = 0,
              std::int64_t outputs = 0);
// pixels and outputs per call, 0: as many as may be; outputs a multiple of kMatrixPair.
Sums by_matrix(const Case& c, const Kernels& kernels, std::int64_t pixels = 0,
               std::int64_t outputs = 0);
// Where the geometry's sources are scattered to, if they can be; rows: output rows per call, 0:
// all.
ScatterPlaces scatter_of(const Case& c, const Kernels& kernels);
Sums by_scatter(const Case& c, const Kernels& kernels, std::int64_t rows = 0);
// rows: output rows per call, 0: all.
Sums by_fold(const Case& c, const Kernels& kernels, std::int64_t rows = 0);
Sums by_narrow(const Case& c, const Kernels& kernels, std::int64_t rows = 0);
// groups are the channels; shape.channels = shape.outputs = 1.
Sums by_depthwise(const Case& c, const Kernels& kernels, std::int64_t rows = 0);

}  // namespace relprop::test
