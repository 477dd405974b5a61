#include "shapes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "geometry.h"
#include "relprop/error.h"
#include "relprop/finite.h"

namespace relprop {
namespace {

using relprop::to_string;
using std::to_string;

constexpr const char* kAxisName[2] = {"y", "x"};

// a * b, or more than kMaxElements where it would be; a and b are not negative.
std::int64_t bounded_product(std::int64_t a, std::int64_t b) {
  if (a == 0 || b == 0) return 0;
  return a > kMaxElements / b ? kMaxElements + 1 : a * b;
}

std::int64_t bounded_size(const Shape& shape) {
  std::int64_t size = 1;
  for (std::int64_t extent : shape) size = bounded_product(size, extent);
  return size;
}

std::string pair_text(const std::array<std::int64_t, 2>& v) {
  return "(" + to_string(v[0]) + ", " + to_string(v[1]) + ")";
}

class Inference {
 public:
  Inference(const std::string& name, const Op& op, const std::vector<const Shape*>& inputs)
      : name_(name), op_(op), inputs_(inputs) {}

  Shape operator()(const Input&) const { fail("a model has one input, made with the model"); }

  Shape operator()(const Dense& op) const {
    const Shape& in = single();
    check_channels("in", op.in);
    check_channels("out", op.out);
    if (in.back() != op.in) {
      fail("the weight takes " + to_string(op.in) + " features, the input has shape " +
           to_string(in) + "; accepted: a last axis of " + to_string(op.in));
    }
    check_values("weight", op.weight, bounded_product(op.out, op.in), "out * in");
    check_optional("bias", op.bias, op.out);
    Shape out = in;
    out.back() = op.out;
    return out;
  }

  Shape operator()(const Conv& op) const {
    const Shape& in = windowed(op.window);
    check_groups(op.in, op.out, op.groups, in);
    check_pads(op.window);
    check_values("weight", op.weight, weight_size(op.out, op.in / op.groups, op.window),
                 "out * in / groups * kH * kW");
    check_optional("bias", op.bias, op.out);
    return slide(op.window, false, op.out);
  }

  Shape operator()(const ConvTranspose& op) const {
    const Shape& in = windowed(op.window);
    check_groups(op.in, op.out, op.groups, in);
    check_pads(op.window);
    check_values("weight", op.weight, weight_size(op.in, op.out / op.groups, op.window),
                 "in * out / groups * kH * kW");
    check_optional("bias", op.bias, op.out);
    return slide_transposed(op);
  }

  Shape operator()(const BatchNorm& op) const {
    const Shape& in = single();
    check_values("scale", op.scale, in.front(), "one per channel");
    check_values("shift", op.shift, in.front(), "one per channel");
    return in;
  }

  Shape operator()(const ScaleShift& op) const {
    const Shape& in = single();
    if (op.scale.empty() && op.shift.empty()) fail("neither scale nor shift given");
    check_broadcast("scale", op.scale, in);
    check_broadcast("shift", op.shift, in);
    return in;
  }

  Shape operator()(const Activation& op) const {
    if (op.function == Function::clip) {
      if (!(op.a <= op.b)) {
        fail("bounds [" + to_string(op.a) + ", " + to_string(op.b) + "]; accepted: low <= high");
      }
    } else if (!std::isfinite(op.a)) {
      fail("parameter " + to_string(op.a) + "; accepted: a finite number");
    }
    return single();
  }

  Shape operator()(const MaxPool& op) const {
    const Shape& in = windowed(op.window);
    check_pads(op.window);
    Shape out = slide(op.window, op.ceil_mode, in.front());
    refuse_padding_windows(op.window, out);
    return out;
  }

  Shape operator()(const AveragePool& op) const {
    const Shape& in = windowed(op.window);
    check_pads(op.window);
    Shape out = slide(op.window, op.ceil_mode, in.front());
    if (!op.count_include_pad) refuse_padding_windows(op.window, out);
    return out;
  }

  Shape operator()(const AdaptiveAveragePool& op) const {
    const Shape& in = spatial();
    if (in.size() == 2 && op.output[0] != 1) {
      fail("output " + pair_text(op.output) + " for a one-dimensional input " + to_string(in) +
           "; accepted: (1, length)");
    }
    for (std::int64_t extent : op.output) {
      if (extent < 1 || extent > kMaxExtent) {
        fail("output " + pair_text(op.output) + "; accepted: sizes from 1 to " +
             to_string(kMaxExtent));
      }
    }
    return with_extents(in.front(), op.output);
  }

  Shape operator()(const GlobalMaxPool&) const { return with_extents(spatial().front(), {1, 1}); }

  Shape operator()(const Add&) const {
    at_least(2);
    for (const Shape* shape : inputs_) {
      if (*shape != *inputs_.front()) {
        fail("inputs of shapes " + input_shapes() + "; accepted: one shape for all");
      }
    }
    return *inputs_.front();
  }

  Shape operator()(const Concat& op) const {
    at_least(1);
    Shape out = *inputs_.front();
    check_axis(op.axis, out);
    const auto axis = static_cast<std::size_t>(op.axis);
    for (std::size_t i = 1; i < inputs_.size(); ++i) {
      Shape other = *inputs_[i];
      if (other.size() != out.size()) refuse_concat(op.axis);
      const std::int64_t joined = out[axis] + other[axis];
      out[axis] = other[axis];
      if (out != other) refuse_concat(op.axis);
      out[axis] = joined;
    }
    return out;
  }

  Shape operator()(const Reshape& op) const {
    const Shape& in = single();
    check_shape(op.shape, prefix());
    if (bounded_size(op.shape) != bounded_size(in)) {
      fail("input " + to_string(in) + " of " + to_string(bounded_size(in)) +
           " values cannot become " + to_string(op.shape) + " of " +
           to_string(bounded_size(op.shape)));
    }
    return op.shape;
  }

  Shape operator()(const Pad& op) const {
    const Shape& in = single();
    if (op.begin.size() != in.size() || op.end.size() != in.size()) {
      fail(to_string(op.begin.size()) + " and " + to_string(op.end.size()) +
           " pads for an input of shape " + to_string(in) +
           "; accepted: one before and one behind " + "each of its axes");
    }
    if (!std::isfinite(op.value)) fail("padding value is not finite");
    Shape out = in;
    for (std::size_t axis = 0; axis < in.size(); ++axis) {
      out[axis] = padded(axis, in[axis], op.begin[axis], op.end[axis]);
    }
    return out;
  }

  Shape operator()(const Gather& op) const {
    const Shape& in = single();
    check_shape(op.shape, prefix());
    const std::int64_t expected = bounded_size(op.shape), values = bounded_size(in);
    if (expected > kMaxPixels || values > kMaxPixels) {
      unsupported("it moves more than " + to_string(kMaxPixels) + " values of a sample");
    }
    if (static_cast<std::int64_t>(op.index.size()) != expected) {
      fail("index has " + to_string(op.index.size()) + " entries for an output of shape " +
           to_string(op.shape) + "; accepted: " + to_string(expected));
    }
    for (std::size_t k = 0; k < op.index.size(); ++k) {
      if (op.index[k] < 0 || op.index[k] >= values) {
        fail("index " + to_string(op.index[k]) + " at " + to_string(k) + " of an input of shape " +
             to_string(in) + "; accepted: 0 to " + to_string(values - 1));
      }
    }
    return op.shape;
  }

  Shape operator()(const Resample& op) const {
    const Shape& in = spatial();
    if (in.size() == 2 && op.output[0] != 1) {
      fail("output " + pair_text(op.output) + " for a one-dimensional input " + to_string(in) +
           "; accepted: (1, length)");
    }
    check_range("output", op.output, 1);
    check_values("rows", op.rows, bounded_product(op.output[0], extent_along(in, 0)),
                 "output height * input height");
    check_values("columns", op.columns, bounded_product(op.output[1], extent_along(in, 1)),
                 "output width * input width");
    return with_extents(in.front(), op.output);
  }

  Shape operator()(const LayerNorm& op) const {
    const Shape& in = single();
    std::int64_t size = 1;
    for (std::size_t axis = in.size(); axis-- > 0 && size < op.size;) size *= in[axis];
    if (size != op.size || op.size < 1) {
      fail("it normalises " + to_string(op.size) + " values of an input of shape " + to_string(in) +
           "; accepted: the size of its last axes together");
    }
    if (!(op.eps >= 0) || !std::isfinite(op.eps)) {
      fail("eps " + to_string(op.eps) + "; accepted: a finite number of 0 or more");
    }
    check_optional("weight", op.weight, op.size);
    check_optional("bias", op.bias, op.size);
    return in;
  }

  Shape operator()(const Product&) const {
    if (inputs_.size() != 2) fail(to_string(inputs_.size()) + " inputs; accepted: two");
    if (*inputs_[0] != *inputs_[1]) {
      fail("inputs of shapes " + input_shapes() + "; accepted: one shape for both");
    }
    return *inputs_[0];
  }

  Shape operator()(const Softmax& op) const {
    const Shape& in = single();
    check_axis(op.axis, in);
    return in;
  }

  Shape operator()(const Identity&) const { return single(); }

 private:
  std::string prefix() const { return "layer '" + name_ + "' (" + op_name(op_) + ")"; }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::invalid_argument, prefix() + ": " + what);
  }
  [[noreturn]] void unsupported(const std::string& what) const {
    throw Error(ErrorCode::unsupported, prefix() + ": " + what);
  }

  std::string input_shapes() const {
    std::string text;
    for (const Shape* shape : inputs_) text += (text.empty() ? "" : ", ") + to_string(*shape);
    return text;
  }

  const Shape& single() const {
    if (inputs_.size() != 1) fail(to_string(inputs_.size()) + " inputs; accepted: one");
    return *inputs_.front();
  }
  void at_least(std::size_t count) const {
    if (inputs_.size() < count) {
      fail(to_string(inputs_.size()) + " inputs; accepted: " + to_string(count) + " or more");
    }
  }

  const Shape& spatial() const {
    const Shape& in = single();
    if (in.size() != 2 && in.size() != 3) {
      unsupported("input of shape " + to_string(in) +
                  "; supported: (channels, length) and (channels, height, width)");
    }
    for (std::int64_t extent : in) {
      if (extent > kMaxExtent) {
        fail("input of shape " + to_string(in) + "; accepted: sizes up to " +
             to_string(kMaxExtent));
      }
    }
    if (in.size() == 3 && in[1] * in[2] > kMaxPixels) {
      fail("input of shape " + to_string(in) + "; accepted: up to " + to_string(kMaxPixels) +
           " pixels per channel");
    }
    return in;
  }

  const Shape& windowed(const Window& w) const {
    const Shape& in = spatial();
    check_range("kernel", w.kernel, 1);
    check_range("stride", w.stride, 1);
    check_range("dilation", w.dilation, 1);
    const bool flat = w.kernel[0] == 1 && w.stride[0] == 1 && w.dilation[0] == 1 &&
                      w.pad_begin[0] == 0 && w.pad_end[0] == 0;
    if (in.size() == 2 && !flat) {
      fail("the window moves along y, but the input " + to_string(in) +
           " is one-dimensional; accepted there: kernel, stride and dilation 1, no padding");
    }
    return in;
  }

  void check_range(const char* what, const std::array<std::int64_t, 2>& v, std::int64_t low) const {
    for (std::int64_t value : v) {
      if (value < low || value > kMaxExtent) {
        fail(std::string(what) + " " + pair_text(v) + "; accepted: " + to_string(low) + " to " +
             to_string(kMaxExtent));
      }
    }
  }

  void check_pads(const Window& w) const {
    check_range("padding before", w.pad_begin, 0);
    check_range("padding behind", w.pad_end, 0);
  }

  void check_channels(const char* what, std::int64_t count) const {
    if (count < 1 || count > kMaxElements) {
      fail(std::string(what) + " = " + to_string(count) + "; accepted: 1 to " +
           to_string(kMaxElements));
    }
  }

  void check_groups(std::int64_t in, std::int64_t out, std::int64_t groups,
                    const Shape& shape) const {
    check_channels("in", in);
    check_channels("out", out);
    if (groups < 1 || in % groups != 0 || out % groups != 0) {
      fail("groups = " + to_string(groups) + " with " + to_string(in) + " input and " +
           to_string(out) + " output channels; accepted: a divisor of both");
    }
    if (shape.front() != in) {
      fail("the weight takes " + to_string(in) + " channels, the input has shape " +
           to_string(shape));
    }
  }

  static std::int64_t weight_size(std::int64_t a, std::int64_t b, const Window& w) {
    return bounded_product(bounded_product(a, b), bounded_product(w.kernel[0], w.kernel[1]));
  }

  void check_values(const char* what, const std::vector<float>& values, std::int64_t expected,
                    const char* formula) const {
    if (expected > kMaxElements) {
      fail(std::string(what) + " would have more than " + to_string(kMaxElements) + " values");
    }
    if (static_cast<std::int64_t>(values.size()) != expected) {
      fail(std::string(what) + " has " + to_string(values.size()) +
           " values; accepted: " + to_string(expected) + " (" + formula + ")");
    }
    check_finite(what, values);
  }
  void check_optional(const char* what, const std::vector<float>& values,
                      std::int64_t expected) const {
    if (!values.empty()) check_values(what, values, expected, "one per output, or none");
  }
  void check_broadcast(const char* what, const std::vector<float>& values, const Shape& in) const {
    const auto count = static_cast<std::int64_t>(values.size());
    if (count != 0 && count != 1 && count != in.front() && count != bounded_size(in)) {
      fail(std::string(what) + " has " + to_string(count) + " values for an input of shape " +
           to_string(in) + "; accepted: 1, " + to_string(in.front()) + " (one per channel) or " +
           to_string(bounded_size(in)));
    }
    check_finite(what, values);
  }
  void check_finite(const char* what, const std::vector<float>& values) const {
    if (all_finite(values.data(), static_cast<std::int64_t>(values.size()))) return;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) {
        fail(std::string(what) + " is " + to_string(values[i]) + " at index " + to_string(i) +
             "; accepted: finite numbers");
      }
    }
  }

  void check_axis(std::int64_t axis, const Shape& in) const {
    if (axis < 0 || axis >= static_cast<std::int64_t>(in.size())) {
      fail("axis " + to_string(axis) + " of a sample of shape " + to_string(in) +
           "; accepted: 0 to " + to_string(in.size() - 1));
    }
  }

  [[noreturn]] void refuse_concat(std::int64_t axis) const {
    fail("inputs of shapes " + input_shapes() + "; accepted: shapes that differ in axis " +
         to_string(axis) + " only");
  }

  std::int64_t padded(std::size_t axis, std::int64_t size, std::int64_t begin,
                      std::int64_t end) const {
    const bool in_range = begin >= -kMaxElements && begin <= kMaxElements && end >= -kMaxElements &&
                          end <= kMaxElements;
    if (!in_range || size + std::min<std::int64_t>(begin, 0) + std::min<std::int64_t>(end, 0) < 1) {
      fail("pads " + to_string(begin) + " and " + to_string(end) + " on axis " + to_string(axis) +
           " of size " + to_string(size) + "; accepted: pads that leave at least one value");
    }
    return size + begin + end;
  }

  static std::int64_t extent_along(const Shape& in, int axis) {
    return in.size() == 3 ? in[static_cast<std::size_t>(1 + axis)] : axis == 0 ? 1 : in[1];
  }
  Shape with_extents(std::int64_t channels, const std::array<std::int64_t, 2>& extents) const {
    if (inputs_.front()->size() == 2) return {channels, extents[1]};
    return {channels, extents[0], extents[1]};
  }

  Shape slide(const Window& w, bool ceil_mode, std::int64_t channels) const {
    const Shape& in = *inputs_.front();
    std::array<std::int64_t, 2> out{};
    for (int a = 0; a < 2; ++a) {
      const std::int64_t extent = extent_along(in, a);
      out[a] = window_output(extent, w.kernel[a], w.stride[a], w.dilation[a], w.pad_begin[a],
                             w.pad_end[a], ceil_mode);
      if (out[a] < 1) {
        fail("kernel " + to_string(w.kernel[a]) + " with dilation " + to_string(w.dilation[a]) +
             " is larger than the padded input along " + kAxisName[a] + ": " + to_string(extent) +
             " + " + to_string(w.pad_begin[a]) + " + " + to_string(w.pad_end[a]) +
             ", input shape " + to_string(in));
      }
    }
    return with_extents(channels, out);
  }

  Shape slide_transposed(const ConvTranspose& op) const {
    const Window& w = op.window;
    const Shape& in = *inputs_.front();
    std::array<std::int64_t, 2> out{};
    for (int a = 0; a < 2; ++a) {
      const std::int64_t limit = std::max(w.stride[a], w.dilation[a]);
      if (op.output_padding[a] < 0 || op.output_padding[a] >= limit) {
        fail("output padding " + pair_text(op.output_padding) + "; accepted along " + kAxisName[a] +
             ": 0 to " + to_string(limit - 1) + " (below the larger of stride and dilation)");
      }
      const std::int64_t extent = extent_along(in, a);
      out[a] = transposed_output(extent, w.kernel[a], w.stride[a], w.dilation[a], w.pad_begin[a],
                                 w.pad_end[a], op.output_padding[a]);
      if (out[a] < 1 || out[a] > kMaxExtent) {
        fail("output size " + to_string(out[a]) + " along " + kAxisName[a] + " for input shape " +
             to_string(in) + "; accepted: 1 to " + to_string(kMaxExtent));
      }
    }
    return with_extents(op.out, out);
  }

  void refuse_padding_windows(const Window& w, const Shape& out) const {
    const Shape& in = *inputs_.front();
    for (int a = 0; a < 2; ++a) {
      if (has_window_in_padding(extent_along(in, a), extent_along(out, a), w.kernel[a], w.stride[a],
                                w.dilation[a], w.pad_begin[a])) {
        fail("a window lies entirely in the padding along " + std::string(kAxisName[a]) +
             ": kernel " + to_string(w.kernel[a]) + ", dilation " + to_string(w.dilation[a]) +
             ", padding " + to_string(w.pad_begin[a]) + " and " + to_string(w.pad_end[a]) +
             ", input shape " + to_string(in));
      }
    }
  }

  const std::string& name_;
  const Op& op_;
  const std::vector<const Shape*>& inputs_;
};

}  // namespace

void check_shape(const Shape& shape, const std::string& what) {
  if (shape.empty()) {
    throw Error(ErrorCode::invalid_argument, what + ": empty shape; accepted: at least one axis");
  }
  for (std::int64_t extent : shape) {
    if (extent < 1) {
      throw Error(ErrorCode::invalid_argument,
                  what + ": shape " + to_string(shape) + "; accepted: sizes of 1 or more");
    }
  }
  if (bounded_size(shape) > kMaxElements) {
    throw Error(ErrorCode::invalid_argument, what + ": shape " + to_string(shape) +
                                                 " has more than " + std::to_string(kMaxElements) +
                                                 " values");
  }
}

Shape infer_shape(const std::string& name, const Op& op, const std::vector<const Shape*>& inputs) {
  Shape out = std::visit(Inference(name, op, inputs), op);
  check_shape(out, "layer '" + name + "' (" + op_name(op) + ")");
  return out;
}

}  // namespace relprop
