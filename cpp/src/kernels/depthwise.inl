// Depthwise product: lanes run over channels, each with its own weight and source.

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

// kPixels output pixels, every period-th from column x on, one vector of channels.
template <Mode kMode, bool kSigned, int kPixels, class Mem>
RELPROP_INLINE void depthwise_pixels(const DepthwiseArgs& args, const PixelReads& reads,
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
  constexpr std::int64_t kTap = weight_halves(kMode) * Vec::kWidth;
  for_alike_pixels(args, args.channels, kTap,
                   [&](const PixelReads& reads, std::int64_t pixel, bool together) RELPROP_INLINED {
                     for_vectors(c1 - c0, [&](std::int64_t c, auto mem) RELPROP_INLINED {
                       if (together)
                         depthwise_pixels<kMode, kSigned, kAlikePixels>(args, reads, pixel, c0 + c,
                                                                        mem);
                       else
                         depthwise_pixels<kMode, kSigned, 1>(args, reads, pixel, c0 + c, mem);
                     });
                   });
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
