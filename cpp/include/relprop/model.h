#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "relprop/export.h"

namespace relprop {

// Sizes of one sample, without the batch dimension: (K), (C, L) or (C, H, W); higher ranks only
// pass through elementwise layers, reshape, concat and dense.
using Shape = std::vector<std::int64_t>;

RELPROP_API std::int64_t size_of(const Shape& shape);
RELPROP_API std::string to_string(const Shape& shape);

// Geometry of a sliding window, (y, x). One-dimensional layers use y = {1, 1, 1, 0, 0}.
struct Window {
  std::array<std::int64_t, 2> kernel{1, 1};
  std::array<std::int64_t, 2> stride{1, 1};
  std::array<std::int64_t, 2> dilation{1, 1};
  std::array<std::int64_t, 2> pad_begin{0, 0};
  std::array<std::int64_t, 2> pad_end{0, 0};
};

enum class Function {
  relu,
  leaky_relu,
  clip,
  elu,
  silu,
  gelu,
  gelu_tanh,
  sigmoid,
  tanh,
  hard_sigmoid,  // clip(x / 6 + 1 / 2, 0, 1)
  hard_swish,    // x hard_sigmoid(x)
  softplus,      // log(1 + exp(x))
  mish,          // x tanh(softplus(x))
};

struct Input {};
// y = W x + b over the last axis. weight: (out, in) row-major; bias: (out) or empty.
struct Dense {
  std::int64_t in = 0, out = 0;
  std::vector<float> weight, bias;
};
// weight: (out, in / groups, kH, kW); bias: (out) or empty.
struct Conv {
  std::int64_t in = 0, out = 0, groups = 1;
  Window window;
  std::vector<float> weight, bias;
};
// weight: (in, out / groups, kH, kW), as ONNX and torch store it. pad_begin/pad_end crop the
// result.
struct ConvTranspose {
  std::int64_t in = 0, out = 0, groups = 1;
  Window window;
  std::array<std::int64_t, 2> output_padding{0, 0};
  std::vector<float> weight, bias;
};
// y = scale x + shift per channel (axis 0 of the sample): inference-mode batch normalisation with
// scale = gamma / sqrt(var + eps), shift = beta - mean * scale.
struct BatchNorm {
  std::vector<float> scale, shift;
};
// y = x * scale + shift with constants of one value, one per channel, or the sample's shape
// (row-major). Relevance passes through unchanged.
struct ScaleShift {
  std::vector<float> scale, shift;
};
// leaky_relu: a = slope; clip: [a, b]; elu: a = alpha.
struct Activation {
  Function function = Function::relu;
  float a = 0, b = 0;
};
struct MaxPool {
  Window window;
  bool ceil_mode = false;
};
struct AveragePool {
  Window window;
  bool ceil_mode = false, count_include_pad = false;
};
// Torch's adaptive average pooling; {1, 1} is global average pooling.
struct AdaptiveAveragePool {
  std::array<std::int64_t, 2> output{1, 1};
};
struct GlobalMaxPool {};
struct Add {};  // two or more inputs of one shape
struct Concat {
  std::int64_t axis = 0;  // of the sample
};
struct Reshape {
  Shape shape;  // row-major order is kept
};
// Constant padding of every axis of the sample; negative values crop.
struct Pad {
  std::vector<std::int64_t> begin, end;
  float value = 0;
};
// y[k] = x[index[k]], both numbered in row-major order: permutations of axes, strided slices,
// repetition. A value that is not read gets no relevance.
struct Gather {
  Shape shape;
  std::vector<std::int64_t> index;
};
// y = rows x columns^T for every channel of (C, H, W), or (C, L), where rows is {1}: resizing with
// weights that do not depend on x. rows: (out height, in height), columns: (out width, in width),
// both row-major.
struct Resample {
  std::array<std::int64_t, 2> output{1, 1};
  std::vector<float> rows, columns;
};
// Over the last `size` values of the sample in row-major order, one block after the other:
// y = (x - mean) / sqrt(variance + eps) * weight + bias, the variance that of the whole population.
// weight, bias: (size) or empty.
struct LayerNorm {
  std::int64_t size = 0;
  float eps = 1e-5f;
  std::vector<float> weight, bias;
};
// y = a b of two inputs of one shape. gate: b only opens and closes the way for a, as the sigmoid
// of a squeeze-and-excitation block does.
struct Product {
  bool gate = true;
};
struct Softmax {
  std::int64_t axis = 0;  // of the sample; only as the last layer
};
struct Identity {};  // dropout at inference

using Op = std::variant<Input, Dense, Conv, ConvTranspose, BatchNorm, ScaleShift, Activation,
                        MaxPool, AveragePool, AdaptiveAveragePool, GlobalMaxPool, Add, Concat,
                        Reshape, Pad, Gather, Resample, LayerNorm, Product, Softmax, Identity>;

RELPROP_API const char* op_name(const Op& op);

struct Node {
  std::string name;
  Op op;
  std::vector<int> inputs;  // indices of earlier nodes
  Shape shape;              // of its output, per sample
};

// A network as plain data: says what, never how. Nodes are in topological order because a node may
// only refer to earlier ones. Every mistake a user can make dies in add(), with the node's name.
class RELPROP_API Model {
 public:
  explicit Model(Shape input_shape, std::string input_name = "input");

  // Checks the op against its inputs, infers the output shape and returns the new node's index.
  // Throws Error naming the node; the model is unchanged then.
  int add(std::string name, std::vector<int> inputs, Op op);
  // Declares a result under a name. The first one declared is the default.
  void add_output(std::string name, int node);

  const std::vector<Node>& nodes() const noexcept { return nodes_; }
  const Shape& input_shape() const noexcept { return nodes_.front().shape; }
  const std::vector<std::pair<std::string, int>>& outputs() const noexcept { return outputs_; }
  // Index of the node with this name, or of the output with this name; throws Error that lists
  // near names otherwise.
  int find(const std::string& name) const;
  std::int64_t parameter_count() const;

 private:
  std::vector<Node> nodes_;
  std::vector<std::pair<std::string, int>> outputs_;
};

}  // namespace relprop
