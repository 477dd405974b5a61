#pragma once

#include <pybind11/pybind11.h>

#include <shared_mutex>
#include <string>
#include <utility>

#include "relprop/model.h"

namespace relprop::python {

// The Python object behind _core.Model. Plans are made without the GIL, so the lock keeps another
// thread from adding layers meanwhile; no thread waits for the GIL while it holds it.
struct PyModel {
  PyModel(Shape input_shape, std::string input_name)
      : model(std::move(input_shape), std::move(input_name)) {}

  Model model;
  mutable std::shared_mutex mutex;
};

void bind_model(pybind11::module_& module);
void bind_plan(pybind11::module_& module);
void bind_maximize(pybind11::module_& module);

}  // namespace relprop::python
