// Contraction onto few output channels (the backward product of a first layer has three): lanes run
// over source channels, and every output is a dot product. The zero-skipping product would fill
// three lanes of sixteen there.

// The terms w a of lanes that do not share a source value.
template <Mode kMode>
RELPROP_INLINE void accumulate_lanes(Vec w, Vec a, Vec b, Vec& p, Vec& m, Vec& sum) {
  if constexpr (kMode == Mode::split_product) {
    const Vec product = w * a;
    p = p + positive_bits(product);
    m = m + negative_bits(product);
    sum = sum + product;
  } else if constexpr (reads_b(kMode)) {
    p = fma(w, by_sign_bit(w, a, b), p);
    if constexpr (kMode == Mode::blend_both) m = fma(w, by_sign_bit(w, b, a), m);
  } else if constexpr (kMode == Mode::split_weight) {
    p = fma(positive_bits(w), a, p);
    m = fma(negative_bits(w), a, m);
  } else {
    p = fma(w, a, p);
  }
}

// kPixels output pixels, every period-th, `reads` being of the first.
template <Mode kMode, int kPixels, int kOutputs>
inline void narrow_pixels(const NarrowArgs& args, const PixelReads& reads, std::int64_t first_read,
                          std::int64_t at, std::int64_t m0) {
  Vec p[kPixels][kOutputs], m[kPixels][kOutputs], both[kPixels][kOutputs];
  unrolled<kPixels>([&](auto i) RELPROP_INLINED {
    unrolled<kOutputs>([&](auto j)
                           RELPROP_INLINED { p[i][j] = m[i][j] = both[i][j] = Vec::broadcast(0); });
  });
  for (std::int64_t k = 0; k < reads.taps; ++k) {
    const std::int64_t source = reads.tap[k].source + first_read;
    const float* weight = args.weight + reads.tap[k].weight + m0 * args.channels;
    for_vectors(args.channels, [&](std::int64_t c, auto mem) RELPROP_INLINED {
      Vec w[kOutputs];
      unrolled<kOutputs>([&](auto j)
                             RELPROP_INLINED { w[j] = mem(weight + j * args.channels + c); });
      unrolled<kPixels>([&](auto i) RELPROP_INLINED {
        const Vec a = mem.once(args.a + source + i * reads.step + c);
        const Vec b = reads_b(kMode) ? mem(args.b + source + i * reads.step + c) : a;
        unrolled<kOutputs>([&](auto j) RELPROP_INLINED {
          accumulate_lanes<kMode>(w[j], a, b, p[i][j], m[i][j], both[i][j]);
        });
      });
    });
  }
  unrolled<kPixels>([&](auto i) RELPROP_INLINED {
    unrolled<kOutputs>([&](auto j) RELPROP_INLINED {
      const std::int64_t to = at + i * args.period * args.outputs + j;
      args.first[to] = sum_of_lanes(p[i][j]);
      if constexpr (has_second(kMode)) args.second[to] = sum_of_lanes(m[i][j]);
      if constexpr (has_sum(kMode))
        if (args.sum != nullptr) args.sum[to] = sum_of_lanes(both[i][j]);
    });
  });
}

// So many sums at a time that they and the weights stay in registers.
template <Mode kMode, int kOutputs>
inline void narrow_outputs(const NarrowArgs& args, const PixelReads& reads, std::int64_t pixel,
                           std::int64_t m0, bool together) {
  constexpr int kSums = kOutputs * (1 + has_second(kMode) + has_sum(kMode));
  constexpr int kFit = kRegisters * 3 / 4 / kSums;
  constexpr int kPixels = kFit >= kAlikePixels ? kAlikePixels : kFit >= 2 ? 2 : 1;
  const std::int64_t at = pixel * args.outputs + m0, step = kPixels * args.period * args.outputs;
  if (!together) return narrow_pixels<kMode, 1, kOutputs>(args, reads, 0, at, m0);
  for (std::int64_t i = 0; i < kAlikePixels / kPixels; ++i)
    narrow_pixels<kMode, kPixels, kOutputs>(args, reads, i * kPixels * reads.step, at + i * step,
                                            m0);
}

template <Mode kMode>
void narrow(const NarrowArgs& args) noexcept {
  for_alike_pixels(args, args.source_stride, args.outputs * args.channels,
                   [&](const PixelReads& reads, std::int64_t pixel, bool together) {
                     for (std::int64_t m = 0; m < args.outputs; m += 4) switch (args.outputs - m) {
                         case 1: narrow_outputs<kMode, 1>(args, reads, pixel, m, together); break;
                         case 2: narrow_outputs<kMode, 2>(args, reads, pixel, m, together); break;
                         case 3: narrow_outputs<kMode, 3>(args, reads, pixel, m, together); break;
                         default: narrow_outputs<kMode, 4>(args, reads, pixel, m, together); break;
                       }
                   });
}
