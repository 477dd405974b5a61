// Depthwise product: lanes run over channels, each with its own weight and source.

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

template <Mode kMode>
inline void depthwise_pixel(const DepthwiseArgs& args, std::int64_t y, std::int64_t x,
                            std::int64_t c, std::int64_t n, float* first, float* second,
                            float* sum) {
  const bool whole = n == Vec::kWidth;
  const auto load = [&](const float* from) { return whole ? Vec::load(from) : Vec::load(from, n); };
  Vec p = Vec::broadcast(0), m = p, both = p;
  for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i)
    for (std::int32_t j = args.x.begin[x]; j < args.x.begin[x + 1]; ++j) {
      const std::int64_t source =
          (args.y.source[i] * args.source_width + args.x.source[j]) * args.channels + c;
      const std::int64_t tap = args.y.tap[i] * args.kernel_width + args.x.tap[j];
      const Vec w = load(args.weight + tap * args.channels + c);
      const Vec a = load(args.a + source);
      const Vec b = reads_b(kMode) ? load(args.b + source) : a;
      accumulate_lanes<kMode>(w, a, b, p, m, both);
    }
  whole ? p.store(first) : p.store(first, n);
  if constexpr (has_second(kMode)) whole ? m.store(second) : m.store(second, n);
  if constexpr (kMode == Mode::split_product)
    if (sum != nullptr) whole ? both.store(sum) : both.store(sum, n);
}

template <Mode kMode>
void depthwise(const DepthwiseArgs& args) noexcept {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width; ++x) {
      const std::int64_t at = ((y - args.y0) * args.out_width + x) * args.channels;
      for (std::int64_t c = 0; c < args.channels; c += Vec::kWidth) {
        const std::int64_t rest = args.channels - c;
        depthwise_pixel<kMode>(args, y, x, c, rest < Vec::kWidth ? rest : Vec::kWidth,
                               args.first + at + c,
                               has_second(kMode) ? args.second + at + c : nullptr,
                               args.sum ? args.sum + at + c : nullptr);
      }
    }
}
