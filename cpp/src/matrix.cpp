#include <algorithm>

#include "contraction_run.h"
#include "parallel.h"

// Products by matrix unit: how a layer is cut into calls.

namespace relprop {
namespace {

// Outputs of a call, at most: a panel is made once for so many, and their sums stay in L2.
constexpr std::int64_t kOutputs = 256;
// Pixels and outputs of a call, at least.
constexpr std::int64_t kFew = 64;
// What surrounds the products of 32 pixels and 32 outputs, in the time that these take: splitting
// the sources of 32 pixels, reading the weights of 32 outputs, separating them by sign.
constexpr double kSplitting = 1.7, kReading = 0.4, kSeparating = 1.6;

// What a call takes.
struct Cut {
  std::int64_t pixels, outputs;
};

std::int64_t even_part(std::int64_t all, std::int64_t most) {
  return round_up(ceil_div(all, ceil_div(all, most)), kMatrixPair);
}

// Time of all calls: every thread takes the next one when it is done with one.
double time_of(const Contraction& c, const Cut& cut, std::int64_t pixels, bool all_outputs,
               int n_threads) {
  const std::int64_t blocks = ceil_div(c.shape.outputs, cut.outputs),
                     at_once = all_outputs ? blocks : 1;
  const std::int64_t calls = ceil_div(pixels, cut.pixels) * c.shape.groups * blocks / at_once;
  const double panels = reads_b(c.mode) ? 2 : 1, products = panels * (has_second(c.mode) ? 2 : 1);
  const double wide = double(cut.pixels) / kMatrixPair, high = double(cut.outputs) / kMatrixPair;
  const double weights = kReading + (c.mode == Mode::plain ? 0 : kSeparating);
  const double call = wide * high * products + kSplitting * wide * panels + weights * high;
  return double(ceil_div(calls, n_threads)) * double(at_once) * call;
}

// The fastest of all: as much as possible makes least parts and separates least weights, but
// threads should end at the same time.
Cut cut_of(const Contraction& c, std::int64_t pixels, bool all_outputs, int n_threads) {
  Cut best{};
  double least = 0;
  for (std::int64_t outputs = kOutputs; outputs >= (all_outputs ? kOutputs : kFew); outputs /= 2)
    for (std::int64_t some = kMatrixPixels; some >= kFew; some -= kMatrixPair) {
      const Cut cut{std::max<std::int64_t>(even_part(pixels, some), 1),
                    even_part(c.shape.outputs, outputs)};
      const double time = time_of(c, cut, pixels, all_outputs, n_threads);
      if (best.pixels > 0 && time >= least) continue;
      best = cut;
      least = time;
    }
  return best;
}

// Floats between pixels of the results.
std::int64_t sum_stride(const ContractionShape& s, std::int64_t outputs) {
  return std::min(outputs, round_up(s.outputs, kMatrixSide));
}

std::int64_t sum_floats(const ContractionShape& s) {
  return 3 * kMatrixPixels * sum_stride(s, kOutputs);
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
  const Cut cut = cut_of(c, pixels, bool(source.fill), n_threads);
  const std::int64_t step = cut.pixels, outputs = cut.outputs;
  const std::int64_t blocks = ceil_div(s.outputs, outputs);
  const std::int64_t at_once = source.fill ? blocks : 1;  // blocks that share a filled tile
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
    args.out_stride = sum_stride(s, outputs);
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
