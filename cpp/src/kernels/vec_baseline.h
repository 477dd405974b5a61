#pragma once

#include <cstdint>

// Four floats through the compiler's vector extension: SSE2 on x86-64, plain code elsewhere.

namespace relprop::RELPROP_ISA {
namespace {

typedef float Floats __attribute__((vector_size(16)));
typedef std::int32_t Ints __attribute__((vector_size(16)));

struct Mask {
  Ints m;
  friend Mask operator|(Mask a, Mask b) { return {a.m | b.m}; }
};

struct Vec {
  static constexpr int kWidth = 4;
  Floats v;

  static Vec load(const float* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  static Vec load(const float* p, std::int64_t n) {
    Vec r{Floats{}};
    for (std::int64_t i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  static Vec broadcast(float x) { return {Floats{x, x, x, x}}; }
  void store(float* p) const { __builtin_memcpy(p, &v, sizeof v); }
  void stream(float* p) const { store(p); }
  void store(float* p, std::int64_t n) const {
    for (std::int64_t i = 0; i < n; ++i) p[i] = v[i];
  }

  friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend Mask operator<(Vec a, Vec b) { return {a.v < b.v}; }
  friend Mask is_nan(Vec a) { return {a.v != a.v}; }
  friend Mask same_bits(Vec a, Vec b) {
    return {reinterpret_cast<Ints>(a.v) == reinterpret_cast<Ints>(b.v)};
  }
};

inline Vec load_once(const float* p) { return Vec::load(p); }

inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
inline Vec select(Mask m, Vec yes, Vec no) {
  return {reinterpret_cast<Floats>((m.m & reinterpret_cast<Ints>(yes.v)) |
                                   (~m.m & reinterpret_cast<Ints>(no.v)))};
}

// Of a float known by its sign bit: x or +0, x or +0, and one of two values.
inline Ints sign_bits(Vec x) { return reinterpret_cast<Ints>(x.v) >> 31; }
inline Vec positive_bits(Vec x) {
  return {reinterpret_cast<Floats>(reinterpret_cast<Ints>(x.v) & ~sign_bits(x))};
}
inline Vec negative_bits(Vec x) {
  return {reinterpret_cast<Floats>(reinterpret_cast<Ints>(x.v) & sign_bits(x))};
}
inline Vec by_sign_bit(Vec x, Vec plus, Vec minus) {
  return select(Mask{sign_bits(x)}, minus, plus);
}

inline float sum_of_lanes(Vec x) {
  float lane[Vec::kWidth];
  x.store(lane);
  for (int n = Vec::kWidth / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lane[i] += lane[i + n];
  return lane[0];
}

inline void transpose_vectors(Vec (&x)[4]) {
  const Vec rows[4] = {x[0], x[1], x[2], x[3]};
  for (int c = 0; c < 4; ++c)
    x[c].v = Floats{rows[0].v[c], rows[1].v[c], rows[2].v[c], rows[3].v[c]};
}

constexpr bool kShortLists = false;
constexpr int kRegisters = 16;
constexpr int kBlockVectors = 4;
constexpr int kSlidingVectors = 2;
constexpr bool kListsPairs = false;
constexpr int kDenseVectors = 2;  // 12 for six pixels
constexpr int kPanelVectors = 4;
constexpr float kSkipBelow[] = {0.55f, 0.4f, 0.42f, 0.42f, 0.42f};

}  // namespace
}  // namespace relprop::RELPROP_ISA
