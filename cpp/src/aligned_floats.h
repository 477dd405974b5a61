#pragma once

#include <cstdint>

namespace relprop {

// 64-byte aligned floats, zero-initialised. Where the system has large pages it is asked for them.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::int64_t n);
  ~AlignedFloats();
  AlignedFloats(AlignedFloats&& other) noexcept;
  AlignedFloats& operator=(AlignedFloats&& other) noexcept;
  AlignedFloats(const AlignedFloats&) = delete;
  AlignedFloats& operator=(const AlignedFloats&) = delete;
  float* data() { return data_; }
  const float* data() const { return data_; }
  std::int64_t size() const { return size_; }

 private:
  void* memory_ = nullptr;
  float* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace relprop
