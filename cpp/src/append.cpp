#include "relprop/error.h"
#include "relprop/maximize.h"

namespace relprop {

int logits_node(const Model& model, int output) {
  int node = output;
  while (std::holds_alternative<Softmax>(model.nodes()[static_cast<std::size_t>(node)].op))
    node = model.nodes()[static_cast<std::size_t>(node)].inputs[0];
  return node;
}

int append(Model& model, int at, const Model& tail, int output, const std::string& prefix) {
  const auto shape_of = [](const Model& m, int node) {
    const auto count = static_cast<int>(m.nodes().size());
    if (node < 0 || node >= count)
      throw Error(ErrorCode::invalid_argument,
                  "node " + std::to_string(node) + "; accepted: 0 to " + std::to_string(count - 1));
    return m.nodes()[static_cast<std::size_t>(node)].shape;
  };
  shape_of(tail, output);
  if (const Shape shape = shape_of(model, at); shape != tail.input_shape())
    throw Error(ErrorCode::invalid_argument,
                "'" + model.nodes()[static_cast<std::size_t>(at)].name + "' gives shape " +
                    to_string(shape) + "; the network behind it takes " +
                    to_string(tail.input_shape()));
  Model result = model;
  std::vector<int> index{at};
  for (std::size_t i = 1; i < tail.nodes().size(); ++i) {
    const Node& node = tail.nodes()[i];
    std::vector<int> inputs;
    for (int input : node.inputs) inputs.push_back(index[static_cast<std::size_t>(input)]);
    index.push_back(result.add(prefix + node.name, std::move(inputs), node.op));
  }
  model = std::move(result);
  return index[static_cast<std::size_t>(output)];
}

}  // namespace relprop
