#include <algorithm>

#include "contraction_run.h"
#include "parallel.h"

// Products by matrix unit: how a layer is cut into calls.

namespace relprop {
namespace {

// Outputs of a call: a panel is made once for so many, and their sums stay in L2.
constexpr std::int64_t kOutputs = 256;
// Pixels of a call, at least, where threads would wait for each other otherwise.
constexpr std::int64_t kFewPixels = 64;
constexpr std::int64_t kTilesPerThread = 4;

std::int64_t outputs_of_call(const ContractionShape& s) {
  const std::int64_t blocks = ceil_div(s.outputs, kOutputs);
  return round_up(ceil_div(s.outputs, blocks), kMatrixPair);
}

// Floats between pixels of the results.
std::int64_t sum_stride(const ContractionShape& s) {
  return std::min(outputs_of_call(s), round_up(s.outputs, kMatrixSide));
}

std::int64_t sum_floats(const ContractionShape& s) { return 3 * kMatrixPixels * sum_stride(s); }

std::int64_t pixels_of_call(std::int64_t pixels, std::int64_t others, int n_threads) {
  std::int64_t step = kMatrixPixels;
  while (n_threads > 1 && step > kFewPixels &&
         ceil_div(pixels, step) * others < kTilesPerThread * n_threads)
    step /= 2;
  return std::max<std::int64_t>(round_up(ceil_div(pixels, ceil_div(pixels, step)), kMatrixPair), 1);
}

}  // namespace

std::int64_t matrix_floats(const Contraction& c) {
  const std::int64_t filled = matrix_fills_tiles(c) ? 2 * kMatrixPixels * c.shape.channels : 0;
  return matrix_scratch() + sum_floats(c.shape) + filled;
}

bool matrix_fills_tiles(const Contraction& c) {
  return c.pointwise && c.shape.groups == 1 &&
         2 * kMatrixPixels * c.shape.channels <= kFilledFloats;
}

// All samples are one row of pixels.
void run_matrix(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const FinishTile& finish) {
  const ContractionShape& s = c.shape;
  const std::int64_t pixels = n * s.out_pixels();
  const std::int64_t outputs = outputs_of_call(s), blocks = ceil_div(s.outputs, outputs);
  const std::int64_t at_once = source.fill ? blocks : 1;  // blocks that share a filled tile
  const std::int64_t step = pixels_of_call(pixels, s.groups * blocks / at_once, n_threads);
  const std::int64_t tiles = ceil_div(pixels, step);
  const auto kernel = kernels.matrix[static_cast<int>(c.mode)];
  parallel_for(n_threads, tiles * s.groups * blocks / at_once, [&](std::int64_t item, int thread) {
    const std::int64_t first = item * at_once % blocks, place = item * at_once / blocks;
    const std::int64_t group = place / tiles, p0 = place % tiles * step;
    float* mine = scratch + thread * scratch_stride;

    MatrixArgs args{};
    args.image_stride = s.source_pixels() * s.source_channels();
    args.source_stride = s.source_channels();
    args.channels = s.channels;
    args.nonnegative = c.nonnegative;
    args.rows = s.taps() * s.channels;
    args.kernel_width = s.kernel_width;
    args.row_source = c.pointwise ? nullptr : c.row_source.data();
    args.column_source = c.pointwise ? nullptr : c.column_source.data();
    args.out_height = s.out_height;
    args.out_width = s.out_width;
    args.p0 = p0;
    args.count = std::min(step, pixels - p0);
    args.weight = c.matrix.group(group);
    args.all_outputs = s.outputs;
    args.out_stride = sum_stride(s);
    args.scratch = mine;
    args.first = mine + matrix_scratch();
    args.second = has_second(c.mode) ? args.first + kMatrixPixels * args.out_stride : nullptr;
    args.sum = has_sum(c.mode) ? args.first + 2 * kMatrixPixels * args.out_stride : nullptr;
    if (source.fill) {
      float* a = args.first + sum_floats(s);
      float* b = reads_b(c.mode) ? a + kMatrixPixels * s.channels : nullptr;
      source.fill(p0, args.count, a, b);
      args.a = a;
      args.b = b;
      args.p0 = 0;
    } else {
      args.a = source.a + group * s.channels;
      args.b = source.b ? source.b + group * s.channels : nullptr;
    }
    for (std::int64_t block = first; block < first + at_once; ++block) {
      args.m0 = block * outputs;
      args.outputs = std::min(outputs, s.outputs - args.m0);
      kernel(args);
      finish({0, p0, args.count, group * s.outputs + args.m0, args.outputs, args.out_stride,
              args.first, args.second, args.sum},
             thread);
    }
  });
}

}  // namespace relprop
