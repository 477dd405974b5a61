// Sums of one output pixel in registers, lanes over output channels: how they meet weights, and how
// they leave. For the zero-skipping product; the dense product leaves the same way.

// The sums of one output pixel. first gets what max(w, 0) gives and second what min(w, 0) gives;
// with blend_both each gets some of both.
template <Mode kMode, int kVectors>
struct PixelSums {
  Vec first[kVectors], second[weight_halves(kMode) == 2 ? kVectors : 1];
};

template <Mode kMode, int kVectors>
RELPROP_INLINE void clear(PixelSums<kMode, kVectors>& s) {
  unrolled<kVectors>([&](auto q) RELPROP_INLINED {
    s.first[q] = Vec::broadcast(0);
    if constexpr (weight_halves(kMode) == 2) s.second[q] = Vec::broadcast(0);
  });
}

template <Mode kMode, int kVectors>
RELPROP_INLINE void add(const PixelSums<kMode, kVectors>& s, PixelSums<kMode, kVectors>& to) {
  unrolled<kVectors>([&](auto q) RELPROP_INLINED {
    to.first[q] = to.first[q] + s.first[q];
    if constexpr (weight_halves(kMode) == 2) to.second[q] = to.second[q] + s.second[q];
  });
}

template <Mode kMode, int kVectors>
RELPROP_INLINE void copy(const PixelSums<kMode, kVectors>& from, PixelSums<kMode, kVectors>& to) {
  unrolled<kVectors>([&](auto q) RELPROP_INLINED {
    to.first[q] = from.first[q];
    if constexpr (weight_halves(kMode) == 2) to.second[q] = from.second[q];
  });
}

// One source channel's weights for one tap.
template <Mode kMode, bool kWhole, int kVectors>
struct TapWeights {
  Vec plus[kVectors], minus[weight_halves(kMode) == 2 ? kVectors : 1];  // or w and nothing

  // They may be memory operands of multiply-adds where they meet one pixel only.
  RELPROP_INLINE TapWeights(const float* weight, bool one_pixel) {
    const auto load = [&](const float* p)
                          RELPROP_INLINED { return one_pixel ? Vec::load(p) : load_once(p); };
    unrolled<kVectors>([&](auto q) RELPROP_INLINED {
      const Vec w = load(weight + q * Vec::kWidth);
      if constexpr (weight_halves(kMode) == 2) {
        plus[q] = kWhole ? positive_bits(w) : w;
        minus[q] = kWhole ? negative_bits(w) : load(weight + (kVectors + q) * Vec::kWidth);
      } else {
        plus[q] = w;
      }
    });
  }
};

// Adds one entry through one tap. kNegative: a < 0 (split_product), where max(w, 0) a <= 0.
template <Mode kMode, bool kNegative, bool kWhole, int kVectors>
RELPROP_INLINE void add_tap(const TapWeights<kMode, kWhole, kVectors>& w, Vec a, Vec b,
                            PixelSums<kMode, kVectors>& s) {
  unrolled<kVectors>([&](auto q) RELPROP_INLINED {
    s.first[q] = fma(kNegative ? w.minus[q] : w.plus[q], a, s.first[q]);
    if constexpr (weight_halves(kMode) == 2)
      s.second[q] =
          fma(kNegative ? w.plus[q] : w.minus[q], kMode == Mode::blend ? b : a, s.second[q]);
    if constexpr (kMode == Mode::blend_both) {
      s.first[q] = fma(w.minus[q], b, s.first[q]);
      s.second[q] = fma(w.plus[q], b, s.second[q]);
    }
  });
}

// One row of results: where the sums of the next pixel go. Null pointers: not wanted.
struct ResultRow {
  float *first, *second, *sum;
  std::int64_t stride;
  void next() {
    first += stride;
    if (second != nullptr) second += stride;
    if (sum != nullptr) sum += stride;
  }
};

// The sums of a block start from zero and are added to what is there: two short chains of roundings
// instead of one over all inputs (VGG-16, alpha2-beta1: a third of the error).
template <int kVectors>
RELPROP_INLINE void put_vectors(bool fresh, const Vec (&v)[kVectors], float* to) {
  unrolled<kVectors>([&](auto q) RELPROP_INLINED {
    float* at = to + q * Vec::kWidth;
    (fresh ? v[q] : Vec::load(at) + v[q]).store(at);
  });
}

// `both`: first + second, made of shorter sums than these two are.
template <Mode kMode, int kVectors>
RELPROP_INLINE void put(bool fresh, const PixelSums<kMode, kVectors>& s,
                        const Vec (&both)[kVectors], const ResultRow& to) {
  if constexpr (kMode == Mode::blend) return put_vectors(fresh, both, to.first);
  put_vectors(fresh, s.first, to.first);
  if constexpr (has_second(kMode))
    if (to.second != nullptr) put_vectors(fresh, s.second, to.second);
  if constexpr (has_sum(kMode))
    if (to.sum != nullptr) put_vectors(fresh, both, to.sum);
}

template <Mode kMode, int kVectors>
RELPROP_INLINE void put(bool fresh, const PixelSums<kMode, kVectors>& s, const ResultRow& to) {
  Vec both[kVectors];
  if constexpr (weight_halves(kMode) == 2)
    unrolled<kVectors>([&](auto q) RELPROP_INLINED { both[q] = s.first[q] + s.second[q]; });
  put(fresh, s, both, to);
}
