// Products by the matrix unit (AMX): all floats are split into three bfloat16,
//
//   x = x1 + x2 + x3    rounded to the nearest, so |x2| <= 2^-8 |x|, |x3| <= 2^-17 |x|, no
//   remainder
//
// and of the nine products of two such sums the six that count are made: x1 w1, x1 w2, x2 w1, x2
// w2, x1 w3, x3 w1. What is left out is below 2^-24 |x w|: half a unit in the last place of a
// float, with either sign. An instruction multiplies 16 pixels x 32 rows by 32 rows x 16 outputs in
// the time of 16 vectors of multiply-adds, so that six of them are 2.7 times as fast as those
// vectors. Sums by sign are products with max(w, 0) and min(w, 0).
//
// Rows are (tap, channel) pairs. The sources of a tile of pixels are split into a panel, block by
// block of rows, which stays in L2; 32 x 32 sums stay in four of the eight tile registers. An
// instruction sums its 32 rows in chains of 16 from zero and adds the two sums to the tile; tiles
// start from zero in every block of rows: no chain of roundings is long, and none depends on how a
// call cuts pixels or outputs.
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

struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileShapes kShapes;

inline std::int64_t least(std::int64_t a, std::int64_t b) { return b < a ? b : a; }

// Rounds to the nearest bfloat16, which is left in the upper half of each lane.
inline __m512 rounded(__m512 x) {
  const __m512i up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  return _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(-0x10000)));
}

// Upper halves of all lanes: lanes of `low` become even numbers, lanes of `high` odd ones.
inline void store_halves(__m512 low, __m512 high, Half* to) {
  const __m512i even = _mm512_srli_epi32(_mm512_castps_si512(low), 16);
  const __m512i upper = _mm512_set1_epi32(-0x10000);
  _mm512_store_si512(to, _mm512_ternarylogic_epi32(even, _mm512_castps_si512(high), upper, 0xf8));
}

// The three parts of 32 floats, a tile apart. Number 2 i is float i, number 2 i + 1 float 16 + i;
// weights are packed in the same order.
inline void store_parts(__m512 low, __m512 high, Half* to) {
  for (int part = 0; part < 2; ++part) {
    const __m512 a = rounded(low), b = rounded(high);
    store_halves(a, b, to + part * 2 * kTile);
    low = _mm512_sub_ps(low, a);
    high = _mm512_sub_ps(high, b);
  }
  store_halves(low, high, to + 4 * kTile);
}

enum class Sign { any, positive, negative };
template <Sign kSign>
inline __m512 of_sign(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x), zero = _mm512_setzero_si512();
  if constexpr (kSign == Sign::positive) return _mm512_castsi512_ps(_mm512_max_epi32(bits, zero));
  if constexpr (kSign == Sign::negative) return _mm512_castsi512_ps(_mm512_min_epi32(bits, zero));
  return x;
}

// The pixels of a call.
struct Pixels {
  const float* from[kMatrixPixels];  // pointwise: the source; else: its sample
  std::int32_t y[kMatrixPixels], x[kMatrixPixels];
};

void find_pixels(const MatrixArgs& args, const float* source, Pixels& pixels) {
  const std::int64_t all = args.out_height * args.out_width;
  std::int64_t image = args.p0 / all, y = args.p0 % all / args.out_width,
               x = args.p0 % args.out_width;
  for (std::int64_t p = 0; p < args.count; ++p) {
    if (args.row_source == nullptr) {
      pixels.from[p] = source + (args.p0 + p) * args.source_stride;
      continue;
    }
    pixels.from[p] = source + image * args.image_stride;
    pixels.y[p] = static_cast<std::int32_t>(y);
    pixels.x[p] = static_cast<std::int32_t>(x);
    if (++x < args.out_width) continue;
    x = 0;
    if (++y < args.out_height) continue;
    y = 0;
    ++image;
  }
}

// Where pixels find their sources for one tap.
struct Tap {
  const std::int64_t *row, *column;  // null: pointwise

  Tap(const MatrixArgs& args, std::int64_t tap) : row(args.row_source), column(args.column_source) {
    if (row == nullptr) return;
    row += tap / args.kernel_width * args.out_height;
    column += tap % args.kernel_width * args.out_width;
  }

  // Channel 0 of the source of pixel p; null in the padding.
  const float* source(const Pixels& pixels, std::int64_t p) const {
    if (row == nullptr) return pixels.from[p];
    const std::int64_t of_row = row[pixels.y[p]], of_column = column[pixels.x[p]];
    return (of_row | of_column) < 0 ? nullptr : pixels.from[p] + of_row + of_column;
  }
};

// Rows [r0, r0 + kDepth) of pixel p where they are of several taps, or too few.
void gather(const MatrixArgs& args, const Pixels& pixels, std::int64_t p, std::int64_t r0,
            float* to) {
  const std::int64_t end = least(r0 + kDepth, args.rows);
  for (std::int64_t r = r0; r < end;) {
    const std::int64_t c = r % args.channels, n = least(args.channels - c, end - r);
    const float* from = Tap(args, r / args.channels).source(pixels, p);
    for (std::int64_t i = 0; i < n; ++i) to[r - r0 + i] = from == nullptr ? 0.0f : from[c + i];
    r += n;
  }
  for (std::int64_t r = end; r < r0 + kDepth; ++r) to[r - r0] = 0;
}

// Rows [r0, r0 + steps * kDepth) of all pixels: [pair of tiles of pixels][step][part][tile].
template <Sign kSign>
void fill_panel(const MatrixArgs& args, const Pixels& pixels, std::int64_t r0, std::int64_t steps,
                Half* panel) {
  const std::int64_t padded = round_up(args.count, kSide);
  const float* source[kMatrixPixels];  // of the tap at hand
  std::int64_t known = -1;             // that tap
  for (std::int64_t p = 0; p < padded; ++p) source[p] = nullptr;
  for (std::int64_t s = 0; s < steps; ++s) {
    const std::int64_t r = r0 + s * kDepth, c = r % args.channels, tap = r / args.channels;
    const bool whole = c + kDepth <= args.channels;
    if (whole && tap != known) {
      const Tap at(args, tap);
      for (std::int64_t p = 0; p < args.count; ++p) source[p] = at.source(pixels, p);
      known = tap;
    }
    alignas(64) float gathered[kDepth];
    for (std::int64_t tile = 0; tile < padded; tile += kSide) {
      Half* to = panel + (tile / kMatrixPair * steps + s) * kStep + tile / kSide % 2 * kTile;
      for (std::int64_t p = tile; p < tile + kSide; ++p, to += kDepth) {
        const float* from = source[p] == nullptr ? kZeros : source[p] + c;
        if (!whole && p < args.count) {
          gather(args, pixels, p, r, gathered);
          from = gathered;
        }
        store_parts(of_sign<kSign>(_mm512_loadu_ps(from)),
                    of_sign<kSign>(_mm512_loadu_ps(from + kSide)), to);
      }
    }
  }
}

// Weights of kDepth rows and 16 outputs, by sign; `stride` numbers between the parts.
void split_by_sign(const Half* from, std::int64_t stride, Half* positive, Half* negative) {
  for (std::int64_t i = 0; i < kTile; i += 32) {
    const __mmask32 minus = _mm512_movepi16_mask(_mm512_load_si512(from + i));
    for (int part = 0; part < 3; ++part) {
      const __m512i w = _mm512_load_si512(from + part * stride + i);
      _mm512_store_si512(negative + part * stride + i, _mm512_maskz_mov_epi16(minus, w));
      _mm512_store_si512(positive + part * stride + i,
                         _mm512_maskz_mov_epi16(static_cast<__mmask32>(~minus), w));
    }
  }
}

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

// Sums of a block of rows for up to 32 pixels and 32 outputs, on their way from the tiles to the
// results. The tiles' values take a while to arrive: they are added while the next tiles are made.
struct Sums {
  const float* block;  // first and second: kBlock floats each, rows of kMatrixPair
  float *first, *second, *sum;
  std::int64_t stride, pixels, vectors;
  bool is_first;
  std::int64_t at_once = 0, done = 0;  // pixels

  // To be called so often until all pixels are done.
  void spread_over(std::int64_t calls) { at_once = ceil_div(pixels, calls); }

  template <Mode kMode>
  inline void add_some() {
    const std::int64_t end = least(done + at_once, pixels);
    if (done == end) return;
    add<kMode>(done, end);
    done = end;
  }

  // Rows [begin, end).
  template <Mode kMode>
  void add(std::int64_t begin, std::int64_t end) const {
    if (is_first)
      vectors == 2 ? add<kMode, true, 2>(begin, end) : add<kMode, true, 1>(begin, end);
    else
      vectors == 2 ? add<kMode, false, 2>(begin, end) : add<kMode, false, 1>(begin, end);
  }

 private:
  template <bool kFirst>
  static __attribute__((always_inline)) inline void add_to(__m512 v, float* to) {
    _mm512_storeu_ps(to, kFirst ? v : _mm512_add_ps(v, _mm512_loadu_ps(to)));
  }

  template <Mode kMode, bool kFirst, int kVectors>
  __attribute__((always_inline)) inline void add(std::int64_t begin, std::int64_t end) const {
    const float* from = block + begin * kMatrixPair;
    float *f = first + begin * stride, *s = second + begin * stride, *both = sum + begin * stride;
    for (std::int64_t p = begin; p < end; ++p) {
#pragma GCC unroll 2
      for (int i = 0; i < kVectors * kSide; i += kSide) {
        const __m512 v = _mm512_load_ps(from + i);
        add_to<kFirst>(v, f + i);
        if constexpr (has_second(kMode)) {
          const __m512 w = _mm512_load_ps(from + kBlock + i);
          add_to<kFirst>(w, s + i);
          if constexpr (has_sum(kMode)) add_to<kFirst>(_mm512_add_ps(v, w), both + i);
        }
      }
      from += kMatrixPair;
      f += stride;
      s += stride;
      both += stride;
    }
  }
};

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
