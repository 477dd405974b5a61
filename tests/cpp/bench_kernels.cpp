// GFLOP/s of the big kernels on layers as in VGG-16, ResNet-50 and LeNet-5, one thread. A figure
// counts the operations of one dense product, whatever the kernel really executes: skipping zeros
// and making two sums at once both raise it, so it can exceed the machine's peak. "share" relates
// it to the peak of fused multiply-adds measured between the runs.
//
//   bench_kernels [isa] [skip|partition|matrix|planar|dense] [repetitions] [first letters of the
//   layers]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>

#include "contraction_case.h"
#include "dispatch.h"
#include "fma_peak.h"

using namespace relprop;
using namespace relprop::test;

namespace {

// Processor time, so that a busy machine disturbs less.
double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double best_time(int repetitions, const std::function<void()>& f) {
  double best = 1e30;
  for (int r = 0; r < repetitions; ++r) {
    const double start = seconds();
    f();
    best = std::min(best, seconds() - start);
  }
  return best;
}

// Peak of the instruction set, GFLOP/s; 0 where nobody wrote the loop.
double fma_peak(Isa isa) {
  double operations = 0;
  const double best = best_time(3, [&] { operations = fma_chain(isa); });
  return operations / best / 1e9;
}

struct Layer {
  const char* name;
  std::int64_t channels, outputs, size, rows;  // rows: of the image that are computed
  std::int64_t kernel = 3;
};
constexpr Layer kLayers[] = {
    {"conv1_2 64x224", 64, 64, 224, 8},      {"conv2_2 128x112", 128, 128, 112, 8},
    {"conv3_2 256x56", 256, 256, 56, 9},     {"conv4_2 512x28", 512, 512, 28, 18},
    {"conv5_2 512x14", 512, 512, 14, 14},    {"1x1_a 256x56", 256, 64, 56, 9, 1},
    {"1x1_b 1024x14", 1024, 256, 14, 14, 1}, {"few_a 16x32", 16, 16, 32, 32},
    {"few_b 6x28", 6, 16, 28, 28, 5},        {"few_c 16x28", 16, 6, 28, 28, 5}};

// Rows of one call, as the plan cuts them: the sums of a tile stay in L2.
std::int64_t tile_rows(const SkipWeights& packed, std::int64_t width) {
  return std::max<std::int64_t>(16384 / packed.lanes / width, 1);
}

// Neighbouring pixels are zero in the same channels, mostly: a pair has 1.2 times the non-zero
// channels of a pixel at density 0.35, as in VGG-16.
void make_alike(Case& c) {
  Random random(2);
  const auto n = static_cast<std::size_t>(c.shape.channels);
  for (std::size_t i = n; i + n <= c.a.size(); i += 2 * n)
    for (std::size_t k = i; k < i + n; ++k)
      if (random.next() % 10 < 7) c.a[k] = c.a[k - n] * 0.9f;
}

struct Result {
  double seconds, multiply_adds;
};

// Making the lists is part of the time.
Result time_skip(const Case& c, const Kernels& kernels, std::int64_t rows, int repetitions) {
  const Geometry& s = c.shape;
  const std::int64_t blocks = (s.channels + kListBlock - 1) / kListBlock;
  const bool by_sign = c.mode == Mode::split_product && !c.fill.nonnegative;
  const SlidingColumns sliding =
      by_sign ? SlidingColumns{} : sliding_columns(c.x, s.kernel, s.width);
  const bool pairs = sliding.valid && kernels.lists_pairs && c.fill.density >= 0.2;
  const std::int64_t of_point = pairs ? 2 : 1, points = s.width / of_point;
  const std::int64_t values = (reads_b(c.mode) ? 2 : 1) * of_point, entries = points * s.channels;
  AlignedFloats value(s.height * entries * values), sums(3 * 16384);
  std::vector<std::uint8_t> index(static_cast<std::size_t>(s.height * entries));
  const TapTable x = sliding.valid ? in_sliding_order(c.x, sliding) : c.x;
  const SkipWeights packed = pack_skip(c.view(), c.mode, false, s.kernel, sliding, kernels);
  SkipArgs args{};
  args.kinds = by_sign ? 2 : 1;
  args.points = points;
  args.row_begins = blocks * (points * args.kinds + 1);
  std::vector<std::uint32_t> begin(static_cast<std::size_t>(s.height * args.row_begins));
  args.value = value.data();
  args.index = index.data();
  args.begin = begin.data();
  args.row_entries = entries;
  args.channels = args.k1 = s.channels;
  args.source_width = s.width;
  args.kernel_height = args.kernel_width = s.kernel;
  args.y = c.y.view();
  args.x = x.view();
  args.sliding = sliding.valid;
  args.pairs = pairs;
  args.sliding_offset = sliding.offset;
  args.x1 = c.out_width;
  args.weight = packed.data.data();
  args.lanes = packed.lanes;
  args.outputs = s.outputs;
  args.out_stride = packed.lanes;
  const std::int64_t step = tile_rows(packed, c.out_width);
  const auto list_rows = [&] {
    for (std::int64_t y = 0; y < std::min(rows + s.kernel - 1, s.height); ++y) {
      const std::int64_t row = y * s.width * s.channels;
      ListArgs lists{};
      lists.a = c.a.data() + row;
      lists.b = c.b.empty() ? nullptr : c.b.data() + row;
      lists.pixels = s.width;
      lists.pairs = pairs;
      lists.width = lists.x1 = points;
      lists.groups = 1;
      lists.channels = s.channels;
      lists.by_sign = by_sign;
      lists.value = value.data() + y * entries * values;
      lists.index = index.data() + y * entries;
      lists.begin = begin.data() + y * args.row_begins;
      kernels.list(lists);
    }
  };
  const auto run = [&] {
    list_rows();
    for (args.y0 = 0; args.y0 < rows; args.y0 += step)
      for (args.m0 = 0; args.m0 < s.outputs; args.m0 += packed.lanes) {
        args.y1 = std::min(args.y0 + step, rows);
        args.m1 = std::min<std::int64_t>(args.m0 + packed.lanes, s.outputs);
        args.first = sums.data() - args.m0;
        args.second = has_second(c.mode) ? args.first + 16384 : nullptr;
        args.sum = has_sum(c.mode) ? args.first + 2 * 16384 : nullptr;
        kernels.skip[static_cast<int>(c.mode)](args);
      }
  };
  return {best_time(repetitions, run),
          static_cast<double>(rows * c.out_width * s.outputs * s.channels * c.taps())};
}

Result time_partition(const Case& c, const Kernels& kernels, std::int64_t rows, int repetitions) {
  const Geometry& s = c.shape;
  const PartitionWeights packed = pack_partition(c.view(), c.mode, c.fill.nonnegative);
  AlignedFloats scratch(partition_scratch(s.outputs, kernels.panel_lanes));
  std::vector<float> first(kernels.panel_lanes * s.outputs), second(first.size()),
      sum(first.size());
  const auto& weights = packed[0];
  const auto row_source = tap_sources(c.y, s.kernel, s.width * s.channels);
  const auto column_source = tap_sources(c.x, s.kernel, s.channels);
  PartitionArgs args{};
  args.a = c.a.data();
  args.b = c.b.data();
  args.source_stride = args.channels = s.channels;
  args.nonnegative = c.fill.nonnegative;
  args.kernel_height = args.kernel_width = s.kernel;
  args.row_source = row_source.data();
  args.column_source = column_source.data();
  args.out_height = c.out_height;
  args.out_width = c.out_width;
  args.row = weights.row.data();
  args.weight = weights.weight.data();
  args.group = weights.group.data();
  args.pairs = (s.outputs + 1) / 2;
  args.outputs = args.out_stride = s.outputs;
  args.first = first.data();
  args.second = second.data();
  args.sum = has_sum(c.mode) ? sum.data() : nullptr;
  args.scratch = scratch.data();
  const std::int64_t pixels = rows * c.out_width;
  const auto run = [&] {
    for (args.p0 = 0; args.p0 < pixels; args.p0 += kernels.panel_lanes) {
      args.count = std::min<std::int64_t>(kernels.panel_lanes, pixels - args.p0);
      kernels.partition[static_cast<int>(c.mode)](args);
    }
  };
  return {best_time(repetitions, run),
          static_cast<double>(pixels * s.outputs * s.channels * c.taps())};
}

Result time_planar(const Case& c, const Kernels& kernels, std::int64_t rows, int repetitions) {
  const Geometry& s = c.shape;
  const Planes planes = planes_of(c, kernels);
  const PlanarWeights packed = pack_planar(c.view(), planes);
  AlignedFloats scratch = planar_memory(c, planes, kernels);
  AlignedFloats sums(3 * planes.rows * c.out_width * s.outputs);
  const auto run = [&] {
    for (std::int64_t y0 = 0; y0 < rows; y0 += planes.rows) {
      PlanarArgs args = planar_args(c, planes, packed, 0, y0, planes.rows, scratch.data());
      args.first = sums.data();
      args.second = args.first + planes.rows * c.out_width * s.outputs;
      args.sum = has_sum(c.mode) ? args.second + planes.rows * c.out_width * s.outputs : nullptr;
      kernels.planar[static_cast<int>(c.mode)](args);
    }
  };
  return {best_time(repetitions, run),
          static_cast<double>(rows * c.out_width * s.outputs * s.channels * c.taps())};
}

Result time_dense(const Case& c, const Kernels& kernels, std::int64_t rows, int repetitions) {
  const Geometry& s = c.shape;
  const DenseWeights packed = pack_dense(c.view(), kernels);
  AlignedFloats sums(16384);
  const auto row_source = tap_sources(c.y, s.kernel, s.width * s.channels);
  const auto column_source = tap_sources(c.x, s.kernel, s.channels);
  DenseArgs args{};
  args.a = c.a.data();
  args.source_stride = args.channels = s.channels;
  args.rows = c.taps() * s.channels;
  args.kernel_width = s.kernel;
  args.row_source = row_source.data();
  args.column_source = column_source.data();
  args.out_height = c.out_height;
  args.out_width = c.out_width;
  args.weight = packed.data.data();
  args.out_stride = kernels.dense_lanes;
  const std::int64_t pixels = rows * c.out_width, step = 16384 / kernels.dense_lanes;
  const auto run = [&] {
    for (args.p0 = 0; args.p0 < pixels; args.p0 += step)
      for (args.m0 = 0; args.m0 < s.outputs; args.m0 += kernels.dense_lanes) {
        args.count = std::min(step, pixels - args.p0);
        args.m1 = std::min<std::int64_t>(args.m0 + kernels.dense_lanes, s.outputs);
        args.out = sums.data() - args.m0;
        kernels.dense(args);
      }
  };
  return {best_time(repetitions, run),
          static_cast<double>(pixels * s.outputs * s.channels * c.taps())};
}

Result time_matrix(const Case& c, const Kernels& kernels, std::int64_t rows, int repetitions) {
  const Geometry& s = c.shape;
  const MatrixWeights packed = pack_matrix(c.view());
  const std::int64_t outputs = std::min<std::int64_t>(s.outputs, 256);  // as the plan cuts them
  const std::int64_t stride = round_up(outputs, kMatrixSide);
  AlignedFloats scratch(matrix_scratch()), sums(3 * kMatrixPixels * stride);
  const auto row_source = tap_sources(c.y, s.kernel, s.width * s.channels);
  const auto column_source = tap_sources(c.x, s.kernel, s.channels);
  MatrixArgs args{};
  args.a = c.a.data();
  args.b = c.b.data();
  args.source_stride = args.channels = s.channels;
  args.nonnegative = c.fill.nonnegative;
  args.rows = c.taps() * s.channels;
  args.kernel_width = s.kernel;
  args.row_source = row_source.data();
  args.column_source = column_source.data();
  args.out_height = c.out_height;
  args.out_width = c.out_width;
  args.weight = packed.group(0);
  args.all_outputs = s.outputs;
  args.outputs = outputs;
  args.out_stride = stride;
  args.first = sums.data();
  args.second = args.first + kMatrixPixels * stride;
  args.sum = has_sum(c.mode) ? args.second + kMatrixPixels * stride : nullptr;
  args.scratch = scratch.data();
  const std::int64_t pixels = rows * c.out_width;
  const auto run = [&] {
    for (args.p0 = 0; args.p0 < pixels; args.p0 += kMatrixPixels)
      for (args.m0 = 0; args.m0 < s.outputs; args.m0 += outputs) {
        args.count = std::min(kMatrixPixels, pixels - args.p0);
        kernels.matrix[static_cast<int>(c.mode)](args);
      }
  };
  return {best_time(repetitions, run),
          static_cast<double>(pixels * s.outputs * s.channels * c.taps())};
}

void report(const char* kernel, const Case& c, const char* layer, const char* mode, Result r,
            double peak) {
  const double rate = 2 * r.multiply_adds / r.seconds / 1e9;
  std::printf("%-9s %-16s %-24s density %4.2f  %8.2f ms %7.1f GFLOP/s  share %4.2f\n", kernel,
              layer, mode, c.fill.density, r.seconds * 1e3, rate, peak > 0 ? rate / peak : 0.0);
  std::fflush(stdout);
}

struct Work {
  const char* name;
  Mode mode;
  bool nonnegative;
};
constexpr Work kWorks[] = {{"split_product a >= 0", Mode::split_product, true},
                           {"split_product", Mode::split_product, false},
                           {"blend", Mode::blend, false},
                           {"blend_both", Mode::blend_both, false},
                           {"plain", Mode::plain, false}};

}  // namespace

int main(int argc, char** argv) {
  Isa isa = default_isa();
  for (Isa candidate : available_isas())
    if (argc > 1 && std::strcmp(argv[1], isa_name(candidate)) == 0) isa = candidate;
  const char* only = argc > 2 ? argv[2] : "";
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 25;
  const char* layers = argc > 4 ? argv[4] : "";
  const Kernels& kernels = kernels_for(isa);
  std::printf("%s, peak of fused multiply-adds %.1f GFLOP/s\n", kernels.name, fma_peak(isa));
  for (const Layer& layer : kLayers)
    for (const Work& work : kWorks) {
      const bool few = layer.outputs <= 16;
      const bool main_mode = work.nonnegative || work.mode == Mode::blend;
      if (!main_mode && layer.kernel == 3 && layer.channels != 256 && !few) continue;
      if (std::strncmp(layer.name, layers, std::strlen(layers)) != 0) continue;
      const std::int64_t height = std::min(layer.rows + layer.kernel - 1, layer.size);
      const Geometry g{1, layer.channels,  layer.outputs, height, layer.size, layer.kernel, 1,
                       1, layer.kernel / 2};
      const double peak = fma_peak(isa);
      for (double density : {0.1, 0.35, 0.5, 1.0}) {
        Case c(g, work.mode, {density, false, work.nonnegative}, 1);
        make_alike(c);
        // s+ and s- are zero at the same outputs.
        for (std::size_t i = 0; i < c.b.size(); ++i) c.b[i] = -0.5f * c.a[i];
        const std::int64_t rows = std::min(layer.rows, c.out_height);
        const bool all = *only == 0;
        if (all || std::strcmp(only, "skip") == 0)
          report("skip", c, layer.name, work.name, time_skip(c, kernels, rows, repetitions), peak);
        if (density < 1) continue;
        if (all || std::strcmp(only, "partition") == 0)
          report("partition", c, layer.name, work.name,
                 time_partition(c, kernels, rows, repetitions), peak);
        if (kernels.matrix[0] && (all || std::strcmp(only, "matrix") == 0))
          report("matrix", c, layer.name, work.name, time_matrix(c, kernels, rows, repetitions),
                 peak);
        if (planes_of(c, kernels).rows > 0 && few && (all || std::strcmp(only, "planar") == 0))
          report("planar", c, layer.name, work.name, time_planar(c, kernels, rows, repetitions),
                 peak);
        if (work.mode == Mode::plain && (all || std::strcmp(only, "dense") == 0))
          report("dense", c, layer.name, work.name, time_dense(c, kernels, rows, repetitions),
                 peak);
      }
    }
  return 0;
}
