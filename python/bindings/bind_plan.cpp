#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "py_plan.h"
#include "relprop/error.h"
#include "relprop/plan.h"

namespace relprop::python {
namespace {

constexpr Isa kIsas[] = {Isa::reference, Isa::baseline, Isa::avx2,
                         Isa::avx512,    Isa::amx,      Isa::neon};

Rule make_rule(const std::string& kind, float alpha, float beta, float gamma, float stabilizer,
               bool absorb_bias, const py::object& low, const py::object& high) {
  std::string accepted;
  for (const RuleKind value : rule_kinds()) {
    if (kind == rule_name(value)) {
      return {value,
              alpha,
              beta,
              gamma,
              stabilizer,
              absorb_bias,
              values_of(low, "low"),
              values_of(high, "high")};
    }
    accepted += (accepted.empty() ? "" : ", ") + std::string(rule_name(value));
  }
  throw py::value_error("rule '" + kind + "'; accepted: " + accepted);
}

Isa parse_isa(const std::string& name) {
  std::string accepted;
  for (const Isa isa : kIsas) {
    if (name == isa_name(isa)) return isa;
    accepted += (accepted.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  throw py::value_error("isa '" + name + "'; accepted: " + accepted);
}

PlanOptions make_options(int output, const std::string& isa, bool forward_only,
                         std::int64_t workspace_bytes, std::int64_t samples) {
  if (workspace_bytes < 0) {
    throw py::value_error("workspace_bytes = " + std::to_string(workspace_bytes) +
                          "; accepted: 0 (the default) or more");
  }
  return {output, isa.empty() ? default_isa() : parse_isa(isa), forward_only, workspace_bytes,
          samples};
}

FloatArray forward(PyPlan& self, const py::object& x, int n_threads) {
  check_threads(n_threads);
  const FloatArray input = float_array(x, "x");
  const std::int64_t n = batch_size(input, self.plan().input_shape(), "x");
  FloatArray y = new_array(joined({n}, self.plan().output_shape()));
  const float* source = input.data();
  float* target = y.mutable_data();
  const py::gil_scoped_release release;
  const PyPlan::Lease workspace(self);
  self.plan().forward(source, n, target, *workspace, n_threads);
  return y;
}

// Owns what a RelevanceRequest points to, arguments and results, for the duration of a call.
struct Call {
  RelevanceRequest request;
  FloatArray x, relevance, output, start;
  IntArray targets;
  std::vector<FloatArray> layers, masks;
  std::vector<LayerConservation> conservation;
};

void check_targets(const IntArray& targets, std::int64_t outputs) {
  const std::int64_t* values = targets.data();
  for (std::int64_t i = 0; i < targets.size(); ++i) {
    if (values[i] < -1 || values[i] >= outputs) {
      throw py::value_error("target " + std::to_string(values[i]) + " of sample " +
                            std::to_string(i / targets.shape(1)) + "; accepted: 0 to " +
                            std::to_string(outputs - 1) + ", or -1 for the largest output");
    }
  }
}

void set_targets(Call& call, const py::object& targets, const Shape& output_shape) {
  Start& start = call.request.start;
  if (targets.is_none()) {
    call.targets = IntArray(py::array::ShapeContainer{call.request.n, std::int64_t{1}});
    std::fill_n(call.targets.mutable_data(), call.targets.size(), std::int64_t{-1});
  } else {
    call.targets = int_array(targets, "targets");
    const Shape shape = shape_of(call.targets);
    if (shape.size() != 2 || shape[0] != call.request.n || shape[1] < 1) {
      throw py::value_error("targets has shape " + to_string(shape) + "; accepted: (" +
                            std::to_string(call.request.n) + ", targets per sample)");
    }
    check_targets(call.targets, size_of(output_shape));
  }
  start.targets_per_sample = static_cast<int>(call.targets.shape(1));
  start.targets = call.targets.data();
}

void set_start_values(Call& call, const py::object& values, const Shape& output_shape) {
  call.start = float_array(values, "start");
  const Shape shape = shape_of(call.start);
  const std::int64_t targets = shape.size() < 2 ? 1 : std::max<std::int64_t>(shape[1], 1);
  require_shape(call.start, joined({call.request.n, targets}, output_shape), "start");
  call.request.start.kind = StartKind::array;
  call.request.start.targets_per_sample = static_cast<int>(targets);
  call.request.start.values = call.start.data();
}

void set_start(Call& call, const py::object& start, const py::object& targets,
               const Shape& output_shape) {
  if (!py::isinstance<py::str>(start)) return set_start_values(call, start, output_shape);
  const auto kind = start.cast<std::string>();
  if (kind == "output") {
    call.request.start.kind = StartKind::output;
  } else if (kind == "one") {
    call.request.start.kind = StartKind::one;
  } else if (kind == "log_prob") {
    call.request.start.kind = StartKind::log_prob;
  } else {
    throw py::value_error("start '" + kind + "'; accepted: output, one, log_prob or an array");
  }
  set_targets(call, targets, output_shape);
}

void set_masks(Call& call, const PyPlan& plan,
               const std::vector<std::tuple<int, py::object, bool>>& masks,
               const std::vector<int>& mask_targets) {
  if (!mask_targets.empty() && mask_targets.size() != masks.size())
    throw py::value_error("mask_targets has " + std::to_string(mask_targets.size()) +
                          " entries for " + std::to_string(masks.size()) + " masks");
  for (const auto& [node, values, per_sample] : masks) {
    const std::string what = "mask of node " + std::to_string(node);
    const Shape& shape = plan.node_shape(node, "mask of");
    call.masks.push_back(float_array(values, what));
    require_shape(call.masks.back(), joined({per_sample ? call.request.n : 1}, shape), what);
    const int target = mask_targets.empty() ? -1 : mask_targets[call.request.masks.size()];
    call.request.masks.push_back({node, call.masks.back().data(), per_sample, target});
  }
}

void set_results(Call& call, const PyPlan& plan, bool want_output, const std::vector<int>& layers,
                 bool conservation) {
  const std::int64_t n = call.request.n;
  const Shape leading{n, call.request.start.targets_per_sample};
  call.relevance = new_array(joined(leading, plan.plan().input_shape()));
  call.request.relevance = call.relevance.mutable_data();
  if (want_output) {
    call.output = new_array(joined({n}, plan.plan().output_shape()));
    call.request.output = call.output.mutable_data();
  }
  for (const int node : layers) {
    call.layers.push_back(new_array(joined(leading, plan.node_shape(node, "layers:"))));
    call.request.layers.push_back(node);
    call.request.layer_relevance.push_back(call.layers.back().mutable_data());
  }
  if (conservation) call.request.conservation = &call.conservation;
}

py::list conservation_list(const std::vector<LayerConservation>& report) {
  using py::arg;
  py::list list;
  for (const LayerConservation& layer : report) {
    list.append(py::dict(arg("node") = layer.node, arg("relevance_out") = layer.relevance_out,
                         arg("relevance_in") = layer.relevance_in, arg("bias") = layer.bias,
                         arg("epsilon") = layer.epsilon, arg("zero") = layer.zero));
  }
  return list;
}

py::tuple relevance(PyPlan& self, const py::object& x, const py::object& start,
                    const py::object& targets, bool want_output, const std::vector<int>& layers,
                    const std::vector<std::tuple<int, py::object, bool>>& masks,
                    const std::vector<int>& mask_targets, bool exclude_parallel, bool conservation,
                    bool square, bool times_input, int n_threads) {
  check_threads(n_threads);
  Call call;
  call.x = float_array(x, "x");
  call.request.x = call.x.data();
  call.request.n = batch_size(call.x, self.plan().input_shape(), "x");
  set_start(call, start, targets, self.plan().output_shape());
  set_masks(call, self, masks, mask_targets);
  set_results(call, self, want_output, layers, conservation);
  call.request.exclude_parallel = exclude_parallel;
  call.request.square = square;
  call.request.times_input = times_input;
  call.request.n_threads = n_threads;
  {
    const py::gil_scoped_release release;
    const PyPlan::Lease workspace(self);
    self.plan().relevance(call.request, *workspace);
  }
  return py::make_tuple(call.relevance, want_output ? py::object(call.output) : py::none(),
                        py::cast(call.layers), conservation_list(call.conservation));
}

// Wall seconds of every step in one pass.
py::list profile(PyPlan& self, const py::object& x, const py::object& start, int n_threads) {
  using py::arg;
  check_threads(n_threads);
  Call call;
  call.x = float_array(x, "x");
  call.request.x = call.x.data();
  call.request.n = batch_size(call.x, self.plan().input_shape(), "x");
  set_start(call, start, py::none(), self.plan().output_shape());
  set_results(call, self, false, {}, false);
  call.request.n_threads = n_threads;
  std::vector<LayerSeconds> seconds;
  call.request.seconds = &seconds;
  {
    const py::gil_scoped_release release;
    const PyPlan::Lease workspace(self);
    self.plan().relevance(call.request, *workspace);
  }
  py::list list;
  for (const LayerSeconds& layer : seconds)
    list.append(py::dict(arg("node") = layer.node, arg("forward") = layer.forward,
                         arg("backward") = layer.backward));
  return list;
}

py::list layer_list(const PyPlan& self) {
  using py::arg;
  py::list list;
  for (const LayerInfo& layer : self.plan().layers()) {
    list.append(py::dict(arg("node") = layer.node, arg("name") = layer.name, arg("op") = layer.op,
                         arg("rule") = layer.rule, arg("forward") = layer.forward,
                         arg("backward") = layer.backward, arg("shape") = to_tuple(layer.shape),
                         arg("parameters") = layer.parameters,
                         arg("multiply_adds") = layer.multiply_adds));
  }
  return list;
}

std::unique_ptr<PyPlan> make_plan(const PyModel& model, const std::vector<Rule>& rules, int output,
                                  const std::string& isa, bool forward_only,
                                  std::int64_t workspace_bytes, std::int64_t samples) {
  return std::make_unique<PyPlan>(
      model, rules, make_options(output, isa, forward_only, workspace_bytes, samples));
}

}  // namespace

void bind_plan(py::module_& m) {
  using py::arg;
  const py::object none = py::none();
  py::class_<Rule>(m, "Rule").def(
      py::init(&make_rule), arg("kind"), py::kw_only(), arg("alpha") = 1.0F, arg("beta") = 0.0F,
      arg("gamma") = 0.25F, arg("stabilizer") = 1e-6F, arg("absorb_bias") = true, arg("low") = none,
      arg("high") = none,
      "kind: a name of the engine's table of rules; any other is refused, naming all.");

  py::class_<PyPlan>(m, "Plan",
                     "A network compiled for one set of rules; any number of threads "
                     "may use it at once.")
      .def(py::init(&make_plan), arg("model"), arg("rules") = py::tuple(), py::kw_only(),
           arg("output") = -1, arg("isa") = "", arg("forward_only") = false,
           arg("workspace_bytes") = 0, arg("samples") = 1)
      .def("forward", &forward, arg("x"), arg("n_threads") = 0)
      .def("relevance", &relevance, arg("x"), py::kw_only(), arg("start") = "output",
           arg("targets") = none, arg("want_output") = false, arg("layers") = py::tuple(),
           arg("masks") = py::tuple(), arg("mask_targets") = py::tuple(),
           arg("exclude_parallel") = false, arg("conservation") = false, arg("square") = false,
           arg("times_input") = false, arg("n_threads") = 0)
      .def("profile", &profile, arg("x"), arg("start") = "output", arg("n_threads") = 0)
      .def_property_readonly("input_shape",
                             [](const PyPlan& self) { return to_tuple(self.plan().input_shape()); })
      .def_property_readonly(
          "output_shape", [](const PyPlan& self) { return to_tuple(self.plan().output_shape()); })
      .def_property_readonly("isa", [](const PyPlan& self) { return isa_name(self.plan().isa()); })
      .def_property_readonly("layers", &layer_list)
      .def_property_readonly("workspace_bytes",
                             [](const PyPlan& self) { return self.plan().workspace_bytes(); })
      .def_property_readonly("weight_bytes",
                             [](const PyPlan& self) { return self.plan().weight_bytes(); });
}

}  // namespace relprop::python
