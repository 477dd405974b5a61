#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "relprop/export.h"
#include "relprop/model.h"
#include "relprop/rules.h"

namespace relprop {

enum class Isa { reference, baseline, avx2, avx512, neon, amx };

RELPROP_API const char* isa_name(Isa isa);
// Instruction sets that both this build and this processor have, best last. reference and baseline
// are always there.
RELPROP_API std::vector<Isa> available_isas();
// What a plan uses unless told otherwise: RELPROP_ISA if set (throws Error if it names an ISA that
// cannot run here), else the best available.
RELPROP_API Isa default_isa();
// Cores this process may use: OMP_NUM_THREADS, affinity and the cgroup's quota are respected.
RELPROP_API int default_thread_count();

struct PlanOptions {
  int output = -1;  // node to explain; -1: the model's first output
  Isa isa = default_isa();
  bool forward_only = false;  // no relevance: no rules are needed, denominators are not kept
  // Samples are taken in groups that fit, at least one. 0: as many bytes as the packed weights,
  // which are read once per group, and no less than 640 MiB.
  std::int64_t workspace_bytes = 0;
  // Samples that usually come together. Layers of few pixels, dense ones above all, take that many
  // rows at once: from some 32 on faster, for a single sample slower. A plan gives a sample the
  // same bits in any batch, whatever was said here.
  std::int64_t samples = 1;
};

// What the backward pass starts from at the explained output. For a network that ends in softmax
// that is the softmax's input (the logits).
enum class StartKind {
  output,    // f_c(x) at the target, as in the paper
  one,       // one at the target
  log_prob,  // gradient of log softmax(f)_c: onehot - softmax
  array,     // given values
};
struct Start {
  StartKind kind = StartKind::output;
  int targets_per_sample = 1;  // several share the forward pass
  const std::int64_t* targets =
      nullptr;                    // (n, targets_per_sample) flat output indices; -1: arg max
  const float* values = nullptr;  // array: (n, targets_per_sample, output shape)
  // array: called between the passes, when the outputs of samples [first, first + n) are in
  // RelevanceRequest::output, to write their values; from several threads at once, each for
  // samples of its own. May be empty.
  std::function<void(std::int64_t first, std::int64_t n)> fill;
};

// Relevance is multiplied by values at the node's output. values: (n or 1, node shape) row-major.
struct Mask {
  int node = 0;
  const float* values = nullptr;
  bool per_sample = false;
  int target = -1;  // of targets_per_sample, the only one that it is for; -1: all
  bool applies_to(int other) const { return target < 0 || target == other; }
};

// Where one layer's relevance went, summed over the samples of the call.
struct LayerConservation {
  int node = 0;
  double relevance_out = 0;  // what arrived at the layer's output
  double relevance_in = 0;   // what left it towards its inputs
  double bias = 0;           // absorbed by the bias
  double epsilon = 0;        // absorbed by the stabilizer
  double zero = 0;           // lost because a denominator was exactly zero
};

// Wall time of one step: a layer with what is fused into it, or a node of its own.
struct LayerSeconds {
  int node = 0;
  double forward = 0, backward = 0;
};

struct RelevanceRequest {
  const float* x = nullptr;  // (n, input shape) row-major
  std::int64_t n = 0;
  Start start;
  float* relevance = nullptr;           // (n, targets_per_sample, input shape)
  float* output = nullptr;              // (n, output shape) or null
  std::vector<int> layers;              // nodes whose relevance is wanted ...
  std::vector<float*> layer_relevance;  // ... each (n, targets_per_sample, node shape)
  std::vector<Mask> masks;
  bool exclude_parallel = false;  // masks also cut what bypasses the masked layer
  std::vector<LayerConservation>* conservation = nullptr;
  std::vector<LayerSeconds>* seconds = nullptr;  // one per step, in forward order
  bool square = false;                           // relevance becomes its square (sensitivity)
  bool times_input = false;                      // relevance is multiplied by x (gradient x input)
  int n_threads = 0;                             // 0: default_thread_count()
};

// Scratch memory of one caller at a time; grows to what a plan needs, then stays.
class RELPROP_API Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;
  std::size_t bytes() const noexcept;

  struct Impl;

 private:
  friend class Plan;
  std::unique_ptr<Impl> impl_;
};

struct LayerInfo {
  int node = 0;  // in the model
  std::string name, op, rule;
  std::string forward, backward;  // the kernel that runs each, with the reason it was chosen
  Shape shape;
  std::int64_t parameters = 0;
  std::int64_t multiply_adds = 0;  // per sample, of one plain product
};

// A network compiled for one set of rules. Immutable: any number of threads may use it at once,
// each with a Workspace of its own, and get the bits it would get alone.
class RELPROP_API Plan {
 public:
  // rules: one per model node; those of layers without a choice are ignored (MATH: activations
  // pass, max pooling is winner-takes-all, ...). Not needed with forward_only.
  Plan(const Model& model, const std::vector<Rule>& rules, PlanOptions options);
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  // y: (n, output shape), row-major; n_threads 0: default_thread_count().
  void forward(const float* x, std::int64_t n, float* y, Workspace& workspace,
               int n_threads = 0) const;
  void relevance(const RelevanceRequest& request, Workspace& workspace) const;

  const Shape& input_shape() const noexcept;
  const Shape& output_shape() const noexcept;
  Isa isa() const noexcept;
  int output_node() const noexcept;  // of the model
  // Made with RuleKind::gradient for every node, and with an output that is no softmax.
  bool gives_gradient() const noexcept;
  std::vector<LayerInfo> layers() const;
  // Bytes of a workspace for one sample, and of packed weights.
  std::size_t workspace_bytes() const noexcept;
  std::size_t weight_bytes() const noexcept;

  struct Impl;

 private:
  std::unique_ptr<const Impl> impl_;
};

}  // namespace relprop
