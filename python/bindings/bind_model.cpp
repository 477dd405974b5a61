#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "relprop/error.h"
#include "relprop/maximize.h"

namespace relprop::python {
namespace {

using Pair = std::array<std::int64_t, 2>;

constexpr std::int64_t kMaxFactor = std::int64_t{1} << 30;

constexpr std::pair<const char*, Function> kFunctions[] = {
    {"relu", Function::relu},
    {"leaky_relu", Function::leaky_relu},
    {"clip", Function::clip},
    {"elu", Function::elu},
    {"silu", Function::silu},
    {"gelu", Function::gelu},
    {"gelu_tanh", Function::gelu_tanh},
    {"sigmoid", Function::sigmoid},
    {"tanh", Function::tanh},
    {"hard_sigmoid", Function::hard_sigmoid},
    {"hard_swish", Function::hard_swish},
    {"softplus", Function::softplus},
    {"mish", Function::mish},
};

int add(PyModel& self, std::string name, std::vector<int> inputs, Op op) {
  const std::unique_lock lock(self.mutex);
  return self.model.add(std::move(name), std::move(inputs), std::move(op));
}

FloatArray weight_array(const py::object& weight, int rank, const char* layout,
                        const std::string& prefix) {
  FloatArray array = float_array(weight, prefix + "weight");
  if (array.ndim() != rank) {
    throw py::value_error(prefix + "weight has shape " + to_string(shape_of(array)) +
                          "; accepted: " + layout);
  }
  return array;
}

std::vector<float> values(const FloatArray& array) {
  return std::vector<float>(array.data(), array.data() + array.size());
}

// A bias of the wrong rank would otherwise be read by its length alone; an empty one as none.
std::vector<float> bias_values(const py::object& bias, std::int64_t count,
                               const std::string& prefix) {
  if (bias.is_none()) return {};
  require_shape(float_array(bias, prefix + "bias"), {count}, prefix + "bias");
  return values_of(bias, prefix + "bias");
}

// groups * per_group, each within kMaxFactor so that the product cannot overflow.
std::int64_t channels(std::int64_t groups, std::int64_t per_group, const std::string& prefix) {
  if (groups < 1 || groups > kMaxFactor || per_group > kMaxFactor) {
    throw py::value_error(prefix + "groups = " + std::to_string(groups) + " of " +
                          std::to_string(per_group) + " channels; accepted: 1 to " +
                          std::to_string(kMaxFactor) + " each");
  }
  return groups * per_group;
}

int add_dense(PyModel& self, const std::string& name, int input, const py::object& weight,
              const py::object& bias) {
  const std::string prefix = "layer '" + name + "' (dense): ";
  const FloatArray array = weight_array(weight, 2, "(out, in)", prefix);
  Dense op;
  op.out = array.shape(0);
  op.in = array.shape(1);
  op.weight = values(array);
  op.bias = bias_values(bias, op.out, prefix);
  return add(self, name, {input}, std::move(op));
}

int add_conv(PyModel& self, const std::string& name, int input, const py::object& weight,
             const py::object& bias, Pair stride, Pair dilation, Pair pad_begin, Pair pad_end,
             std::int64_t groups) {
  const std::string prefix = "layer '" + name + "' (conv): ";
  const FloatArray array = weight_array(weight, 4, "(out, in / groups, kH, kW)", prefix);
  Conv op;
  op.out = array.shape(0);
  op.in = channels(groups, array.shape(1), prefix);
  op.groups = groups;
  op.window = {{array.shape(2), array.shape(3)}, stride, dilation, pad_begin, pad_end};
  op.weight = values(array);
  op.bias = bias_values(bias, op.out, prefix);
  return add(self, name, {input}, std::move(op));
}

int add_conv_transpose(PyModel& self, const std::string& name, int input, const py::object& weight,
                       const py::object& bias, Pair stride, Pair dilation, Pair pad_begin,
                       Pair pad_end, Pair output_padding, std::int64_t groups) {
  const std::string prefix = "layer '" + name + "' (conv_transpose): ";
  const FloatArray array = weight_array(weight, 4, "(in, out / groups, kH, kW)", prefix);
  ConvTranspose op;
  op.in = array.shape(0);
  op.out = channels(groups, array.shape(1), prefix);
  op.groups = groups;
  op.window = {{array.shape(2), array.shape(3)}, stride, dilation, pad_begin, pad_end};
  op.output_padding = output_padding;
  op.weight = values(array);
  op.bias = bias_values(bias, op.out, prefix);
  return add(self, name, {input}, std::move(op));
}

int add_batch_norm(PyModel& self, const std::string& name, int input, const py::object& scale,
                   const py::object& shift) {
  const std::string prefix = "layer '" + name + "' (batch_norm): ";
  BatchNorm op{values(float_array(scale, prefix + "scale")),
               values(float_array(shift, prefix + "shift"))};
  return add(self, name, {input}, std::move(op));
}

int add_scale_shift(PyModel& self, const std::string& name, int input, const py::object& scale,
                    const py::object& shift) {
  const std::string prefix = "layer '" + name + "' (scale_shift): ";
  ScaleShift op{values_of(scale, prefix + "scale"), values_of(shift, prefix + "shift")};
  return add(self, name, {input}, std::move(op));
}

int add_activation(PyModel& self, const std::string& name, int input, const std::string& function,
                   float a, float b) {
  std::string accepted;
  for (const auto& [text, value] : kFunctions) {
    if (function == text) return add(self, name, {input}, Activation{value, a, b});
    accepted += (accepted.empty() ? "" : ", ") + std::string(text);
  }
  throw Error(ErrorCode::unsupported,
              "layer '" + name + "': activation '" + function + "'; supported: " + accepted);
}

int add_max_pool(PyModel& self, const std::string& name, int input, Pair kernel, Pair stride,
                 Pair dilation, Pair pad_begin, Pair pad_end, bool ceil_mode) {
  return add(self, name, {input},
             MaxPool{{kernel, stride, dilation, pad_begin, pad_end}, ceil_mode});
}

int add_average_pool(PyModel& self, const std::string& name, int input, Pair kernel, Pair stride,
                     Pair dilation, Pair pad_begin, Pair pad_end, bool ceil_mode,
                     bool count_include_pad) {
  return add(
      self, name, {input},
      AveragePool{{kernel, stride, dilation, pad_begin, pad_end}, ceil_mode, count_include_pad});
}

Shape node_shape(const PyModel& self, int node) {
  const std::shared_lock lock(self.mutex);
  const int count = static_cast<int>(self.model.nodes().size());
  if (node < 0 || node >= count) {
    throw py::value_error("node " + std::to_string(node) + "; accepted: 0 to " +
                          std::to_string(count - 1));
  }
  return self.model.nodes()[static_cast<std::size_t>(node)].shape;
}

int add_gather(PyModel& self, const std::string& name, int input, Shape shape,
               const py::object& index) {
  const IntArray array = int_array(index, "layer '" + name + "' (gather): index");
  Gather op{std::move(shape), {array.data(), array.data() + array.size()}};
  return add(self, name, {input}, std::move(op));
}

int add_resample(PyModel& self, const std::string& name, int input, const py::object& rows,
                 const py::object& columns) {
  const std::string prefix = "layer '" + name + "' (resample): ";
  const FloatArray y = float_array(rows, prefix + "rows");
  const FloatArray x = float_array(columns, prefix + "columns");
  if (y.ndim() != 2 || x.ndim() != 2) {
    throw py::value_error(prefix + "rows and columns have shapes " + to_string(shape_of(y)) +
                          " and " + to_string(shape_of(x)) + "; accepted: (out, in) each");
  }
  // Sizes are given twice, so that two mistakes could cancel in the number of values alone.
  const Shape from = node_shape(self, input);
  const Shape expected =
      from.size() == 3 ? Shape{from[1], from[2]} : Shape{1, from.size() == 2 ? from[1] : 0};
  if (y.shape(1) != expected[0] || x.shape(1) != expected[1]) {
    throw py::value_error(prefix + "rows and columns take " + to_string({y.shape(1), x.shape(1)}) +
                          ", the input has shape " + to_string(from));
  }
  return add(self, name, {input}, Resample{{y.shape(0), x.shape(0)}, values(y), values(x)});
}

int add_layer_norm(PyModel& self, const std::string& name, int input, std::int64_t size,
                   const py::object& weight, const py::object& bias, float eps) {
  const std::string prefix = "layer '" + name + "' (layer_norm): ";
  LayerNorm op{size, eps, values_of(weight, prefix + "weight"), values_of(bias, prefix + "bias")};
  return add(self, name, {input}, std::move(op));
}

struct NodeSummary {
  std::string name, op;
  std::vector<int> inputs;
  Shape shape;
};

std::vector<NodeSummary> summaries(const PyModel& self) {
  const std::shared_lock lock(self.mutex);
  std::vector<NodeSummary> result;
  for (const Node& node : self.model.nodes()) {
    result.push_back({node.name, op_name(node.op), node.inputs, node.shape});
  }
  return result;
}

py::list nodes(const PyModel& self) {
  py::list list;
  for (const NodeSummary& node : summaries(self)) {
    list.append(py::make_tuple(node.name, node.op, node.inputs, to_tuple(node.shape)));
  }
  return list;
}

std::vector<std::pair<std::string, int>> outputs(const PyModel& self) {
  const std::shared_lock lock(self.mutex);
  return self.model.outputs();
}

int append_model(PyModel& self, const PyModel& tail, int at, int output,
                 const std::string& prefix) {
  if (&self == &tail) throw py::value_error("a model cannot be put behind itself");
  std::shared_lock read(tail.mutex, std::defer_lock);
  std::unique_lock write(self.mutex, std::defer_lock);
  std::lock(read, write);
  return append(self.model, at, tail.model, output, prefix);
}

void add_output(PyModel& self, std::string name, int node) {
  const std::unique_lock lock(self.mutex);
  self.model.add_output(std::move(name), node);
}

}  // namespace

void bind_model(py::module_& m) {
  using py::arg;
  const Pair ones{1, 1}, zeros{0, 0};
  const py::object none = py::none();
  py::class_<PyModel>(m, "Model",
                      "The network as plain data; each add_* checks, infers the shape and returns "
                      "the node index.")
      .def(py::init<Shape, std::string>(), arg("input_shape"), arg("input_name") = "input")
      .def("add_dense", &add_dense, arg("name"), arg("input"), arg("weight"), arg("bias") = none)
      .def("add_conv", &add_conv, arg("name"), arg("input"), arg("weight"), arg("bias") = none,
           py::kw_only(), arg("stride") = ones, arg("dilation") = ones, arg("pad_begin") = zeros,
           arg("pad_end") = zeros, arg("groups") = 1)
      .def("add_conv_transpose", &add_conv_transpose, arg("name"), arg("input"), arg("weight"),
           arg("bias") = none, py::kw_only(), arg("stride") = ones, arg("dilation") = ones,
           arg("pad_begin") = zeros, arg("pad_end") = zeros, arg("output_padding") = zeros,
           arg("groups") = 1)
      .def("add_batch_norm", &add_batch_norm, arg("name"), arg("input"), arg("scale"), arg("shift"))
      .def("add_scale_shift", &add_scale_shift, arg("name"), arg("input"), arg("scale"),
           arg("shift"))
      .def("add_activation", &add_activation, arg("name"), arg("input"), arg("function"),
           arg("a") = 0.0F, arg("b") = 0.0F)
      .def("add_max_pool", &add_max_pool, arg("name"), arg("input"), py::kw_only(), arg("kernel"),
           arg("stride") = ones, arg("dilation") = ones, arg("pad_begin") = zeros,
           arg("pad_end") = zeros, arg("ceil_mode") = false)
      .def("add_average_pool", &add_average_pool, arg("name"), arg("input"), py::kw_only(),
           arg("kernel"), arg("stride") = ones, arg("dilation") = ones, arg("pad_begin") = zeros,
           arg("pad_end") = zeros, arg("ceil_mode") = false, arg("count_include_pad") = false)
      .def(
          "add_adaptive_average_pool",
          [](PyModel& self, const std::string& name, int input, Pair output) {
            return add(self, name, {input}, AdaptiveAveragePool{output});
          },
          arg("name"), arg("input"), arg("output") = ones)
      .def(
          "add_global_max_pool",
          [](PyModel& self, const std::string& name, int input) {
            return add(self, name, {input}, GlobalMaxPool{});
          },
          arg("name"), arg("input"))
      .def(
          "add_add",
          [](PyModel& self, const std::string& name, std::vector<int> inputs) {
            return add(self, name, std::move(inputs), Add{});
          },
          arg("name"), arg("inputs"))
      .def(
          "add_concat",
          [](PyModel& self, const std::string& name, std::vector<int> inputs, std::int64_t axis) {
            return add(self, name, std::move(inputs), Concat{axis});
          },
          arg("name"), arg("inputs"), arg("axis"))
      .def(
          "add_reshape",
          [](PyModel& self, const std::string& name, int input, Shape shape) {
            return add(self, name, {input}, Reshape{std::move(shape)});
          },
          arg("name"), arg("input"), arg("shape"))
      .def(
          "add_pad",
          [](PyModel& self, const std::string& name, int input, Shape begin, Shape end,
             float value) {
            return add(self, name, {input}, Pad{std::move(begin), std::move(end), value});
          },
          arg("name"), arg("input"), arg("begin"), arg("end"), arg("value") = 0.0F)
      .def("add_gather", &add_gather, arg("name"), arg("input"), arg("shape"), arg("index"))
      .def("add_resample", &add_resample, arg("name"), arg("input"), arg("rows"), arg("columns"))
      .def("add_layer_norm", &add_layer_norm, arg("name"), arg("input"), arg("size"),
           arg("weight") = none, arg("bias") = none, arg("eps") = 1e-5F)
      .def(
          "add_product",
          [](PyModel& self, const std::string& name, int a, int b, bool gate) {
            return add(self, name, {a, b}, Product{gate});
          },
          arg("name"), arg("a"), arg("b"), arg("gate") = true)
      .def(
          "add_softmax",
          [](PyModel& self, const std::string& name, int input, std::int64_t axis) {
            return add(self, name, {input}, Softmax{axis});
          },
          arg("name"), arg("input"), arg("axis"))
      .def(
          "add_identity",
          [](PyModel& self, const std::string& name, int input) {
            return add(self, name, {input}, Identity{});
          },
          arg("name"), arg("input"))
      .def("add_output", &add_output, arg("name"), arg("node"))
      .def("append", &append_model, arg("tail"), arg("at"), arg("output"), arg("prefix") = "")
      .def(
          "logits_node",
          [](const PyModel& self, int output) {
            node_shape(self, output);  // refuses what is no node
            const std::shared_lock lock(self.mutex);
            return logits_node(self.model, output);
          },
          arg("output"))
      .def(
          "find",
          [](const PyModel& self, const std::string& name) {
            const std::shared_lock lock(self.mutex);
            return self.model.find(name);
          },
          arg("name"))
      .def(
          "shape", [](const PyModel& self, int node) { return to_tuple(node_shape(self, node)); },
          arg("node"))
      .def_property_readonly("nodes", &nodes)
      .def_property_readonly("outputs", &outputs)
      .def_property_readonly("parameter_count", [](const PyModel& self) {
        const std::shared_lock lock(self.mutex);
        return self.model.parameter_count();
      });
}

}  // namespace relprop::python
