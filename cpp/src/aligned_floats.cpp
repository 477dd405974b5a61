#include "aligned_floats.h"

#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace relprop {
namespace {

constexpr std::size_t kAlignment = 64;

// Pages of 2 MiB are found and cleared in less time than 512 small ones.
void ask_for_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  constexpr std::size_t kLargePage = std::size_t{1} << 21;
  if (bytes < 2 * kLargePage || !std::align(kLargePage, kLargePage, memory, bytes)) return;
  madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);  // a wish, which may fail
#endif
}

}  // namespace

// Not filled: what calloc takes from the system is zero before it is touched.
AlignedFloats::AlignedFloats(std::int64_t n) : size_(n) {
  if (n == 0) return;
  const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(float);
  std::size_t room = bytes + kAlignment;
  memory_ = std::calloc(room, 1);
  if (memory_ == nullptr) throw std::bad_alloc();
  void* data = memory_;
  data_ = static_cast<float*>(std::align(kAlignment, bytes, data, room));
  ask_for_large_pages(data_, bytes);
}

AlignedFloats::~AlignedFloats() { std::free(memory_); }

AlignedFloats::AlignedFloats(AlignedFloats&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

AlignedFloats& AlignedFloats::operator=(AlignedFloats&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace relprop
