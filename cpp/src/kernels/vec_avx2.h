#pragma once

#define RELPROP_COMPRESSES  // pack_nonzero: packs lanes by a table

#include <immintrin.h>

#include <cstdint>

namespace relprop::RELPROP_ISA {
namespace {

struct Mask {
  __m256 m;
  friend Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
};

alignas(32) constexpr std::int32_t kLaneMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                    0,  0,  0,  0,  0,  0,  0,  0};

struct Vec {
  static constexpr int kWidth = 8;
  __m256 v;

  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec load(const float* p, std::int64_t n) { return {_mm256_maskload_ps(p, lanes(n))}; }
  static Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  // Past the caches it would be half a line: EfficientNet-Lite0 takes 1.05 to 1.25 times as long,
  // other networks 0.98 to 1.03 (Zen 3, 32 MB of L3).
  void stream(float* p) const { store(p); }
  void store(float* p, std::int64_t n) const { _mm256_maskstore_ps(p, lanes(n), v); }

  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend Mask operator<(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
  friend Mask is_nan(Vec a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
  friend Mask same_bits(Vec a, Vec b) {
    return {_mm256_castsi256_ps(
        _mm256_cmpeq_epi32(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v)))};
  }

 private:
  static __m256i lanes(std::int64_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask + 8 - n));
  }
};

// A load that the compiler may not fold into each of several users.
inline Vec load_once(const float* p) {
  __m256 v = _mm256_loadu_ps(p);
  asm("" : "+x"(v));
  return {v};
}

inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return {_mm256_blendv_ps(no.v, yes.v, m.m)}; }

// Of a float known by its sign bit: x or +0, x or +0, and one of two values.
inline Vec positive_bits(Vec x) {
  return {_mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(x.v), _mm256_setzero_si256()))};
}
inline Vec negative_bits(Vec x) {
  return {_mm256_castsi256_ps(_mm256_min_epi32(_mm256_castps_si256(x.v), _mm256_setzero_si256()))};
}
inline Vec by_sign_bit(Vec x, Vec plus, Vec minus) {
  return {_mm256_blendv_ps(plus.v, minus.v, x.v)};
}

// Front[m]: the numbers of the bits of m that are set, then zeros.
struct Front {
  std::uint8_t lane[256][8];
};
constexpr Front make_front() {
  Front front{};
  for (int m = 0; m < 256; ++m)
    for (int i = 0, count = 0; i < 8; ++i)
      if (m >> i & 1) front.lane[m][count++] = static_cast<std::uint8_t>(i);
  return front;
}
constexpr Front kFront = make_front();

// a[0] b[0] a[1] b[1] ... for two vectors.
inline void interleave(__m256 a, __m256 b, __m256 (&to)[2]) {
  const __m256 low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
  to[0] = _mm256_permute2f128_ps(low, high, 0x20);
  to[1] = _mm256_permute2f128_ps(low, high, 0x31);
}

// Packs the lanes where one of the kValues arrays is not zero to the front of `to`, an entry's
// values side by side, and their numbers, counted from `number`, to the front of `index`. n lanes
// are given and may be written; returns how many are packed.
template <int kValues>
inline int pack_nonzero(const float* const (&from)[kValues], std::int64_t n, int number, float* to,
                        std::uint8_t* index) {
  static_assert(kValues == 1 || kValues == 2);
  __m256 v[kValues], nonzero = _mm256_setzero_ps();
  for (int i = 0; i < kValues; ++i) {
    v[i] = (n == Vec::kWidth ? Vec::load(from[i]) : Vec::load(from[i], n)).v;
    nonzero = _mm256_or_ps(nonzero, _mm256_cmp_ps(v[i], _mm256_setzero_ps(), _CMP_NEQ_UQ));
  }
  const auto keep = static_cast<unsigned>(_mm256_movemask_ps(nonzero));
  const int count = __builtin_popcount(keep);
  const __m128i front = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kFront.lane[keep]));
  const __m128i numbers = _mm_add_epi8(front, _mm_set1_epi8(static_cast<char>(number)));
  for (int i = 0; i < kValues; ++i)
    v[i] = _mm256_permutevar8x32_ps(v[i], _mm256_cvtepu8_epi32(front));
  __m256 packed[kValues];
  if constexpr (kValues == 1) packed[0] = v[0];
  if constexpr (kValues == 2) interleave(v[0], v[1], packed);
  if (n == Vec::kWidth) {
    for (int i = 0; i < kValues; ++i) Vec{packed[i]}.store(to + Vec::kWidth * i);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(index), numbers);
    return count;
  }
  float value[kValues * Vec::kWidth];
  std::uint8_t lane[16];
  for (int i = 0; i < kValues; ++i) Vec{packed[i]}.store(value + Vec::kWidth * i);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lane), numbers);
  for (int i = 0; i < kValues * count; ++i) to[i] = value[i];
  for (int i = 0; i < count; ++i) index[i] = lane[i];
  return count;
}

inline float sum_of_lanes(Vec x) {
  float lane[Vec::kWidth];
  x.store(lane);
  for (int n = Vec::kWidth / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lane[i] += lane[i + n];
  return lane[0];
}

// Rows become columns: 2 x 2 within pairs of lanes, then of 64-bit lanes, then of 128-bit lanes.
inline void transpose_vectors(Vec (&x)[8]) {
  __m256 a[8], b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(x[i].v, x[i + 1].v);
    a[i + 1] = _mm256_unpackhi_ps(x[i].v, x[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const int from = i / 2 * 4 + i % 2, to = i / 2 * 4 + i % 2 * 2;
    const __m256d low = _mm256_castps_pd(a[from]), high = _mm256_castps_pd(a[from + 2]);
    b[to] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
    b[to + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    x[c].v = _mm256_permute2f128_ps(b[c], b[4 + c], 0x20);
    x[4 + c].v = _mm256_permute2f128_ps(b[c], b[4 + c], 0x31);
  }
}

constexpr bool kShortLists = false;
constexpr int kRegisters = 16;
constexpr int kBlockVectors = 4;    // 8 accumulators for two sums, of 16 registers
constexpr int kSlidingVectors = 2;  // 12 for three outputs at once
constexpr bool kListsPairs = false;
constexpr int kDenseVectors = 2;  // 12 for six pixels
constexpr int kPanelVectors = 6;
constexpr float kSkipBelow[] = {0.52f, 0.33f, 0.42f, 0.42f, 0.42f};

}  // namespace
}  // namespace relprop::RELPROP_ISA
