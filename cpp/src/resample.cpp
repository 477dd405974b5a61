#include "resample.h"

#include <algorithm>

#include "parallel.h"

namespace relprop {
namespace {

WeightedTaps taps_of(const std::vector<float>& matrix, std::int64_t rows, std::int64_t columns,
                     bool transposed) {
  WeightedTaps taps;
  const std::int64_t outputs = transposed ? columns : rows, sources = transposed ? rows : columns;
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t s = 0; s < sources; ++s) {
      const auto at = static_cast<std::size_t>(transposed ? s * columns + o : o * columns + s);
      if (matrix[at] == 0) continue;
      taps.source.push_back(static_cast<std::int32_t>(s));
      taps.weight.push_back(matrix[at]);
    }
    taps.begin.push_back(static_cast<std::int32_t>(taps.source.size()));
  }
  return taps;
}

// One row of `width` output pixels: out[c] = sum over the taps of both axes of w x[c].
void resample_row(const WeightedTaps& y, const WeightedTaps& x, std::int64_t row,
                  std::int64_t width, std::int64_t source_width, std::int64_t channels,
                  const float* from, float* out) {
  std::fill(out, out + width * channels, 0.0f);
  for (std::int32_t i = y.begin[row]; i < y.begin[row + 1]; ++i)
    for (std::int64_t o = 0; o < width; ++o)
      for (std::int32_t j = x.begin[o]; j < x.begin[o + 1]; ++j) {
        const float w = y.weight[i] * x.weight[j];
        const float* source =
            from + (std::int64_t{y.source[i]} * source_width + x.source[j]) * channels;
        float* to = out + o * channels;
        for (std::int64_t c = 0; c < channels; ++c) to[c] += w * source[c];
      }
}

}  // namespace

ResampleTable make_resample(const Resample& op, const Shape& from, const Shape& to) {
  ResampleTable table;
  table.source = extent_of(from);
  table.out = extent_of(to);
  table.y = taps_of(op.rows, table.out[0], table.source[0], false);
  table.x = taps_of(op.columns, table.out[1], table.source[1], false);
  table.back_y = taps_of(op.rows, table.out[0], table.source[0], true);
  table.back_x = taps_of(op.columns, table.out[1], table.source[1], true);
  return table;
}

void forward_resample(const Execution& run, const CompiledStep& step) {
  const ResampleTable& table = *step.resample;
  const int input = step.step.inputs[0];
  const std::int64_t channels = step.step.channels, from = run.step(input).step.size;
  const std::int64_t row = table.out[1] * channels;
  const float* x = run.value(input);
  float* y = run.buffer(step.value);
  parallel_for(threads_for_values(run.n * step.step.size, run.threads), run.n * table.out[0],
               [&](std::int64_t item, int) {
                 resample_row(table.y, table.x, item % table.out[0], table.out[1], table.source[1],
                              channels, x + item / table.out[0] * from, y + item * row);
               });
}

void back_resample(const Execution& run, const CompiledStep& step, const float* s, const float* x,
                   float* r_in, bool accumulate) {
  const ResampleTable& table = *step.resample;
  const std::int64_t channels = step.step.channels, row = table.source[1] * channels;
  parallel_for(threads_for_values(run.n * step.step.size, run.threads), run.n * table.source[0],
               [&](std::int64_t item, int thread) {
                 float* sum = run.thread_scratch(thread);
                 resample_row(table.back_y, table.back_x, item % table.source[0], table.source[1],
                              table.out[1], channels, s + item / table.source[0] * step.step.size,
                              sum);
                 TieArgs tie{};
                 tie.tie = x ? Tie::times_x : Tie::copy;
                 tie.first = sum;
                 tie.x = x ? x + item * row : nullptr;
                 tie.accumulate = accumulate;
                 tie.r = r_in + item * row;
                 tie.n = row;
                 run.kernels.tie(tie);
               });
}

}  // namespace relprop
