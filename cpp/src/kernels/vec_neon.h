#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace relprop::RELPROP_ISA {
namespace {

struct Mask {
  uint32x4_t m;
  friend Mask operator|(Mask a, Mask b) { return {vorrq_u32(a.m, b.m)}; }
};

struct Vec {
  static constexpr int kWidth = 4;
  float32x4_t v;

  static Vec load(const float* p) { return {vld1q_f32(p)}; }
  static Vec load(const float* p, std::int64_t n) {
    float lanes[4] = {0, 0, 0, 0};
    for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return {vld1q_f32(lanes)};
  }
  static Vec broadcast(float x) { return {vdupq_n_f32(x)}; }
  void store(float* p) const { vst1q_f32(p, v); }
  void stream(float* p) const { store(p); }
  void store(float* p, std::int64_t n) const {
    float lanes[4];
    vst1q_f32(lanes, v);
    for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
  }

  friend Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
  friend Mask operator<(Vec a, Vec b) { return {vcltq_f32(a.v, b.v)}; }
  friend Mask is_nan(Vec a) { return {vmvnq_u32(vceqq_f32(a.v, a.v))}; }
  friend Mask same_bits(Vec a, Vec b) {
    return {vceqq_u32(vreinterpretq_u32_f32(a.v), vreinterpretq_u32_f32(b.v))};
  }
};

inline Vec load_once(const float* p) { return Vec::load(p); }

inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return {vbslq_f32(m.m, yes.v, no.v)}; }

// Of a float known by its sign bit: x or +0, x or +0, and one of two values.
inline Vec positive_bits(Vec x) {
  return {vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(x.v), vdupq_n_s32(0)))};
}
inline Vec negative_bits(Vec x) {
  return {vreinterpretq_f32_s32(vminq_s32(vreinterpretq_s32_f32(x.v), vdupq_n_s32(0)))};
}
inline Vec by_sign_bit(Vec x, Vec plus, Vec minus) {
  return {vbslq_f32(vcltzq_s32(vreinterpretq_s32_f32(x.v)), minus.v, plus.v)};
}

inline float sum_of_lanes(Vec x) {
  float lane[Vec::kWidth];
  x.store(lane);
  for (int n = Vec::kWidth / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lane[i] += lane[i + n];
  return lane[0];
}

// Rows become columns: 2 x 2 within pairs of lanes, then of 64-bit lanes.
inline void transpose_vectors(Vec (&x)[4]) {
  const float32x4x2_t a = vtrnq_f32(x[0].v, x[1].v), b = vtrnq_f32(x[2].v, x[3].v);
  x[0].v = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  x[1].v = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  x[2].v = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  x[3].v = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

constexpr bool kShortLists = false;
constexpr int kRegisters = 32;
constexpr int kBlockVectors = 4;    // 8 accumulators for two sums, of 32 registers
constexpr int kSlidingVectors = 4;  // 24 for three outputs at once
constexpr bool kListsPairs = false;
constexpr int kDenseVectors = 4;  // 24 for six pixels
constexpr int kPanelVectors = 4;
constexpr float kSkipBelow[] = {0.55f, 0.4f, 0.42f, 0.42f, 0.42f};

}  // namespace
}  // namespace relprop::RELPROP_ISA
