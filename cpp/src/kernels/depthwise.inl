// Depthwise product: lanes run over channels, each with its own weight and source. Neighbouring
// pixels that see the same taps are taken together, so that a weight is loaded once for all of
// them.

constexpr int kDepthwisePixels = 4;

// The terms of lanes that do not share a source value; w is max(w, 0) and `minus` min(w, 0) where
// the mode has two halves of a weight. blend: first + second is the result.
template <Mode kMode, bool kSigned>
RELPROP_INLINE void add_lanes(Vec w, Vec minus, Vec a, Vec b, Vec& first, Vec& second) {
  if constexpr (kMode == Mode::split_product && kSigned) {
    const Vec plus_a = positive_bits(a), minus_a = negative_bits(a);
    first = fma(minus, minus_a, fma(w, plus_a, first));
    second = fma(w, minus_a, fma(minus, plus_a, second));
  } else if constexpr (kMode == Mode::blend_both) {
    first = fma(minus, b, fma(w, a, first));
    second = fma(minus, a, fma(w, b, second));
  } else {
    first = fma(w, a, first);
    if constexpr (weight_halves(kMode) == 2) second = fma(minus, reads_b(kMode) ? b : a, second);
  }
}

// kPixels output pixels from column x on, one vector of channels.
template <Mode kMode, bool kSigned, int kPixels, class Mem>
RELPROP_INLINE void depthwise_pixels(const DepthwiseArgs& args, std::int64_t y, std::int64_t x,
                                     std::int64_t c, Mem mem) {
  constexpr int kTap = weight_halves(kMode) * Vec::kWidth;
  const float* weight = args.weight + c * args.taps * weight_halves(kMode);
  Vec first[kPixels], second[kPixels];
  unrolled<kPixels>([&](auto p) RELPROP_INLINED { first[p] = second[p] = Vec::broadcast(0); });
  for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i) {
    const std::int64_t row = args.y.source[i] * args.source_width;
    const std::int32_t* const column = args.x.source + args.x.begin[x];
    const std::int32_t count = args.x.begin[x + 1] - args.x.begin[x];
    for (std::int32_t j = 0; j < count; ++j) {
      const std::int64_t tap = args.y.tap[i] * args.kernel_width + args.x.tap[args.x.begin[x] + j];
      const Vec w = Vec::load(weight + tap * kTap);
      const Vec minus =
          weight_halves(kMode) == 2 ? Vec::load(weight + tap * kTap + Vec::kWidth) : w;
      unrolled<kPixels>([&](auto p) RELPROP_INLINED {
        const std::int64_t at = (row + column[p * count + j]) * args.channels + c;
        const Vec a = mem(args.a + at), b = reads_b(kMode) ? mem(args.b + at) : a;
        add_lanes<kMode, kSigned>(w, minus, a, b, first[p], second[p]);
      });
    }
  }
  unrolled<kPixels>([&](auto p) RELPROP_INLINED {
    const std::int64_t at = ((y - args.y0) * args.out_width + x + p) * args.channels + c;
    mem(kMode == Mode::blend ? first[p] + second[p] : first[p], args.first + at);
    if constexpr (has_second(kMode)) mem(second[p], args.second + at);
    if constexpr (has_sum(kMode))
      if (args.sum != nullptr) mem(first[p] + second[p], args.sum + at);
  });
}

// Whether columns x .. x + kDepthwisePixels - 1 exist and see the same taps, as many of them.
inline bool same_taps(const DepthwiseArgs& args, std::int64_t x) {
  if (x + kDepthwisePixels > args.out_width) return false;
  const std::int32_t begin = args.x.begin[x], count = args.x.begin[x + 1] - begin;
  for (std::int32_t p = 1; p < kDepthwisePixels; ++p) {
    if (args.x.begin[x + p + 1] - args.x.begin[x + p] != count) return false;
    for (std::int32_t j = 0; j < count; ++j)
      if (args.x.tap[begin + p * count + j] != args.x.tap[begin + j]) return false;
  }
  return true;
}

template <Mode kMode, bool kSigned>
inline void depthwise_rows(const DepthwiseArgs& args) {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width;) {
      const bool together = same_taps(args, x);
      for_vectors(args.channels, [&](std::int64_t c, auto mem) RELPROP_INLINED {
        if (together) {
          depthwise_pixels<kMode, kSigned, kDepthwisePixels>(args, y, x, c, mem);
        } else {
          depthwise_pixels<kMode, kSigned, 1>(args, y, x, c, mem);
        }
      });
      x += together ? kDepthwisePixels : 1;
    }
}

template <Mode kMode>
void depthwise(const DepthwiseArgs& args) noexcept {
  if (kMode == Mode::split_product && !args.nonnegative) return depthwise_rows<kMode, true>(args);
  depthwise_rows<kMode, false>(args);
}
