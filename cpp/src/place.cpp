#include "place.h"

#include <algorithm>

#include "lower.h"

namespace relprop {

void for_runs(const Shape& small, const Shape& big, const std::vector<std::int64_t>& begin,
              const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& f) {
  const std::size_t rank = small.size();
  const std::int64_t channels = channels_of(small), big_channels = channels_of(big);
  // Channels of small that fall inside big are contiguous in both.
  const std::int64_t c0 = std::max<std::int64_t>(0, -begin[0]);
  const std::int64_t c1 = std::min(channels, big_channels - begin[0]);
  if (c1 <= c0) return;
  const std::int64_t pixels = pixels_of(small);
  for (std::int64_t p = 0; p < pixels; ++p) {
    std::int64_t rest = p, at = 0, stride = 1;
    bool inside = true;
    for (std::size_t axis = rank; axis-- > 1;) {
      const std::int64_t position = rest % small[axis] + begin[axis];
      rest /= small[axis];
      inside = inside && position >= 0 && position < big[axis];
      at += position * stride;
      stride *= big[axis];
    }
    if (inside) f(p * channels + c0, at * big_channels + c0 + begin[0], c1 - c0);
  }
}

std::vector<std::vector<std::int64_t>> input_origins(const std::vector<Node>& nodes,
                                                     const Node& node) {
  std::vector<std::vector<std::int64_t>> origins;
  if (const auto* pad = std::get_if<Pad>(&node.op)) return {pad->begin};
  const auto axis = static_cast<std::size_t>(std::get<Concat>(node.op).axis);
  std::int64_t position = 0;
  for (int input : node.inputs) {
    std::vector<std::int64_t> origin(node.shape.size(), 0);
    origin[axis] = position;
    position += nodes[static_cast<std::size_t>(input)].shape[axis];
    origins.push_back(std::move(origin));
  }
  return origins;
}

}  // namespace relprop
