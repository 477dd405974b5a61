// Depthwise product: lanes run over channels, each with its own weight and source. Pixels of a row
// that see the same taps are taken together, so that a weight is loaded once for all of them:
// neighbours, or behind a stride s, seen backward, every s-th.

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

// What the pixels that are taken together read: tap k of pixel p is at tap[k].source + p * step of
// the source's channels, all in floats.
struct DepthwiseReads {
  const DepthwiseTap* tap;
  std::int64_t taps, step;
};

// Of output pixel (y, x); together: and of those that are `period` columns further on.
template <Mode kMode>
inline DepthwiseReads find_reads(const DepthwiseArgs& args, std::int64_t y, std::int64_t x,
                                 bool together) {
  constexpr std::int64_t kTap = weight_halves(kMode) * Vec::kWidth;
  const std::int32_t begin = args.x.begin[x], end = args.x.begin[x + 1];
  DepthwiseTap* to = args.tap;
  for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i)
    for (std::int32_t j = begin; j < end; ++j)
      *to++ = {(args.y.source[i] * args.source_width + args.x.source[j]) * args.channels,
               (args.y.tap[i] * args.kernel_width + args.x.tap[j]) * kTap};
  const std::int64_t step =
      together && begin < end ? args.x.source[args.x.begin[x + args.period]] - args.x.source[begin]
                              : 0;
  return {args.tap, to - args.tap, step * args.channels};
}

// kPixels output pixels, every period-th from column x on, one vector of channels.
template <Mode kMode, bool kSigned, int kPixels, class Mem>
RELPROP_INLINE void depthwise_pixels(const DepthwiseArgs& args, const DepthwiseReads& reads,
                                     std::int64_t pixel, std::int64_t c, Mem mem) {
  const float* weight = args.weight + c * args.taps * weight_halves(kMode);
  const float *source_a = args.a + c, *source_b = reads_b(kMode) ? args.b + c : source_a;
  Vec first[kPixels], second[kPixels];
  unrolled<kPixels>([&](auto p) RELPROP_INLINED { first[p] = second[p] = Vec::broadcast(0); });
  for (std::int64_t k = 0; k < reads.taps; ++k) {
    const float* own = weight + reads.tap[k].weight;
    const Vec w = Vec::load(own),
              minus = weight_halves(kMode) == 2 ? Vec::load(own + Vec::kWidth) : w;
    unrolled<kPixels>([&](auto p) RELPROP_INLINED {
      const std::int64_t at = reads.tap[k].source + p * reads.step;
      const Vec a = mem(source_a + at), b = reads_b(kMode) ? mem(source_b + at) : a;
      add_lanes<kMode, kSigned>(w, minus, a, b, first[p], second[p]);
    });
  }
  unrolled<kPixels>([&](auto p) RELPROP_INLINED {
    const std::int64_t at = (pixel + p * args.period) * args.channels + c;
    mem(kMode == Mode::blend ? first[p] + second[p] : first[p], args.first + at);
    if constexpr (has_second(kMode)) mem(second[p], args.second + at);
    if constexpr (has_sum(kMode))
      if (args.sum != nullptr) mem(first[p] + second[p], args.sum + at);
  });
}

// Channels [c0, c1) of all rows.
template <Mode kMode, bool kSigned>
inline void depthwise_rows(const DepthwiseArgs& args, std::int64_t c0, std::int64_t c1) {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width;) {
      const bool together = args.alike[x] != 0;
      const std::int64_t own = together ? args.period : 1;
      for (std::int64_t r = 0; r < own; ++r) {
        const DepthwiseReads reads = find_reads<kMode>(args, y, x + r, together);
        const std::int64_t pixel = (y - args.y0) * args.out_width + x + r;
        for_vectors(c1 - c0, [&](std::int64_t c, auto mem) RELPROP_INLINED {
          if (together)
            depthwise_pixels<kMode, kSigned, kDepthwisePixels>(args, reads, pixel, c0 + c, mem);
          else
            depthwise_pixels<kMode, kSigned, 1>(args, reads, pixel, c0 + c, mem);
        });
      }
      x += together ? kDepthwisePixels * args.period : 1;
    }
}

// So many channels at a time that their weights and what three rows read of them stay in L1.
template <Mode kMode, bool kSigned>
inline void depthwise_channels(const DepthwiseArgs& args) {
  constexpr std::int64_t kStep = 128;
  for (std::int64_t c = 0; c < args.channels; c += kStep)
    depthwise_rows<kMode, kSigned>(args, c, least(c + kStep, args.channels));
}

template <Mode kMode>
void depthwise(const DepthwiseArgs& args) noexcept {
  if (kMode == Mode::split_product && !args.nonnegative)
    return depthwise_channels<kMode, true>(args);
  depthwise_channels<kMode, false>(args);
}
