#include "gather.h"

#include <numeric>

#include "parallel.h"

namespace relprop {
namespace {

constexpr std::int64_t kBlock = 16384;

std::int64_t in_memory(std::int64_t row_major, const Shape& shape) {
  const std::int64_t pixels = pixels_of(shape);
  return row_major % pixels * channels_of(shape) + row_major / pixels;
}

// f(sample, begin, end) over blocks of the `size` values of every sample.
template <class F>
void for_sample_blocks(const Execution& run, std::int64_t size, F f) {
  const std::int64_t blocks = (size + kBlock - 1) / kBlock;
  parallel_for(threads_for_values(run.n * size, run.threads), run.n * blocks,
               [&](std::int64_t item, int) {
                 const std::int64_t begin = item % blocks * kBlock;
                 f(item / blocks, begin, std::min(begin + kBlock, size));
               });
}

}  // namespace

GatherTable make_gather(const Gather& op, const Shape& from, const Shape& to) {
  GatherTable table;
  table.source.resize(op.index.size());
  table.begin.assign(static_cast<std::size_t>(size_of(from)) + 1, 0);
  for (std::size_t k = 0; k < op.index.size(); ++k) {
    const std::int64_t source = in_memory(op.index[k], from);
    table.source[static_cast<std::size_t>(in_memory(static_cast<std::int64_t>(k), to))] =
        static_cast<std::int32_t>(source);
    ++table.begin[static_cast<std::size_t>(source) + 1];
  }
  std::partial_sum(table.begin.begin(), table.begin.end(), table.begin.begin());
  std::vector<std::int32_t> next(table.begin.begin(), table.begin.end() - 1);
  table.reader.resize(table.source.size());
  for (std::size_t k = 0; k < table.source.size(); ++k)
    table.reader[static_cast<std::size_t>(next[static_cast<std::size_t>(table.source[k])]++)] =
        static_cast<std::int32_t>(k);
  return table;
}

void forward_gather(const Execution& run, const CompiledStep& step) {
  const int input = step.step.inputs[0];
  const std::int64_t size = step.step.size, from = run.step(input).step.size;
  const std::int32_t* source = step.gather->source.data();
  const float* x = run.value(input);
  float* y = run.buffer(step.value);
  for_sample_blocks(run, size, [&](std::int64_t sample, std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) y[sample * size + k] = x[sample * from + source[k]];
  });
}

void back_gather(const Execution& run, const CompiledStep& step, const float* r, float* r_in,
                 bool accumulate) {
  const std::int64_t size = step.step.size, from = run.step(step.step.inputs[0]).step.size;
  const std::int32_t *begins = step.gather->begin.data(), *reader = step.gather->reader.data();
  for_sample_blocks(run, from, [&](std::int64_t sample, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float sum = accumulate ? r_in[sample * from + i] : 0.0f;
      for (std::int32_t k = begins[i]; k < begins[i + 1]; ++k) sum += r[sample * size + reader[k]];
      r_in[sample * from + i] = sum;
    }
  });
}

}  // namespace relprop
