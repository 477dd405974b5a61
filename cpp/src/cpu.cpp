#include "cpu.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace relprop {

#if defined(__x86_64__)
namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool bit(unsigned value, int index) { return (value >> index & 1u) != 0; }

// Register state that the operating system saves on a context switch (XCR0).
std::uint64_t saved_state() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<std::uint64_t>(high) << 32 | low;
}

// Linux gives a process the state of the tile registers if it asks for it, once for all threads. It
// refuses where a thread's signal stack has no room for it.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures detect() {
  constexpr std::uint64_t kYmmState = 0x6, kZmmState = 0xe6, kTileState = 0x60000;
  const Registers one = cpuid(1, 0), seven = cpuid(7, 0);
  CpuFeatures features;
  if (!bit(one.ecx, 27)) return features;  // OSXSAVE
  const std::uint64_t state = saved_state();
  features.avx2_fma = (state & kYmmState) == kYmmState && bit(one.ecx, 12) && bit(seven.ebx, 5);
  features.avx512 = features.avx2_fma && (state & kZmmState) == kZmmState && bit(seven.ebx, 16) &&
                    bit(seven.ebx, 30) && bit(seven.ebx, 17) && bit(seven.ebx, 31);
  features.amx = features.avx512 && (state & kTileState) == kTileState && bit(seven.edx, 24) &&
                 bit(seven.edx, 22) && may_use_tiles();
  return features;
}

}  // namespace

// Kept: under a hypervisor every cpuid leaves the virtual machine.
CpuFeatures cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}
#else
CpuFeatures cpu_features() { return {}; }
#endif

}  // namespace relprop
