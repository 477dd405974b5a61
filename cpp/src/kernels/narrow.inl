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

template <Mode kMode, int kOutputs>
inline void narrow_pixel(const NarrowArgs& args, std::int64_t y, std::int64_t x, std::int64_t m0,
                         std::int64_t at) {
  Vec p[kOutputs], m[kOutputs], both[kOutputs];
  unrolled<kOutputs>([&](auto j) RELPROP_INLINED { p[j] = m[j] = both[j] = Vec::broadcast(0); });
  for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i)
    for (std::int32_t t = args.x.begin[x]; t < args.x.begin[x + 1]; ++t) {
      const std::int64_t source =
          (args.y.source[i] * args.source_width + args.x.source[t]) * args.source_stride;
      const std::int64_t tap = args.y.tap[i] * args.kernel_width + args.x.tap[t];
      const float* weight = args.weight + (tap * args.outputs + m0) * args.channels;
      for_vectors(args.channels, [&](std::int64_t c, auto mem) RELPROP_INLINED {
        const Vec a = mem(args.a + source + c);
        const Vec b = reads_b(kMode) ? mem(args.b + source + c) : a;
        unrolled<kOutputs>([&](auto j) RELPROP_INLINED {
          accumulate_lanes<kMode>(mem(weight + j * args.channels + c), a, b, p[j], m[j], both[j]);
        });
      });
    }
  unrolled<kOutputs>([&](auto j) RELPROP_INLINED {
    args.first[at + j] = sum_of_lanes(p[j]);
    if constexpr (has_second(kMode)) args.second[at + j] = sum_of_lanes(m[j]);
    if constexpr (has_sum(kMode))
      if (args.sum != nullptr) args.sum[at + j] = sum_of_lanes(both[j]);
  });
}

template <Mode kMode>
void narrow(const NarrowArgs& args) noexcept {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width; ++x) {
      const std::int64_t at = ((y - args.y0) * args.out_width + x) * args.outputs;
      for (std::int64_t m = 0; m < args.outputs; m += 4) switch (args.outputs - m) {
          case 1: narrow_pixel<kMode, 1>(args, y, x, m, at + m); break;
          case 2: narrow_pixel<kMode, 2>(args, y, x, m, at + m); break;
          case 3: narrow_pixel<kMode, 3>(args, y, x, m, at + m); break;
          default: narrow_pixel<kMode, 4>(args, y, x, m, at + m); break;
        }
    }
}
