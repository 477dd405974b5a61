#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "linear.h"
#include "lower.h"
#include "relprop/plan.h"
#include "taps.h"

namespace relprop {

// Pooling with its tap tables in both directions.
struct Pool {
  TapTable y, x, back_y, back_x;
  std::array<std::int64_t, 2> source{1, 1}, out{1, 1};
  std::vector<float> inverse_count;  // average: per output pixel
};

struct GatherTable;
struct ResampleTable;

struct CompiledStep {
  Step step;
  Rule rule;
  std::unique_ptr<const Linear> linear;
  std::unique_ptr<const Pool> pool;
  std::shared_ptr<const GatherTable> gather;
  std::shared_ptr<const ResampleTable> resample;
  std::unique_ptr<const LayerNorm> layer_norm;
  bool has_gate = false;       // product: input 1 is a gate
  AlignedFloats scale, shift;  // scale_shift: per channel or per value of a sample
  bool per_channel = true;
  bool gradient = false;    // plain derivative instead of a rule
  bool derivative = false;  // of the fused activation, which otherwise passes relevance on
  int only_reader = -1;     // of the value, where there is one and it reads it once
  // The sum of this layer and another step that is made with it; -1: none.
  int total = -1;
  // Relevance of the value is kept as what a unit of it gets: R = value * share.
  bool as_share = false;
  // What arrives from the only reader, a sum, is what that has left in its own memory.
  bool reads_sum = false;
  // Buffers, -1: none. A value may be nowhere but in the sum it belongs to. z may be the value
  // itself; a ReLU's value may be that of the sum it reads; relevance may be that of a reader.
  int value = -1, z = -1, zp = -1, zn = -1, winner = -1, relevance = -1;
  int forward_scratch = -1, backward_scratch = -1;
};

// A block of workspace: floats per sample, alive from birth to death. Step i runs forward at time i
// and backward at time 2 * steps - 1 - i.
struct Buffer {
  std::int64_t size = 0;
  int birth = 0, death = 0;
  bool kept = false;  // made forward, read backward: must survive when the backward pass runs twice
};

// Places the buffers for n samples: offsets in floats, multiples of 16.
struct Layout {
  std::vector<std::int64_t> offset;
  std::int64_t total = 0;
};

struct Plan::Impl {
  std::uint64_t id = 0;
  PlanOptions options;
  const Kernels* kernels = nullptr;
  std::vector<Node> nodes;  // of the model, without weights
  std::vector<int> step_of;
  int output = 0;  // model node
  int softmax = -1;
  std::vector<CompiledStep> steps;
  std::vector<Buffer> buffers;
  std::int64_t thread_scratch = 0;  // floats
  std::int64_t bytes_per_sample = 0;
  std::int64_t weight_bytes = 0;  // packed, of both directions

  Layout layout(std::int64_t n, bool repeat_backward) const;
  // The shape of the value that relevance starts from: the softmax's input or the output.
  const Shape& start_shape() const;
};

struct Workspace::Impl {
  struct Arena {
    std::int64_t n;
    bool repeat_backward;
    Layout layout;
  };
  AlignedFloats memory;
  std::uint64_t plan = 0;
  std::vector<Arena> arenas;  // of this plan, made when they were needed
};

// One group of samples on its way through a plan.
struct Execution {
  const Plan::Impl& plan;
  const Kernels& kernels;
  std::int64_t n;
  int threads;
  float* memory;
  const Layout& layout;
  float* scratch;
  std::vector<LayerSeconds>* seconds = nullptr;

  float* buffer(int id) const {
    return id < 0 ? nullptr : memory + layout.offset[static_cast<std::size_t>(id)];
  }
  float* thread_scratch(int thread) const { return scratch + thread * plan.thread_scratch; }
  const CompiledStep& step(int i) const { return plan.steps[static_cast<std::size_t>(i)]; }
  float* value(int i) const { return buffer(step(i).value); }
};

// Values that stay in L1 between one elementwise kernel and the next.
inline constexpr std::int64_t kPart = 2048;

// Pixels that one call of a list kernel takes, an even number. The map in front of it needs scratch
// for two values of each.
std::int64_t list_pixels(std::int64_t channels);

// Adds the time from construction to destruction to the step's account, if there is one.
class StepTimer {
 public:
  StepTimer(const Execution& run, int step, double LayerSeconds::* part)
      : account_(run.seconds ? &((*run.seconds)[static_cast<std::size_t>(step)].*part) : nullptr) {
    if (account_) start_ = std::chrono::steady_clock::now();
  }
  ~StepTimer() {
    if (account_)
      *account_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  StepTimer(const StepTimer&) = delete;
  StepTimer& operator=(const StepTimer&) = delete;

 private:
  double* account_;
  std::chrono::steady_clock::time_point start_;
};

// forward.cpp
void run_forward(const Execution& run, const float* x);
// The explained value (or the softmax behind it), row-major.
void write_output(const Execution& run, float* y);
// f(args, pixel, thread) lists the points [args.x0, args.x1) of a row; a and b are left to it, and
// `pixel` is the number of the first, over all samples.
void for_list_points(const Execution& run, const Contraction& c, const ListBuffers& lists,
                     const std::function<void(ListArgs, std::int64_t, int)>& f);

// relevance.cpp
void run_backward(const Execution& run, const RelevanceRequest& request, std::int64_t first_sample,
                  int target, std::vector<LayerConservation>* conservation);

// conservation.cpp: what the layer's bias, stabilizer and zero denominators absorb of its
// relevance.
void account_losses(const Execution& run, int step, const float* relevance,
                    LayerConservation& account);

// Row-major (n, shape) -> channels last, and back.
void enter_layout(const Execution& run, const Shape& shape, const float* from, float* to);
void leave_layout(const Execution& run, const Shape& shape, const float* from, float* to,
                  std::int64_t to_stride);

// Runs f(begin, end) over blocks of [0, n) in parallel.
void for_blocks(const Execution& run, std::int64_t n,
                const std::function<void(std::int64_t, std::int64_t)>& f);

}  // namespace relprop
