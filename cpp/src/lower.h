#pragma once

#include <cstdint>
#include <vector>

#include "relprop/model.h"

// Model -> the steps that actually run: nodes the output does not need are left out, batch norms
// are folded into their linear neighbour, cheap activations ride on the layer before them, reshapes
// become memory transposes (or nothing at all).

namespace relprop {

enum class StepKind {
  input,
  linear,  // dense, convolutions, and a batch norm that no neighbour can take (depthwise 1x1)
  average_pool,
  max_pool,
  add,
  concat,
  pad,
  activation,
  scale_shift,
  gather,
  resample,
  layer_norm,
  product,
  transpose,  // (rows, columns) -> (columns, rows) of one sample's memory; rows = 1: a copy
};

// What is known of a value before any input is seen.
struct Domain {
  bool nonnegative = false;
  bool sparse = false;  // many exact zeros: it comes out of a ReLU
};

struct Step {
  StepKind kind = StepKind::input;
  int node = 0;               // model node that defines the operation
  std::vector<int> inputs;    // steps
  std::vector<int> nodes;     // model nodes whose output relevance is the relevance of this value
  int fused_activation = -1;  // model node
  std::int64_t size = 0;      // floats per sample
  std::int64_t channels =
      0;  // of the value in memory: (pixels, channels) with pixels = size / channels
  std::int64_t rows = 0, columns = 0;  // transpose
  std::vector<float> weight, bias;     // folded; empty: the model node's own
  Domain domain;
  // Shares of non-zero values to expect of it and of its relevance, see density.h.
  double density = 1, relevance_density = 1;
};

struct Lowered {
  std::vector<Step> steps;  // steps[0] is the input; the last is the explained value
  std::vector<int>
      step_of;       // per model node: the step whose value and relevance stand for it, or -1
  int softmax = -1;  // model node of a softmax behind the explained value
};

// output: model node. If it is a softmax, its input is what gets explained.
Lowered lower(const Model& model, int output);

// Channels-last view of a sample: axis 0 becomes the innermost.
std::int64_t channels_of(const Shape& shape);
std::int64_t pixels_of(const Shape& shape);
// (height, width) of (C), (C, L) and (C, H, W).
std::array<std::int64_t, 2> extent_of(const Shape& shape);

}  // namespace relprop
