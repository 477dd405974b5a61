// Splitting into bfloat16: the sources of a tile of pixels into a panel, weights by their sign.

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

// n <= kDepth floats.
inline void copy_some(const float* from, std::int64_t n, float* to) {
  const auto some = static_cast<std::uint32_t>((std::uint64_t{1} << n) - 1);
  const auto low = static_cast<__mmask16>(some), high = static_cast<__mmask16>(some >> kSide);
  _mm512_mask_storeu_ps(to, low, _mm512_maskz_loadu_ps(low, from));
  if (high) _mm512_mask_storeu_ps(to + kSide, high, _mm512_maskz_loadu_ps(high, from + kSide));
}

// Rows [r0, r0 + kDepth) of pixel p where they are of several taps, or too few.
void gather(const MatrixArgs& args, const Pixels& pixels, std::int64_t p, std::int64_t r0,
            float* to) {
  const std::int64_t end = least(r0 + kDepth, args.rows);
  _mm512_store_ps(to, _mm512_setzero_ps());
  _mm512_store_ps(to + kSide, _mm512_setzero_ps());
  for (std::int64_t r = r0; r < end;) {
    const std::int64_t c = r % args.channels, n = least(args.channels - c, end - r);
    const float* from = Tap(args, r / args.channels).source(pixels, p);
    if (from != nullptr) copy_some(from + c, n, to + (r - r0));
    r += n;
  }
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
