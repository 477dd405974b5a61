#pragma once

#include <cstdint>

// Size arithmetic of sliding windows, along one axis. Callers keep every argument within
// kMaxExtent, so no product here can overflow.

namespace relprop {

inline constexpr std::int64_t kMaxExtent = std::int64_t{1} << 30;
// Kernels number the pixels of a channel with 32 bits.
inline constexpr std::int64_t kMaxPixels = (std::int64_t{1} << 31) - 1;
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 40;

// Cells from a window's first tap to its last.
constexpr std::int64_t window_extent(std::int64_t kernel, std::int64_t dilation) {
  return dilation * (kernel - 1) + 1;
}

// Output size, below 1 where no window fits. With ceil a last window that hangs over the end
// counts, as in torch and ONNX, if it starts inside the input or its left padding.
constexpr std::int64_t window_output(std::int64_t in, std::int64_t kernel, std::int64_t stride,
                                     std::int64_t dilation, std::int64_t pad_begin,
                                     std::int64_t pad_end, bool ceil) {
  const std::int64_t room = in + pad_begin + pad_end - window_extent(kernel, dilation);
  if (!ceil) return room < 0 ? 0 : room / stride + 1;
  if (room + stride <= 0) return 0;
  const std::int64_t windows = (room + stride - 1) / stride + 1;
  return (windows - 1) * stride >= in + pad_begin ? windows - 1 : windows;
}

constexpr std::int64_t transposed_output(std::int64_t in, std::int64_t kernel, std::int64_t stride,
                                         std::int64_t dilation, std::int64_t pad_begin,
                                         std::int64_t pad_end, std::int64_t output_padding) {
  return (in - 1) * stride + window_extent(kernel, dilation) + output_padding - pad_begin - pad_end;
}

// True if one of the first `out` windows has no tap inside the input. Windows that start inside
// have one, so only those that start before or behind it are looked at.
constexpr bool has_window_in_padding(std::int64_t in, std::int64_t out, std::int64_t kernel,
                                     std::int64_t stride, std::int64_t dilation,
                                     std::int64_t pad_begin) {
  if (out > 0 && (out - 1) * stride - pad_begin >= in) return true;
  for (std::int64_t o = 0; o < out && o * stride < pad_begin; ++o) {
    const std::int64_t start = o * stride - pad_begin;
    const std::int64_t tap = (-start + dilation - 1) / dilation;  // the first at 0 or behind
    if (tap >= kernel || start + tap * dilation >= in) return true;
    if (dilation <= in) return false;  // no gap is wide enough, and later windows reach further
  }
  return false;
}

// Torch's adaptive pooling: output cell o averages the input cells [begin, end).
constexpr std::int64_t adaptive_begin(std::int64_t o, std::int64_t in, std::int64_t out) {
  return o * in / out;
}
constexpr std::int64_t adaptive_end(std::int64_t o, std::int64_t in, std::int64_t out) {
  return ((o + 1) * in + out - 1) / out;
}

}  // namespace relprop
