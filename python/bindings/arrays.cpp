#include "arrays.h"

#include <utility>

namespace relprop::python {
namespace {

std::string type_name(const py::handle& object) {
  return py::str(py::type::handle_of(object).attr("__name__"));
}

template <typename T>
py::array_t<T, py::array::c_style> exact_array(const py::handle& object, const std::string& what,
                                               const char* dtype) {
  const std::string accepted = std::string("; accepted: a C-contiguous ") + dtype + " array";
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(what + " is of type " + type_name(object) + accepted);
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(py::dtype::of<T>())) {
    throw py::type_error(what + " has dtype " + std::string(py::str(array.dtype())) + accepted);
  }
  const int flags = array.flags();
  constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((flags & py::array::c_style) == 0 || (flags & kAligned) == 0) {
    throw py::value_error(what + " of shape " + to_string(shape_of(array)) + " is not contiguous" +
                          accepted);
  }
  return py::reinterpret_borrow<py::array_t<T, py::array::c_style>>(object);
}

}  // namespace

FloatArray float_array(const py::handle& object, const std::string& what) {
  return exact_array<float>(object, what, "float32");
}

IntArray int_array(const py::handle& object, const std::string& what) {
  return exact_array<std::int64_t>(object, what, "int64");
}

Shape shape_of(const py::array& array) {
  return Shape(array.shape(), array.shape() + array.ndim());
}

py::tuple to_tuple(const Shape& shape) {
  py::tuple tuple(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) tuple[i] = shape[i];
  return tuple;
}

void require_shape(const py::array& array, const Shape& expected, const std::string& what) {
  const Shape shape = shape_of(array);
  if (shape != expected) {
    throw py::value_error(what + " has shape " + to_string(shape) +
                          "; accepted: " + to_string(expected));
  }
}

std::int64_t batch_size(const py::array& array, const Shape& sample, const std::string& what) {
  const Shape shape = shape_of(array);
  if (shape.empty() || Shape(shape.begin() + 1, shape.end()) != sample) {
    const std::string text = to_string(sample);
    const std::string tail =
        sample.size() == 1 ? text.substr(1, text.size() - 3) + ")" : text.substr(1);
    throw py::value_error(what + " has shape " + to_string(shape) + "; accepted: (n, " + tail);
  }
  return shape.front();
}

FloatArray new_array(const Shape& shape) {
  return FloatArray(py::array::ShapeContainer(shape.begin(), shape.end()));
}

Shape joined(Shape leading, const Shape& tail) {
  leading.insert(leading.end(), tail.begin(), tail.end());
  return leading;
}

std::vector<float> values_of(const py::handle& object, const std::string& what) {
  if (object.is_none()) return {};
  const FloatArray array = float_array(object, what);
  return std::vector<float>(array.data(), array.data() + array.size());
}

}  // namespace relprop::python
