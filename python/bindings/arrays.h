#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "relprop/model.h"

namespace relprop::python {

namespace py = pybind11;

using FloatArray = py::array_t<float, py::array::c_style>;
using IntArray = py::array_t<std::int64_t, py::array::c_style>;

// The object as an array of exactly this type, C-contiguous and aligned, without a copy. Otherwise
// TypeError (not an array, other dtype) or ValueError (strides); `what` names the argument.
FloatArray float_array(const py::handle& object, const std::string& what);
IntArray int_array(const py::handle& object, const std::string& what);

Shape shape_of(const py::array& array);
py::tuple to_tuple(const Shape& shape);
// ValueError unless the shapes agree.
void require_shape(const py::array& array, const Shape& expected, const std::string& what);
// ValueError unless the array is (n, *sample); returns n.
std::int64_t batch_size(const py::array& array, const Shape& sample, const std::string& what);

FloatArray new_array(const Shape& shape);
// (leading..., tail...)
Shape joined(Shape leading, const Shape& tail);

// A copy of the values; empty for None.
std::vector<float> values_of(const py::handle& object, const std::string& what);

}  // namespace relprop::python
