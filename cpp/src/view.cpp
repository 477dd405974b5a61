#include "view.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "lower.h"
#include "relprop/error.h"

namespace relprop {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

// Random streams of a row: 0 is its start, the others belong to one step each.
std::uint64_t stream_of(std::int64_t step) { return static_cast<std::uint64_t>(step) + 1; }

std::int64_t clamp_index(std::int64_t i, std::int64_t size) {
  return std::clamp<std::int64_t>(i, 0, size - 1);
}

// One axis of a separable blur: `size` values, `stride` apart.
void blur_line(const std::vector<double>& weight, float* line, std::int64_t size,
               std::int64_t stride, std::vector<float>& copy) {
  const auto radius = static_cast<std::int64_t>(weight.size() / 2);
  for (std::int64_t i = 0; i < size; ++i) copy[static_cast<std::size_t>(i)] = line[i * stride];
  for (std::int64_t i = 0; i < size; ++i) {
    double sum = 0;
    for (std::int64_t k = -radius; k <= radius; ++k)
      sum += weight[static_cast<std::size_t>(k + radius)] *
             copy[static_cast<std::size_t>(clamp_index(i + k, size))];
    line[i * stride] = static_cast<float>(sum);
  }
}

}  // namespace

void check_view(const View& view, const Shape& shape) {
  if (view.jitter < 0) refuse("jitter = " + std::to_string(view.jitter) + "; accepted: 0 or more");
  if (!std::isfinite(view.scaling) || view.scaling < 1)
    refuse("scaling = " + std::to_string(view.scaling) + "; accepted: a number of at least 1");
  if (!std::isfinite(view.blur) || view.blur < 0)
    refuse("blur = " + std::to_string(view.blur) + "; accepted: a number of at least 0");
  if (view.blur_steps < 1)
    refuse("blur_steps = " + std::to_string(view.blur_steps) + "; accepted: 1 or more");
  const bool used = view.jitter > 0 || view.scaling > 1 || view.blur > 0;
  if (!used) return;
  if (shape.size() != 3)
    refuse("jitter, scaling and blur are for images; the input has shape " + to_string(shape) +
           ", accepted: (channels, height, width)");
  if (view.blur > static_cast<double>(std::max(shape[1], shape[2])))
    refuse("blur = " + std::to_string(view.blur) + " pixels for images of shape " +
           to_string(shape) + "; accepted: at most the longer side");
}

std::vector<ImageView::Tap> ImageView::taps(std::int64_t size, double scale, std::int64_t roll) {
  std::vector<Tap> result;
  const double centre = static_cast<double>(size - 1) / 2;
  for (std::int64_t i = 0; i < size; ++i) {
    const double at = centre + (static_cast<double>(i) - centre) / scale;
    const double base = std::floor(at);
    const auto rolled = [&](std::int64_t k) {
      return ((clamp_index(k, size) - roll) % size + size) % size;
    };
    const auto first = static_cast<std::int64_t>(base);
    result.push_back({rolled(first), rolled(first + 1), static_cast<float>(at - base)});
  }
  return result;
}

ImageView::ImageView(const View& view, const Shape& shape, const Random& random, std::int64_t step)
    : channels_(shape[0]) {
  const std::uint64_t stream = stream_of(step);
  const auto shift = [&](std::uint32_t index) {
    return static_cast<std::int64_t>(std::floor(random.uniform(stream, index) *
                                                static_cast<double>(2 * view.jitter + 1))) -
           view.jitter;
  };
  const double scale = std::pow(view.scaling, 2 * random.uniform(stream, 2) - 1);
  y_ = taps(shape[1], scale, shift(0));
  x_ = taps(shape[2], scale, shift(1));
}

void ImageView::look(const float* image, float* seen) const {
  const auto height = static_cast<std::int64_t>(y_.size());
  const auto width = static_cast<std::int64_t>(x_.size());
  for (std::int64_t c = 0; c < channels_; ++c, image += height * width)
    for (const Tap& y : y_) {
      const float *upper = image + y.first * width, *lower = image + y.second * width;
      for (const Tap& x : x_) {
        const float above = upper[x.first] * (1 - x.fraction) + upper[x.second] * x.fraction;
        const float below = lower[x.first] * (1 - x.fraction) + lower[x.second] * x.fraction;
        *seen++ = above * (1 - y.fraction) + below * y.fraction;
      }
    }
}

void ImageView::back(const float* gradient, float* image_gradient) const {
  const auto height = static_cast<std::int64_t>(y_.size());
  const auto width = static_cast<std::int64_t>(x_.size());
  std::fill(image_gradient, image_gradient + channels_ * height * width, 0.0f);
  for (std::int64_t c = 0; c < channels_; ++c, image_gradient += height * width)
    for (const Tap& y : y_) {
      float *upper = image_gradient + y.first * width, *lower = image_gradient + y.second * width;
      for (const Tap& x : x_) {
        const float g = *gradient++;
        const float above = g * (1 - y.fraction), below = g * y.fraction;
        upper[x.first] += above * (1 - x.fraction);
        upper[x.second] += above * x.fraction;
        lower[x.first] += below * (1 - x.fraction);
        lower[x.second] += below * x.fraction;
      }
    }
}

void blur_image(const Shape& shape, double sigma, float* image) {
  const auto radius = static_cast<std::int64_t>(std::ceil(3 * sigma));
  std::vector<double> weight;
  double total = 0;
  for (std::int64_t k = -radius; k <= radius; ++k) {
    const double distance = static_cast<double>(k) / sigma;
    weight.push_back(std::exp(-0.5 * distance * distance));
    total += weight.back();
  }
  for (double& w : weight) w /= total;
  const std::int64_t height = shape[1], width = shape[2];
  std::vector<float> copy(static_cast<std::size_t>(std::max(height, width)));
  for (std::int64_t c = 0; c < shape[0]; ++c, image += height * width) {
    for (std::int64_t y = 0; y < height; ++y) blur_line(weight, image + y * width, width, 1, copy);
    for (std::int64_t x = 0; x < width; ++x) blur_line(weight, image + x, height, width, copy);
  }
}

}  // namespace relprop
