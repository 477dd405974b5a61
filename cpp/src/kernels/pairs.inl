// Sums of the sign-partitioned products: lanes run over output pixels, weights are scalars. Outputs
// come in pairs, and the rows (kernel tap x channel) that they sum over are sorted by the signs of
// the pair's two weights when the weights are packed. Inside one of the four groups it is fixed
// which sum each product belongs to, so both z+ = sum max(w a, 0) and z- = sum min(w a, 0) cost the
// multiplications of one plain product:
//
//   group     (+,+)   (+,-)   (-,-)   (-,+)
//   output 0  z+      z+      z-      z-
//   output 1  z+      z-      z-      z+
//
// Backward, s+ and s- are two sources and the sign of the weight picks one instead.

constexpr std::int64_t kPanelLanes = kPanelVectors * Vec::kWidth;
// Entries of a chain: as many as a group has, 32 on average, make SqueezeNet's heatmaps 1.1 to 1.4
// times less exact. 12 take 1 to 3 % more time with AVX-512, 12 % with AVX2 (16 to 24 take 6 %, and
// its z+ heatmaps are 1.1 times less exact).
constexpr std::int32_t kPairChain = 12;

// Lanes of one sum of an output. It starts from zero for every block of rows and is added to what
// earlier ones gave, so that no chain of roundings is longer than a block.
template <int kVectors>
struct PairSum {
  Vec v[kVectors];
  RELPROP_INLINE PairSum() {
    unrolled<kVectors>([&](auto q) RELPROP_INLINED { v[q] = Vec::broadcast(0); });
  }
};
template <int kVectors>
RELPROP_INLINE PairSum<kVectors> operator+(const PairSum<kVectors>& s, const PairSum<kVectors>& t) {
  PairSum<kVectors> both;
  unrolled<kVectors>([&](auto q) RELPROP_INLINED { both.v[q] = s.v[q] + t.v[q]; });
  return both;
}

// Entries of one pair of outputs: row i of the sources begins at row[i] * kRowFloats.
template <class Row, std::int64_t kRowFloats>
struct PairEntries {
  const Row* row;
  const float* weight;
  const std::int32_t* group;
  RELPROP_INLINE std::int64_t at(std::int32_t i) const { return row[i] * kRowFloats; }
};

// Adds the entries of one of the four groups: rows of source0 to c0, of source1 to c1. Every few
// entries have sums of their own, which cuts the chains of roundings.
template <bool kSameSource, int kVectors, class Entries>
RELPROP_INLINE void add_group(const Entries& entries, int group, const float* source0,
                              const float* source1, PairSum<kVectors>& c0, PairSum<kVectors>& c1) {
  const std::int32_t end = entries.group[group + 1];
  for (std::int32_t i = entries.group[group]; i < end;) {
    PairSum<kVectors> own0, own1;
    const std::int32_t stop = least(i + kPairChain, end);
    for (; i < stop; ++i) {
      const float* a = source0 + entries.at(i);
      const float* b = source1 + entries.at(i);
      const Vec w0 = Vec::broadcast(entries.weight[2 * i]);
      const Vec w1 = Vec::broadcast(entries.weight[2 * i + 1]);
      unrolled<kVectors>([&](auto q) RELPROP_INLINED {
        const Vec from0 = load_once(a + q * Vec::kWidth);
        const Vec from1 = kSameSource ? from0 : Vec::load(b + q * Vec::kWidth);
        own0.v[q] = fma(from0, w0, own0.v[q]);
        own1.v[q] = fma(from1, w1, own1.v[q]);
      });
    }
    unrolled<kVectors>([&](auto q) RELPROP_INLINED {
      c0.v[q] = c0.v[q] + own0.v[q];
      c1.v[q] = c1.v[q] + own1.v[q];
    });
  }
}

// z+, z- and, if wanted, their sum of one pair of outputs.
template <int kVectors, class Entries>
inline void add_split_pair(const Entries& entries, const float* source, bool fresh, float* plus,
                           float* minus, float* sum) {
  PairSum<kVectors> plus0, plus1, minus0, minus1;
  add_group<true>(entries, 0, source, source, plus0, plus1);
  add_group<true>(entries, 1, source, source, plus0, minus1);
  add_group<true>(entries, 2, source, source, minus0, minus1);
  add_group<true>(entries, 3, source, source, minus0, plus1);
  put_vectors(fresh, plus0.v, plus);
  put_vectors(fresh, plus1.v, plus + kPanelLanes);
  put_vectors(fresh, minus0.v, minus);
  put_vectors(fresh, minus1.v, minus + kPanelLanes);
  if (sum == nullptr) return;
  put_vectors(fresh, (plus0 + minus0).v, sum);
  put_vectors(fresh, (plus1 + minus1).v, sum + kPanelLanes);
}

// sum w (w >= 0 ? a : b) of one pair of outputs. Sums of their own for both signs would take 1.1
// times as long (AVX2).
template <bool kSameSource, int kVectors, class Entries>
inline void add_blend_pair(const Entries& entries, const float* a, const float* b, bool fresh,
                           float* sums) {
  PairSum<kVectors> sum0, sum1;
  add_group<true>(entries, 0, a, a, sum0, sum1);
  add_group<kSameSource>(entries, 1, a, b, sum0, sum1);
  add_group<true>(entries, 2, b, b, sum0, sum1);
  add_group<kSameSource>(entries, 3, b, a, sum0, sum1);
  put_vectors(fresh, sum0.v, sums);
  put_vectors(fresh, sum1.v, sums + kPanelLanes);
}

// Two sources of a tile of pixels: a and b, or the positive and the negative part of a.
struct PairSources {
  const float *a, *b;
  bool nonnegative;  // split_product: there is no negative part
};

// Sums of a tile of pixels, (outputs, kPanelLanes), outputs rounded up to an even number.
struct PairTile {
  float *plus, *minus, *sum;

  PairTile(float* memory, std::int64_t outputs, bool with_sum) : plus(memory) {
    const std::int64_t sums = round_up(outputs, 2) * kPanelLanes;
    minus = plus + sums;
    sum = with_sum ? minus + sums : nullptr;
  }
};

// Adds what the entries of pair q give, in the first kVectors vectors of the lanes; fresh: there is
// nothing to add to.
template <Mode kMode, int kVectors, class Entries>
inline void add_pair(const Entries& entries, const PairSources& from, bool fresh, std::int64_t q,
                     const PairTile& tile) {
  const std::int64_t at = 2 * q * kPanelLanes;
  float *p = tile.plus + at, *m = tile.minus + at;
  if constexpr (kMode == Mode::split_product) {
    float* s = tile.sum != nullptr ? tile.sum + at : nullptr;
    add_split_pair<kVectors>(entries, from.a, fresh, p, m, s);
    // A negative source turns the sign of every product.
    if (!from.nonnegative) add_split_pair<kVectors>(entries, from.b, false, m, p, s);
  } else if constexpr (kMode == Mode::split_weight) {
    add_split_pair<kVectors>(entries, from.a, fresh, p, m, nullptr);
  } else if constexpr (kMode == Mode::plain) {
    add_blend_pair<true, kVectors>(entries, from.a, from.a, fresh, p);
  } else {
    add_blend_pair<false, kVectors>(entries, from.a, from.b, fresh, p);
    if constexpr (kMode == Mode::blend_both)
      add_blend_pair<false, kVectors>(entries, from.b, from.a, fresh, m);
  }
}

// `count` lanes from `lane`: (outputs, lanes) -> (pixels, outputs).
inline void write_lanes(const float* sums, std::int64_t outputs, std::int64_t lane,
                        std::int64_t count, float* to, std::int64_t stride) {
  if (outputs == 1 && stride == 1) {
    for_vectors(count, [&](std::int64_t p, auto mem) { mem(mem(sums + lane + p), to + p); });
    return;
  }
  for (std::int64_t m = 0; m < outputs; m += Vec::kWidth)
    for (std::int64_t p = 0; p < count; p += Vec::kWidth)
      transpose_block(
          block_extent(m, outputs), block_extent(p, count),
          [&](std::int64_t i) { return sums + (m + i) * kPanelLanes + lane + p; },
          [&](std::int64_t i) { return to + (p + i) * stride + m; });
}

// Leaves the positive values and moves the negative ones to `negative`, in whole vectors.
inline void split_by_sign(float* values, float* negative, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += Vec::kWidth) {
    const Vec v = Vec::load(values + i);
    positive_bits(v).store(values + i);
    negative_bits(v).store(negative + i);
  }
}

// f(Constant<n>{}) for n of 1 to kMost.
template <int kMost, class F>
inline void with_vectors(int n, F f) {
  if constexpr (kMost > 1)
    if (n < kMost) return with_vectors<kMost - 1>(n, f);
  f(Constant<kMost>{});
}
// As many vectors as `count` lanes take: a last tile may be narrow.
template <class F>
inline void with_lane_vectors(std::int64_t count, F f) {
  with_vectors<kPanelVectors>(static_cast<int>(ceil_div(count, Vec::kWidth)), f);
}
