#pragma once

#include <cstdint>
#include <vector>

#include "random.h"
#include "relprop/maximize.h"

namespace relprop {

// Throws Error for a wrong value, and where inputs of this shape are not images.
void check_view(const View& view, const Shape& shape);

// What the network sees of an image in one step: rolled by (dy, dx), then resized about the centre
// with bilinear weights. A linear map; the gradient goes back through its transpose.
class ImageView {
 public:
  ImageView(const View& view, const Shape& shape, const Random& random, std::int64_t step);

  void look(const float* image, float* seen) const;
  void back(const float* gradient, float* image_gradient) const;

 private:
  // seen = (1 - fraction) image[first] + fraction image[second] along one axis.
  struct Tap {
    std::int64_t first, second;
    float fraction;
  };
  static std::vector<Tap> taps(std::int64_t size, double scale, std::int64_t roll);

  std::int64_t channels_;
  std::vector<Tap> y_, x_;
};

// Convolves every channel with a normalised Gaussian cut off at 3 sigma; edges are repeated.
void blur_image(const Shape& shape, double sigma, float* image);

}  // namespace relprop
