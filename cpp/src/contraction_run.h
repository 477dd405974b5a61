#pragma once

#include "contraction.h"

// What the ways to run a contraction share.

namespace relprop {

// Floats of one accumulator array of a tile: three of them and a block of weights fit into L2.
inline constexpr std::int64_t kTileFloats = 16384;

// Of a source that is made for a tile: 768 KiB, of L2.
inline constexpr std::int64_t kFilledFloats = 196608;

constexpr AxisTaps no_taps() { return {nullptr, nullptr, nullptr}; }

// The lists and weights of a group of an image.
SkipArgs skip_args(const Contraction& c, const ListShape& shape, const ListBuffers& lists,
                   std::int64_t image, std::int64_t group);

// Path::skip.
std::int64_t skip_scratch(const Contraction& c);
void run_skip(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
              std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
              const FinishTile& finish);

// Path::fold: what make_contraction, contraction_scratch and run_contraction do for it.
void make_fold(Contraction& c, const WeightView& weight, const Kernels& kernels);
std::int64_t fold_scratch(const Contraction& c, const Kernels& kernels);
void run_fold(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
              std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
              const FinishTile& finish);

// Path::planar. rows is 0 where it is not possible.
Planes planes_of(const ContractionShape& s, Mode mode, const Kernels& kernels);
std::int64_t planar_floats(const Contraction& c, const Kernels& kernels);
void run_planar(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const FinishTile& finish);

// Path::scatter. run is 0 where it is not possible.
ScatterPlaces scatter_of(const ContractionShape& s, Mode mode, const Kernels& kernels);
std::int64_t scatter_floats(const Contraction& c);
void run_scatter(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                 std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                 const FinishTile& finish);

// Path::matrix.
std::int64_t matrix_floats(const Contraction& c);
bool matrix_fills_tiles(const Contraction& c);
void run_matrix(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const FinishTile& finish);

}  // namespace relprop
