#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "py_plan.h"
#include "relprop/error.h"
#include "relprop/maximize.h"

namespace relprop::python {
namespace {

using DoubleArray = py::array_t<double, py::array::c_style>;
using PyObjective = std::tuple<const PyPlan*, std::string, std::int64_t>;

constexpr std::pair<const char*, ObjectiveKind> kObjectives[] = {
    {"log_probability", ObjectiveKind::log_probability},
    {"neuron", ObjectiveKind::neuron},
    {"channel", ObjectiveKind::channel},
    {"layer", ObjectiveKind::layer},
};
constexpr std::pair<const char*, UpdateKind> kUpdates[] = {
    {"ascent", UpdateKind::ascent},
    {"momentum", UpdateKind::momentum},
    {"adam", UpdateKind::adam},
    {"normalized", UpdateKind::normalized},
};

template <class Kind, std::size_t N>
Kind parse(const std::pair<const char*, Kind> (&names)[N], const std::string& name,
           const std::string& what) {
  std::string accepted;
  for (const auto& [text, value] : names) {
    if (name == text) return value;
    accepted += (accepted.empty() ? "" : ", ") + std::string(text);
  }
  throw py::value_error(what + " = '" + name + "'; accepted: " + accepted);
}

const char* stop_name(Stop stop) {
  switch (stop) {
    case Stop::steps: return "steps";
    case Stop::stalled: return "stalled";
    case Stop::diverged: return "diverged";
  }
  return "";
}

// Calls a Python function (x) -> (log p, gradient) for one row.
LogDensity log_density(const py::function& function, const Shape& shape) {
  return {[function, shape](const float* x, float* gradient) {
    const py::gil_scoped_acquire acquire;
    FloatArray row = new_array(shape);
    std::copy_n(x, row.size(), row.mutable_data());
    const py::object result = function(std::move(row));
    const py::sequence pair = py::cast<py::sequence>(result);
    const FloatArray slope = float_array(pair[1], "gradient of the log-density");
    require_shape(slope, shape, "gradient of the log-density");
    std::copy_n(slope.data(), slope.size(), gradient);
    return py::cast<double>(pair[0]);
  }};
}

GaussianRbm rbm_of(const py::object& weight, const py::object& visible_bias,
                   const py::object& hidden_bias, const py::object& sigma) {
  const FloatArray w = float_array(weight, "gaussian_rbm: W");
  if (w.ndim() != 2)
    throw py::value_error("gaussian_rbm: W has shape " + to_string(shape_of(w)) +
                          "; accepted: (visible, hidden)");
  return {w.shape(1), values_of(w, "W"), values_of(visible_bias, "gaussian_rbm: visible_bias"),
          values_of(hidden_bias, "gaussian_rbm: hidden_bias"),
          values_of(sigma, "gaussian_rbm: sigma")};
}

py::tuple evaluate(const Prior& self, const py::object& x, int n_threads) {
  check_threads(n_threads);
  const FloatArray input = float_array(x, "x");
  const std::int64_t n = batch_size(input, self.shape(), "x");
  DoubleArray log_p(py::array::ShapeContainer{n, self.size()});
  FloatArray gradient = new_array(joined({n}, self.shape()));
  const float* from = input.data();
  double* values = log_p.mutable_data();
  float* slopes = gradient.mutable_data();
  {
    const py::gil_scoped_release release;
    self.evaluate(from, n, values, slopes, n_threads);
  }
  return py::make_tuple(std::move(log_p), std::move(gradient));
}

// Signals are looked for before every step, but not more often than this: to ask, the interpreter
// must be had from whatever other threads it runs.
constexpr std::chrono::milliseconds kSignalInterval{50};

class Watch {
 public:
  explicit Watch(py::object callback) : callback_(std::move(callback)) {}

  bool operator()(const Progress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (callback_.is_none() && now - last_ < kSignalInterval) return true;
    last_ = now;
    const py::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!callback_.is_none()) {
      const auto count = static_cast<py::ssize_t>(progress.values.size());
      callback_(progress.step, progress.steps, progress.climbing,
                DoubleArray(count, progress.values.data()));
    }
    return true;
  }

 private:
  py::object callback_;
  std::chrono::steady_clock::time_point last_{};
};

py::tuple results(const std::vector<Prototype>& prototypes, const Shape& shape,
                  std::int64_t terms) {
  const auto n = static_cast<std::int64_t>(prototypes.size());
  FloatArray x = new_array(joined({n}, shape));
  DoubleArray probability(n);
  IntArray restart(n);
  py::list stopped, history;
  for (std::int64_t k = 0; k < n; ++k) {
    const Prototype& found = prototypes[static_cast<std::size_t>(k)];
    std::copy(found.x.begin(), found.x.end(), x.mutable_data() + k * size_of(shape));
    probability.mutable_data()[k] = found.probability;
    restart.mutable_data()[k] = found.restart;
    stopped.append(stop_name(found.stop));
    const auto entries = static_cast<std::int64_t>(found.history.size()) / terms;
    history.append(DoubleArray(py::array::ShapeContainer{entries, terms}, found.history.data()));
  }
  return py::make_tuple(std::move(x), std::move(probability), std::move(restart),
                        std::move(stopped), std::move(history));
}

py::tuple maximize_rows(const std::vector<PyObjective>& objectives, std::int64_t steps,
                        std::int64_t restarts, std::uint64_t seed, const Prior* prior,
                        const py::object& initial, double noise, const py::object& low,
                        const py::object& high, const Update& update, const View& view,
                        double tolerance, std::int64_t patience, const py::object& progress,
                        int n_threads) {
  check_threads(n_threads);
  if (objectives.empty()) throw py::value_error("no objectives; accepted: one or more");
  MaximizeRequest request;
  for (const auto& [plan, kind, index] : objectives)
    request.objectives.push_back({&plan->plan(), parse(kObjectives, kind, "objective"), index});
  request.steps = steps;
  request.restarts = restarts;
  request.seed = seed;
  request.prior = prior;
  request.initial = values_of(initial, "initial");
  request.noise = noise;
  request.low = values_of(low, "low");
  request.high = values_of(high, "high");
  request.update = update;
  request.view = view;
  request.tolerance = tolerance;
  request.patience = patience;
  request.progress = Watch(progress);
  request.n_threads = n_threads;
  std::vector<Prototype> found;
  {
    const py::gil_scoped_release release;
    found = maximize(request);
  }
  return results(found, request.objectives[0].plan->input_shape(), 1 + (prior ? prior->size() : 0));
}

void bind_prior(py::module_& m) {
  using py::arg;
  const py::object none = py::none();
  py::class_<Prior>(m, "Prior", "A product of experts for inputs of one shape.")
      .def(py::init([](Shape shape) { return Prior(std::move(shape)); }), arg("shape"))
      .def(
          "add_l2",
          [](Prior& self, double lambda, const py::object& mean, double weight) {
            self.add(L2{lambda, values_of(mean, "l2: mean")}, weight);
          },
          arg("lam"), arg("mean") = none, arg("weight") = 1.0)
      .def(
          "add_total_variation",
          [](Prior& self, double lambda, double exponent, double weight) {
            self.add(TotalVariation{lambda, exponent}, weight);
          },
          arg("lam"), arg("exponent") = 2.0, arg("weight") = 1.0)
      .def(
          "add_gaussian",
          [](Prior& self, const py::object& mean, const py::object& variance,
             const py::object& covariance, double weight) {
            const Gaussian expert{values_of(mean, "gaussian: mean"),
                                  values_of(variance, "gaussian: variance"),
                                  values_of(covariance, "gaussian: covariance")};
            const py::gil_scoped_release release;
            self.add(expert, weight);
          },
          arg("mean"), arg("variance") = none, arg("covariance") = none, arg("weight") = 1.0)
      .def(
          "add_gaussian_rbm",
          [](Prior& self, const py::object& weight, const py::object& visible_bias,
             const py::object& hidden_bias, const py::object& sigma, double expert_weight) {
            self.add(rbm_of(weight, visible_bias, hidden_bias, sigma), expert_weight);
          },
          arg("W"), arg("visible_bias"), arg("hidden_bias"), arg("sigma"), arg("weight") = 1.0)
      .def(
          "add_log_density",
          [](Prior& self, const py::function& function, double weight) {
            self.add(log_density(function, self.shape()), weight);
          },
          arg("function"), arg("weight") = 1.0)
      .def("evaluate", &evaluate, arg("x"), arg("n_threads") = 0)
      .def_property_readonly("shape", [](const Prior& self) { return to_tuple(self.shape()); })
      .def_property_readonly("size", &Prior::size);
}

}  // namespace

void bind_maximize(py::module_& m) {
  using py::arg;
  const py::object none = py::none();
  bind_prior(m);
  py::class_<Update>(m, "Update")
      .def(py::init([](const std::string& kind, double rate, double momentum, double beta1,
                       double beta2, double epsilon, double decay, std::int64_t decay_steps) {
             return Update{parse(kUpdates, kind, "update"),
                           rate,
                           momentum,
                           beta1,
                           beta2,
                           epsilon,
                           decay,
                           decay_steps};
           }),
           arg("kind"), py::kw_only(), arg("rate"), arg("momentum") = 0.9, arg("beta1") = 0.9,
           arg("beta2") = 0.999, arg("epsilon") = 1e-8, arg("decay") = 1.0,
           arg("decay_steps") = 100);
  py::class_<View>(m, "View").def(
      py::init([](std::int64_t jitter, double scaling, double blur, std::int64_t blur_steps) {
        return View{jitter, scaling, blur, blur_steps};
      }),
      arg("jitter") = 0, arg("scaling") = 1.0, arg("blur") = 0.0, arg("blur_steps") = 4);
  m.def("maximize", &maximize_rows, arg("objectives"), py::kw_only(), arg("steps"), arg("restarts"),
        arg("seed"), arg("prior"), arg("initial"), arg("noise"), arg("low"), arg("high"),
        arg("update"), arg("view"), arg("tolerance"), arg("patience"), arg("progress"),
        arg("n_threads"));
}

}  // namespace relprop::python
