#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "relprop/relprop.h"

namespace py = pybind11;

namespace {

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const relprop::Isa isa : relprop::available_isas()) names.push_back(isa_name(isa));
  return names;
}

py::dict build_info() {
  py::dict info;
  info["version"] = RELPROP_VERSION;
  info["compiler"] = RELPROP_COMPILER;
  info["build_type"] = RELPROP_BUILD_TYPE;
  info["flags"] = RELPROP_CXX_FLAGS;
  info["openmp"] = RELPROP_HAS_OPENMP != 0;
#ifdef NDEBUG
  info["assertions"] = false;
#else
  info["assertions"] = true;
#endif
  info["isas"] = py::str(RELPROP_ISAS).attr("split")();
  return info;
}

bool all_finite(const py::handle& object) {
  const relprop::python::FloatArray array = relprop::python::float_array(object, "values");
  const float* values = array.data();
  const py::ssize_t n = array.size();
  const py::gil_scoped_release release;
  return relprop::all_finite(values, n);
}

void bind_errors(py::module_& m) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> unsupported;
  unsupported.call_once_and_store_result([&m]() -> py::object {
    auto type = py::exception<relprop::Error>(m, "UnsupportedError", PyExc_ValueError);
    type.doc() = "Well-formed, but relprop has no kernel or rule for it.";
    return type;
  });
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const relprop::Error& error) {
      const bool known = error.code() == relprop::ErrorCode::unsupported;
      py::set_error(known ? unsupported.get_stored() : py::handle(PyExc_ValueError), error.what());
    }
  });
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.attr("__version__") = RELPROP_VERSION;
  bind_errors(m);
  m.def("available_isas", &isa_names);
  m.def("default_isa", [] { return std::string(isa_name(relprop::default_isa())); });
  m.def("default_thread_count", &relprop::default_thread_count);
  m.def("build_info", &build_info);
  m.def("all_finite", &all_finite, py::arg("values"));
  relprop::python::bind_model(m);
  relprop::python::bind_plan(m);
  relprop::python::bind_maximize(m);
}
