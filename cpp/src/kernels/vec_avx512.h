#pragma once

#define RELPROP_COMPRESSES  // pack_nonzero: a move that packs lanes

#include <immintrin.h>

#include <cstdint>

namespace relprop::RELPROP_ISA {
namespace {

struct Mask {
  __mmask16 m;
  friend Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
};

struct Vec {
  static constexpr int kWidth = 16;
  __m512 v;

  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load(const float* p, std::int64_t n) { return {_mm512_maskz_loadu_ps(lanes(n), p)}; }
  static Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  // Past the caches, to an address that is a multiple of the vector's size.
  void stream(float* p) const { _mm512_stream_ps(p, v); }
  void store(float* p, std::int64_t n) const { _mm512_mask_storeu_ps(p, lanes(n), v); }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend Mask operator<(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
  friend Mask is_nan(Vec a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
  friend Mask same_bits(Vec a, Vec b) {
    return {_mm512_cmpeq_epi32_mask(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v))};
  }

 private:
  static __mmask16 lanes(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
};

// A load that the compiler may not fold into each of several users.
inline Vec load_once(const float* p) {
  __m512 v = _mm512_loadu_ps(p);
  asm("" : "+v"(v));
  return {v};
}

inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }

// Of a float known by its sign bit: x or +0, x or +0, and one of two values. Integer operations run
// beside the multiplications on more ports than comparisons into mask registers do (Zen 4: 0.61 ns
// against 0.76 ns for a select and a multiply-add).
inline Vec positive_bits(Vec x) {
  return {_mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(x.v), _mm512_setzero_si512()))};
}
inline Vec negative_bits(Vec x) {
  return {_mm512_castsi512_ps(_mm512_min_epi32(_mm512_castps_si512(x.v), _mm512_setzero_si512()))};
}
inline Vec by_sign_bit(Vec x, Vec plus, Vec minus) {
  const __m512i sign = _mm512_srai_epi32(_mm512_castps_si512(x.v), 31);
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(sign, _mm512_castps_si512(minus.v),
                                                        _mm512_castps_si512(plus.v), 0xca))};
}

// a[0] b[0] a[1] b[1] ... for two vectors.
inline void interleave(__m512 a, __m512 b, __m512 (&to)[2]) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  to[0] = _mm512_permutex2var_ps(a, low, b);
  to[1] = _mm512_permutex2var_ps(a, high, b);
}
// The same for pairs of floats.
inline void interleave_pairs(__m512 a, __m512 b, __m512* to) {
  const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  to[0] = _mm512_castpd_ps(_mm512_permutex2var_pd(x, low, y));
  to[1] = _mm512_castpd_ps(_mm512_permutex2var_pd(x, high, y));
}

// Packs the lanes where one of the kValues arrays is not zero to the front of `to`, an entry's
// values side by side, and their numbers, counted from `number`, to the front of `index`. n lanes
// are given; returns how many are packed.
template <int kValues>
inline int pack_nonzero(const float* const (&from)[kValues], std::int64_t n, int number, float* to,
                        std::uint8_t* index) {
  static_assert(kValues == 1 || kValues == 2 || kValues == 4);
  const auto given = static_cast<__mmask16>((1u << n) - 1u);
  __m512 v[kValues];
  __mmask16 keep = 0;
  for (int i = 0; i < kValues; ++i) {
    v[i] = _mm512_maskz_loadu_ps(given, from[i]);
    keep =
        static_cast<__mmask16>(keep | _mm512_cmp_ps_mask(v[i], _mm512_setzero_ps(), _CMP_NEQ_UQ));
  }
  const int count = __builtin_popcount(keep);
  const auto front = static_cast<__mmask16>((1u << count) - 1u);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i numbers = _mm512_add_epi32(lane, _mm512_set1_epi32(number));
  _mm_mask_storeu_epi8(index, front,
                       _mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(keep, numbers)));
  for (int i = 0; i < kValues; ++i) v[i] = _mm512_maskz_compress_ps(keep, v[i]);
  __m512 packed[kValues];
  if constexpr (kValues == 1) packed[0] = v[0];
  if constexpr (kValues == 2) interleave(v[0], v[1], packed);
  if constexpr (kValues == 4) {
    __m512 first[2], second[2];
    interleave(v[0], v[1], first);
    interleave(v[2], v[3], second);
    interleave_pairs(first[0], second[0], packed);
    interleave_pairs(first[1], second[1], packed + 2);
  }
  const int floats = kValues * count;
  const std::uint64_t used = floats == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << floats) - 1;
  for (int i = 0; i < kValues; ++i)
    _mm512_mask_storeu_ps(to + 16 * i, static_cast<__mmask16>(used >> 16 * i), packed[i]);
  return count;
}

inline float sum_of_lanes(Vec x) { return _mm512_reduce_add_ps(x.v); }

// Rows become columns: 2 x 2 within pairs of lanes, then of 64-bit lanes, then of 128-bit lanes.
inline void transpose_vectors(Vec (&x)[16]) {
  __m512 a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(x[i].v, x[i + 1].v);
    a[i + 1] = _mm512_unpackhi_ps(x[i].v, x[i + 1].v);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int from = i / 2 * 4 + i % 2, to = i / 2 * 4 + i % 2 * 2;
    const __m512d low = _mm512_castps_pd(a[from]), high = _mm512_castps_pd(a[from + 2]);
    b[to] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
    b[to + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
  }
  // b[4 g + c] holds columns c, c + 4, c + 8, c + 12 of rows 4 g .. 4 g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512 even01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88);
    const __m512 odd01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xdd);
    const __m512 even23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88);
    const __m512 odd23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xdd);
    x[c].v = _mm512_shuffle_f32x4(even01, even23, 0x88);
    x[4 + c].v = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
    x[8 + c].v = _mm512_shuffle_f32x4(even01, even23, 0xdd);
    x[12 + c].v = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
  }
}

constexpr bool kShortLists = true;
constexpr int kRegisters = 32;
constexpr int kBlockVectors = 4;    // 8 accumulators for two sums, of 32 registers
constexpr int kSlidingVectors = 2;  // 12 for three outputs at once; their weights stay in L1
constexpr bool kListsPairs = true;  // 16 for four outputs
constexpr int kDenseVectors = 4;    // 24 for six pixels
constexpr int kPanelVectors = 4;
constexpr float kSkipBelow[] = {0.6f, 0.41f, 0.44f, 0.44f, 0.44f};

}  // namespace
}  // namespace relprop::RELPROP_ISA
