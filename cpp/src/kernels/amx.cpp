// Products by the matrix unit (AMX): every float is split into three bfloat16,
//
//   x = x1 + x2 + x3    each rounded to the nearest: |x2| <= 2^-8 |x|, |x3| <= 2^-17 |x|, no rest
//
// and of the nine products of two such sums the six that count are made: x1 w1, x1 w2, x2 w1,
// x2 w2, x1 w3, x3 w1. What is left out is below 2^-24 |x w|: half a unit in the last place of a
// float, with either sign. An instruction multiplies 16 pixels x 32 rows by 32 rows x 16 outputs in
// the time of 16 vectors of multiply-adds: six of them are 2.7 times as fast as those vectors, 1.6
// times with all that is around them. Sums by sign are products with max(w, 0) and min(w, 0).
//
// Rows are (tap, channel) pairs. The sources of a tile of pixels are split into a panel, block by
// block of rows, which stays in L2; 32 x 32 sums stay in four of the eight tile registers. An
// instruction sums its 32 rows in chains of 16 from zero and adds the two sums to the tile. Tiles
// start from zero in every block of rows, and x1 w1 comes last: the other products are summed while
// the sum is small. So no chain of roundings is long (SqueezeNet's heatmaps would be 1.14 times
// less exact with x1 w1 among the others), and none depends on how a call cuts pixels or outputs.
//
// Denormal numbers count as zero in this unit, inputs and results.

#include <immintrin.h>

#include "kernels.h"

namespace relprop::amx {
namespace {

constexpr std::int64_t kSide = kMatrixSide, kDepth = kMatrixDepth;
constexpr std::int64_t kTile = kSide * kDepth;  // numbers of a tile of bfloat16
constexpr std::int64_t kStep = 2 * 3 * kTile;   // two tiles of each part: a step of kDepth rows
constexpr std::int64_t kBlock = kMatrixPair * kMatrixPair;  // floats of four tiles of sums
constexpr float kZeros[kDepth] = {};
using Half = std::uint16_t;

// clang-format off: in the order in which they need each other
#include "amx_parts.inl"
#include "amx_sums.inl"
// clang-format on

struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileShapes kShapes;

// clang-format off: registers are named by literals
#define RELPROP_LOAD_PIXELS(from)                               \
  _tile_loadd(4, from, 64);                                     \
  if constexpr (kPixelTiles == 2) _tile_loadd(5, (from) + kTile, 64)
#define RELPROP_LOAD_WEIGHTS(from)                              \
  _tile_loadd(6, from, 64);                                     \
  if constexpr (kOutputTiles == 2) _tile_loadd(7, (from) + kTile, 64)
#define RELPROP_MULTIPLY()                                      \
  _tile_dpbf16ps(0, 4, 6);                                      \
  if constexpr (kOutputTiles == 2) _tile_dpbf16ps(1, 4, 7);     \
  if constexpr (kPixelTiles == 2) _tile_dpbf16ps(2, 5, 6);      \
  if constexpr (kPixelTiles == 2 && kOutputTiles == 2) _tile_dpbf16ps(3, 5, 7)
// clang-format on

// Adds the small products of `steps` steps to tiles 0 to 3: all but x1 w1. In this order half of
// the operands stay where they are: 12 loads for 20 products. Meanwhile some of `waiting` goes to
// the results.
template <Mode kMode, int kPixelTiles, int kOutputTiles>
inline void add_small(const Half* a, const Half* w, std::int64_t steps, Sums& waiting) {
  constexpr std::int64_t kWeightPart = kOutputTiles * kTile, kPart = 2 * kTile;
  for (std::int64_t s = 0; s < steps; ++s, a += kStep, w += 3 * kWeightPart) {
    RELPROP_LOAD_WEIGHTS(w);
    RELPROP_LOAD_PIXELS(a + 2 * kPart);
    RELPROP_MULTIPLY();
    RELPROP_LOAD_PIXELS(a + kPart);
    RELPROP_MULTIPLY();
    waiting.add_some<kMode>();
    RELPROP_LOAD_WEIGHTS(w + kWeightPart);
    RELPROP_MULTIPLY();
    RELPROP_LOAD_PIXELS(a);
    RELPROP_MULTIPLY();
    RELPROP_LOAD_WEIGHTS(w + 2 * kWeightPart);
    RELPROP_MULTIPLY();
  }
}

// The same for x1 w1.
template <int kPixelTiles, int kOutputTiles>
inline void add_large(const Half* a, const Half* w, std::int64_t steps) {
  for (std::int64_t s = 0; s < steps; ++s, a += kStep, w += 3 * kOutputTiles * kTile) {
    RELPROP_LOAD_WEIGHTS(w);
    RELPROP_LOAD_PIXELS(a);
    RELPROP_MULTIPLY();
  }
}

inline void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

template <int kPixelTiles, int kOutputTiles>
inline void store_sums(float* to) {
  constexpr std::int64_t kBytes = kMatrixPair * 4;
  _tile_stored(0, to, kBytes);
  if constexpr (kOutputTiles == 2) _tile_stored(1, to + kSide, kBytes);
  if constexpr (kPixelTiles == 2) _tile_stored(2, to + kSide * kMatrixPair, kBytes);
  if constexpr (kPixelTiles == 2 && kOutputTiles == 2)
    _tile_stored(3, to + kSide * kMatrixPair + kSide, kBytes);
}

// A panel and weights to multiply it with, and another such pair or nulls.
struct Operands {
  const Half *a, *wa, *b, *wb;
};

template <Mode kMode, int kPixelTiles, int kOutputTiles>
inline void make_sums(const Operands& of, std::int64_t steps, Sums& waiting, float* to) {
  asm volatile("" ::: "memory");  // loads of tiles do not say that they read memory
  clear_sums();
  add_small<kMode, kPixelTiles, kOutputTiles>(of.a, of.wa, steps, waiting);
  if (of.b) add_small<kMode, kPixelTiles, kOutputTiles>(of.b, of.wb, steps, waiting);
  add_large<kPixelTiles, kOutputTiles>(of.a, of.wa, steps);
  if (of.b) add_large<kPixelTiles, kOutputTiles>(of.b, of.wb, steps);
  store_sums<kPixelTiles, kOutputTiles>(to);
}

// A call, and where in its scratch things are.
template <Mode kMode>
struct Product {
  const MatrixArgs& args;
  Half *panel, *other;        // of a and b, or of a's positive and negative parts
  Half *positive, *negative;  // weights of a block
  float* blocks[2];           // in turn
  Pixels pixels, others;
  Sums waiting{};

  static constexpr bool kSplits = kMode == Mode::split_product;
  bool two_panels() const { return kSplits ? !args.nonnegative : reads_b(kMode); }

  explicit Product(const MatrixArgs& a) : args(a) {
    constexpr std::int64_t kPanel = 3 * kMatrixPixels * kMatrixRows;
    constexpr std::int64_t kWeights = 3 * kMatrixPair * kMatrixRows;
    panel = reinterpret_cast<Half*>(args.scratch);
    other = panel + kPanel;
    positive = other + kPanel;
    negative = positive + kWeights;
    blocks[0] = reinterpret_cast<float*>(negative + kWeights);
    blocks[1] = blocks[0] + 2 * kBlock;
    find_pixels(args, args.a, pixels);
    if constexpr (reads_b(kMode)) find_pixels(args, args.b, others);
  }

  void fill_panels(std::int64_t r0, std::int64_t steps) {
    if (kSplits && !args.nonnegative) {
      fill_panel<Sign::positive>(args, pixels, r0, steps, panel);
      fill_panel<Sign::negative>(args, pixels, r0, steps, other);
      return;
    }
    fill_panel<Sign::any>(args, pixels, r0, steps, panel);
    if constexpr (reads_b(kMode)) fill_panel<Sign::any>(args, others, r0, steps, other);
  }

  template <int kPixelTiles, int kOutputTiles>
  void add_block(const Half* weight, std::int64_t steps, bool is_first, std::int64_t p,
                 std::int64_t m) {
    const Half *a = panel + p * 3 * kDepth * steps, *b = other + p * 3 * kDepth * steps;
    const Half* w = kMode == Mode::plain ? weight : positive;
    waiting.spread_over(steps * (two_panels() ? 2 : 1) * (has_second(kMode) ? 2 : 1));
    make_sums<kMode, kPixelTiles, kOutputTiles>({a, w, two_panels() ? b : nullptr, negative}, steps,
                                                waiting, blocks[0]);
    if constexpr (has_second(kMode)) {
      const Operands of = two_panels() ? Operands{b, positive, a, negative}
                                       : Operands{a, negative, nullptr, nullptr};
      make_sums<kMode, kPixelTiles, kOutputTiles>(of, steps, waiting, blocks[0] + kBlock);
    }
    const std::int64_t at = p * args.out_stride + m;
    waiting = {blocks[0],       args.first + at,     args.second + at, args.sum + at,
               args.out_stride, kPixelTiles * kSide, kOutputTiles,     is_first};
    float* used = blocks[0];
    blocks[0] = blocks[1];
    blocks[1] = used;
  }

  // A part of what comes behind these weights, for every pair of tiles of pixels.
  void fetch_next(const Half* weight, std::int64_t halves, std::int64_t p) const {
    constexpr std::int64_t kLine = 32;
    const std::int64_t parts = ceil_div(args.count, kMatrixPair), part = p / kMatrixPair;
    const std::int64_t lines = ceil_div(halves, kLine), of_part = ceil_div(lines, parts);
    for (std::int64_t i = part * of_part; i < least((part + 1) * of_part, lines); ++i)
      _mm_prefetch(reinterpret_cast<const char*>(weight + halves + i * kLine), _MM_HINT_T1);
  }

  // All pixels of the call for kOutputTiles tiles of outputs from m and a block of rows.
  template <int kOutputTiles>
  void add_outputs(const Half* weight, std::int64_t steps, bool is_first, std::int64_t m) {
    if constexpr (kMode != Mode::plain)
      for (std::int64_t s = 0; s < steps; ++s)
        for (std::int64_t n = 0; n < kOutputTiles; ++n) {
          const std::int64_t at = (s * 3 * kOutputTiles + n) * kTile;
          split_by_sign(weight + at, kOutputTiles * kTile, positive + at, negative + at);
        }
    std::int64_t p = 0;
    for (; p + kSide < args.count; p += 2 * kSide) {
      fetch_next(weight, steps * 3 * kOutputTiles * kTile, p);
      add_block<2, kOutputTiles>(weight, steps, is_first, p, m);
    }
    if (p < args.count) add_block<1, kOutputTiles>(weight, steps, is_first, p, m);
  }

  void run() {
    const std::int64_t tiles = ceil_div(args.all_outputs, kSide), first = args.m0 / kSide;
    const std::int64_t end = first + ceil_div(args.outputs, kSide);
    const Half* weight = args.weight;
    for (std::int64_t r = 0; r < args.rows; r += kMatrixRows) {
      const std::int64_t steps = ceil_div(least(kMatrixRows, args.rows - r), kDepth);
      fill_panels(r, steps);
      for (std::int64_t n = first; n < end; n += 2) {
        const Half* of_block = weight + n * steps * 3 * kTile;
        const std::int64_t m = n * kSide - args.m0;
        n + 1 < tiles ? add_outputs<2>(of_block, steps, r == 0, m)
                      : add_outputs<1>(of_block, steps, r == 0, m);
      }
      weight += tiles * steps * 3 * kTile;
    }
    waiting.spread_over(1);
    waiting.template add_some<kMode>();
  }
};

template <Mode kMode>
void matrix(const MatrixArgs& args) noexcept {
  _tile_loadconfig(&kShapes);
  Product<kMode>(args).run();
  _tile_release();
}

}  // namespace

extern const MatrixKernels kernels = {
    {matrix<Mode::plain>, matrix<Mode::split_product>, matrix<Mode::split_weight>,
     matrix<Mode::blend>, matrix<Mode::blend_both>},
    {0.24f, 0.29f, 0.29f, 0.2f, 0.25f}};

}  // namespace relprop::amx
