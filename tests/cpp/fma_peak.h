#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "relprop/plan.h"

// Loops of nothing but multiply-adds, in twelve independent chains: enough to hide their latency.

namespace relprop::test {

constexpr int kPeakSteps = 1 << 20, kPeakChains = 12;
inline volatile float sink;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) inline void fma_chain_avx512() {
  __m512 sum[kPeakChains], x = _mm512_set1_ps(0.5f);
  for (__m512& s : sum) s = x;
  for (int i = 0; i < kPeakSteps; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kPeakChains; ++k) sum[k] = _mm512_fmadd_ps(sum[k], x, x);
  }
  for (const __m512& s : sum) sink = _mm512_cvtss_f32(s);
}
__attribute__((target("avx2,fma"))) inline void fma_chain_avx2() {
  __m256 sum[kPeakChains], x = _mm256_set1_ps(0.5f);
  for (__m256& s : sum) s = x;
  for (int i = 0; i < kPeakSteps; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kPeakChains; ++k) sum[k] = _mm256_fmadd_ps(sum[k], x, x);
  }
  for (const __m256& s : sum) sink = _mm256_cvtss_f32(s);
}
#endif

// Runs the instruction set's loop once and returns its floating-point operations; 0 where nobody
// wrote one.
inline double fma_chain([[maybe_unused]] Isa isa) {
  [[maybe_unused]] const double per_lane = 2.0 * kPeakSteps * kPeakChains;
#if defined(__x86_64__)
  if (isa == Isa::avx512 || isa == Isa::amx) return fma_chain_avx512(), per_lane * 16;
  if (isa == Isa::avx2) return fma_chain_avx2(), per_lane * 8;
#endif
  return 0;
}

}  // namespace relprop::test
