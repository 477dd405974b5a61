#include "relprop/model.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <functional>
#include <numeric>
#include <utility>

#include "relprop/error.h"
#include "shapes.h"

namespace relprop {
namespace {

const char* function_name(Function function) {
  switch (function) {
    case Function::relu: return "relu";
    case Function::leaky_relu: return "leaky_relu";
    case Function::clip: return "clip";
    case Function::elu: return "elu";
    case Function::silu: return "silu";
    case Function::gelu: return "gelu";
    case Function::gelu_tanh: return "gelu_tanh";
    case Function::sigmoid: return "sigmoid";
    case Function::tanh: return "tanh";
    case Function::hard_sigmoid: return "hard_sigmoid";
    case Function::hard_swish: return "hard_swish";
    case Function::softplus: return "softplus";
    case Function::mish: return "mish";
  }
  return "activation";
}

struct OpName {
  const char* operator()(const Input&) const { return "input"; }
  const char* operator()(const Dense&) const { return "dense"; }
  const char* operator()(const Conv&) const { return "conv"; }
  const char* operator()(const ConvTranspose&) const { return "conv_transpose"; }
  const char* operator()(const BatchNorm&) const { return "batch_norm"; }
  const char* operator()(const ScaleShift&) const { return "scale_shift"; }
  const char* operator()(const Activation& op) const { return function_name(op.function); }
  const char* operator()(const MaxPool&) const { return "max_pool"; }
  const char* operator()(const AveragePool&) const { return "average_pool"; }
  const char* operator()(const AdaptiveAveragePool&) const { return "adaptive_average_pool"; }
  const char* operator()(const GlobalMaxPool&) const { return "global_max_pool"; }
  const char* operator()(const Add&) const { return "add"; }
  const char* operator()(const Concat&) const { return "concat"; }
  const char* operator()(const Reshape&) const { return "reshape"; }
  const char* operator()(const Pad&) const { return "pad"; }
  const char* operator()(const Gather&) const { return "gather"; }
  const char* operator()(const Resample&) const { return "resample"; }
  const char* operator()(const LayerNorm&) const { return "layer_norm"; }
  const char* operator()(const Product&) const { return "product"; }
  const char* operator()(const Softmax&) const { return "softmax"; }
  const char* operator()(const Identity&) const { return "identity"; }
};

std::size_t parameters(const Op& op) {
  if (const auto* dense = std::get_if<Dense>(&op)) return dense->weight.size() + dense->bias.size();
  if (const auto* conv = std::get_if<Conv>(&op)) return conv->weight.size() + conv->bias.size();
  if (const auto* transposed = std::get_if<ConvTranspose>(&op)) {
    return transposed->weight.size() + transposed->bias.size();
  }
  if (const auto* norm = std::get_if<BatchNorm>(&op))
    return norm->scale.size() + norm->shift.size();
  if (const auto* affine = std::get_if<ScaleShift>(&op)) {
    return affine->scale.size() + affine->shift.size();
  }
  if (const auto* layer = std::get_if<LayerNorm>(&op)) {
    return layer->weight.size() + layer->bias.size();
  }
  return 0;
}

[[noreturn]] void invalid(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

// Levenshtein distance, blind to case.
std::size_t distance(const std::string& a, const std::string& b) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (lower(a[i]) == lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string near_names(const std::string& name, std::vector<std::string> names) {
  constexpr std::size_t kShown = 5;
  const std::string key = name.substr(0, 256);  // the distance costs the product of the lengths
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (std::string& other : names) {
    const std::size_t d = distance(key, other.substr(0, 256));
    ranked.emplace_back(d, std::move(other));
  }
  const std::size_t shown = std::min(kShown, ranked.size());
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) text += (i ? ", '" : "'") + ranked[i].second + "'";
  return text;
}

}  // namespace

std::int64_t size_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

const char* op_name(const Op& op) { return std::visit(OpName{}, op); }

Model::Model(Shape input_shape, std::string input_name) {
  if (input_name.empty()) invalid("the model's input has an empty name");
  check_shape(input_shape, "input '" + input_name + "'");
  nodes_.push_back({std::move(input_name), Input{}, {}, std::move(input_shape)});
}

int Model::add(std::string name, std::vector<int> inputs, Op op) {
  const std::string prefix = "layer '" + name + "' (" + op_name(op) + "): ";
  if (name.empty()) invalid(prefix + "empty name");
  for (const Node& node : nodes_) {
    if (node.name == name) invalid(prefix + "the name is taken; accepted: unique names");
  }
  for (const auto& [output, node] : outputs_) {
    if (output == name) invalid(prefix + "the name is taken by an output");
  }
  const int count = static_cast<int>(nodes_.size());
  std::vector<const Shape*> shapes;
  for (int input : inputs) {
    if (input < 0 || input >= count) {
      invalid(prefix + "input node " + std::to_string(input) +
              "; accepted: indices of earlier nodes, 0 to " + std::to_string(count - 1));
    }
    const Node& source = nodes_[static_cast<std::size_t>(input)];
    if (std::holds_alternative<Softmax>(source.op)) {
      throw Error(ErrorCode::unsupported, prefix + "it reads the softmax '" + source.name +
                                              "'; supported: softmax as the last layer only");
    }
    shapes.push_back(&source.shape);
  }
  Shape shape = infer_shape(name, op, shapes);
  nodes_.push_back({std::move(name), std::move(op), std::move(inputs), std::move(shape)});
  return count;
}

void Model::add_output(std::string name, int node) {
  const int count = static_cast<int>(nodes_.size());
  const std::string prefix = "output '" + name + "': ";
  if (name.empty()) invalid(prefix + "empty name");
  if (node < 0 || node >= count) {
    invalid(prefix + "node " + std::to_string(node) + "; accepted: 0 to " +
            std::to_string(count - 1));
  }
  for (const auto& output : outputs_) {
    if (output.first == name) invalid(prefix + "the name is taken; accepted: unique names");
  }
  for (int i = 0; i < count; ++i) {
    if (i != node && nodes_[static_cast<std::size_t>(i)].name == name) {
      invalid(prefix + "another layer has this name; accepted: the name of node " +
              std::to_string(node) + " or a new one");
    }
  }
  outputs_.emplace_back(std::move(name), node);
}

int Model::find(const std::string& name) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].name == name) return static_cast<int>(i);
    names.push_back(nodes_[i].name);
  }
  for (const auto& [output, node] : outputs_) {
    if (output == name) return node;
    if (std::find(names.begin(), names.end(), output) == names.end()) names.push_back(output);
  }
  invalid("no layer or output is called '" + name +
          "'; near names: " + near_names(name, std::move(names)));
}

std::int64_t Model::parameter_count() const {
  std::size_t count = 0;
  for (const Node& node : nodes_) count += parameters(node.op);
  return static_cast<std::int64_t>(count);
}

}  // namespace relprop
