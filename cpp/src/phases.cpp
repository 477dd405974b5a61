#include "phases.h"

#include <algorithm>

#include "contraction_run.h"
#include "parallel.h"

namespace relprop {
namespace {

// Where most values are zero, lists of single pixels are faster.
constexpr double kPhaseDensity = 0.3;

// Taps of one axis that outputs first, first + period, ... read through, in order.
std::vector<std::int32_t> taps_of_phase(const TapTable& table, std::int64_t first,
                                        std::int64_t period) {
  std::vector<std::int32_t> taps;
  for (std::int64_t o = first; o < table.size(); o += period)
    taps.insert(taps.end(), table.tap.begin() + table.begin[static_cast<std::size_t>(o)],
                table.tap.begin() + table.begin[static_cast<std::size_t>(o) + 1]);
  std::sort(taps.begin(), taps.end());
  taps.erase(std::unique(taps.begin(), taps.end()), taps.end());
  return taps;
}

// The outputs of a phase alone, its taps numbered from 0.
TapTable phase_of(const TapTable& table, std::int64_t first, std::int64_t period,
                  const std::vector<std::int32_t>& taps) {
  TapTable phase;
  const AxisTaps all = table.view();
  for (std::int64_t o = first; o < table.size(); o += period) {
    for (std::int32_t i = all.begin[o]; i < all.begin[o + 1]; ++i)
      phase.add(std::lower_bound(taps.begin(), taps.end(), all.tap[i]) - taps.begin(),
                all.source[i]);
    phase.close();
  }
  return phase;
}

// Weights of the taps (y, x) alone, in the order (group, output, channel, tap).
std::vector<float> weights_of(const WeightView& w, std::int64_t kernel_width,
                              const std::vector<std::int32_t>& y,
                              const std::vector<std::int32_t>& x) {
  std::vector<float> values;
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t m = 0; m < w.outputs; ++m)
      for (std::int64_t k = 0; k < w.channels; ++k)
        for (std::int32_t ty : y)
          for (std::int32_t tx : x) values.push_back(w.at(g, m, k, ty * kernel_width + tx));
  return values;
}

Contraction make_phase(const ContractionShape& s, const WeightView& weight, Mode mode,
                       SourceFacts source, const Kernels& kernels, const PhaseSteps& step,
                       std::int64_t y, std::int64_t x) {
  const std::vector<std::int32_t> rows = taps_of_phase(s.y, y, step.y);
  const std::vector<std::int32_t> columns = taps_of_phase(s.x, x, step.x);
  ContractionShape shape = s;
  shape.kernel_height = static_cast<std::int64_t>(rows.size());
  shape.kernel_width = static_cast<std::int64_t>(columns.size());
  shape.y = phase_of(s.y, y, step.y, rows);
  shape.x = phase_of(s.x, x, step.x, columns);
  shape.out_height = shape.y.size();
  shape.out_width = shape.x.size();
  const std::vector<float> values = weights_of(weight, s.kernel_width, rows, columns);
  const std::int64_t taps = shape.taps(), row = s.channels * taps;
  return make_dense_contraction(
      std::move(shape),
      {values.data(), s.groups, s.outputs, s.channels, taps, s.outputs * row, row, taps, 1}, mode,
      source, kernels);
}

// Hands a tile of a phase on, in rows of the whole result.
void place_tile(const ContractionShape& whole, const PhaseSteps& step, const Phase& phase,
                ResultTile tile, int thread, const FinishTile& finish) {
  const std::int64_t width = phase.product.shape.out_width;
  const std::int64_t pixels = phase.product.shape.out_pixels();
  std::int64_t pixel = tile.image * pixels + tile.pixel, left = tile.count;
  while (left > 0) {
    const std::int64_t y = pixel % pixels / width, x = pixel % width;
    tile.image = pixel / pixels;
    tile.pixel = (phase.y + y * step.y) * whole.out_width + phase.x + x * step.x;
    tile.step = step.x;
    tile.count = std::min(left, width - x);
    finish(tile, thread);
    const std::int64_t read = tile.count * tile.stride;
    tile.first += read;
    if (tile.second) tile.second += read;
    if (tile.sum) tile.sum += read;
    pixel += tile.count;
    left -= tile.count;
  }
}

std::int64_t empty_floats(const ContractionShape& s) { return s.out_width * s.out_channels(); }

// A phase without taps: its results are zero.
void finish_empty(const Contraction& c, const Phase& phase, std::int64_t n, float* scratch,
                  std::int64_t scratch_stride, int n_threads, const FinishTile& finish) {
  const ContractionShape& s = phase.product.shape;
  parallel_for(n_threads, n * s.out_height, [&](std::int64_t item, int thread) {
    float* zeros = scratch + thread * scratch_stride;
    std::fill(zeros, zeros + empty_floats(s), 0.0f);
    place_tile(c.shape, c.phases.step, phase,
               {item / s.out_height, item % s.out_height * s.out_width, s.out_width, 0,
                s.out_channels(), s.out_channels(), zeros, has_second(c.mode) ? zeros : nullptr,
                has_sum(c.mode) ? zeros : nullptr},
               thread, finish);
  });
}

}  // namespace

PhaseSteps phase_steps(const ContractionShape& s, double density, const Kernels& kernels) {
  if (density < kPhaseDensity || s.out_pixels() == 0) return {};
  const PhaseShifts y = phase_shifts(s.y, s.kernel_height, s.source_height);
  const PhaseShifts x = phase_shifts(s.x, s.kernel_width, s.source_width);
  if (y.shift.empty() || x.shift.empty()) return {};
  const std::int64_t smallest = (s.out_height / y.period) * (s.out_width / x.period);
  if (smallest < kernels.panel_lanes / 2) return {};
  return {y.period, x.period};
}

Phases make_phases(const ContractionShape& shape, const WeightView& weight, Mode mode,
                   SourceFacts source, const Kernels& kernels, const PhaseSteps& step) {
  Phases phases;
  phases.step = step;
  for (std::int64_t y = 0; y < step.y; ++y)
    for (std::int64_t x = 0; x < step.x; ++x)
      phases.phase.push_back({y, x, make_phase(shape, weight, mode, source, kernels, step, y, x)});
  return phases;
}

std::int64_t phases_scratch(const Contraction& c, const Kernels& kernels) {
  std::int64_t most = empty_floats(c.shape);
  for (const Phase& phase : c.phases.phase)
    if (phase.product.shape.taps() > 0)
      most = std::max(most, contraction_scratch(phase.product, kernels));
  return most;
}

void run_phases(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const FinishTile& finish) {
  for (const Phase& phase : c.phases.phase) {
    if (phase.product.shape.taps() == 0) {
      finish_empty(c, phase, n, scratch, scratch_stride, n_threads, finish);
      continue;
    }
    run_contraction(phase.product, kernels, source, n, scratch, scratch_stride, n_threads,
                    [&](const ResultTile& tile, int thread) {
                      place_tile(c.shape, c.phases.step, phase, tile, thread, finish);
                    });
  }
}

}  // namespace relprop
