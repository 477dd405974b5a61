// Sign-partitioned product: lanes run over output pixels, weights are scalars. The sources of a
// tile of pixels are copied into a panel (rows = kernel tap x channel) that stays in L1. Outputs
// come in pairs, and the panel's rows are sorted by the signs of the pair's two weights when the
// weights are packed. Inside one of the four groups it is fixed which sum each product belongs to,
// so both z+ = sum max(w a, 0) and z- = sum min(w a, 0) cost the multiplications of one plain
// product:
//
//   group     (+,+)   (+,-)   (-,-)   (-,+)
//   output 0  z+      z+      z-      z-
//   output 1  z+      z-      z-      z+
//
// Backward, s+ and s- have a panel each and the sign of the weight picks the panel instead.

constexpr std::int64_t kPanelLanes = kPanelVectors * Vec::kWidth;
// Entries of a chain: as many as a group has, 32 on average, make SqueezeNet's heatmaps 1.1 to 1.2
// times less exact; 12 take 1 to 3 % more time.
constexpr std::int32_t kPairChain = 12;

// Neighbouring lanes of a tile whose output pixels lie in one row.
struct LaneRun {
  std::int64_t lane, count, y, x;
};
struct LaneRuns {
  LaneRun run[kPanelLanes];
  std::int64_t count = 0;
};

// All lanes of a pointwise product are one run.
inline void find_runs(const PartitionArgs& args, LaneRuns& runs) {
  if (args.row_source == nullptr) {
    runs.run[runs.count++] = {0, args.count, 0, args.p0};
    return;
  }
  std::int64_t y = args.p0 / args.out_width, x = args.p0 % args.out_width;
  for (std::int64_t lane = 0; lane < args.count; x = 0, ++y) {
    const std::int64_t rest = args.out_width - x, left = args.count - lane;
    runs.run[runs.count++] = {lane, rest < left ? rest : left, y, x};
    lane += rest;
  }
}

// Where the sources of a run begin through one tap: that of lane run.lane + i at row + column[i],
// in floats; nothing where the row or that column is negative.
struct RunSource {
  std::int64_t row;
  const std::int64_t* column;
};
inline RunSource source_of(const PartitionArgs& args, const LaneRun& run, std::int64_t tap) {
  const std::int64_t ky = tap / args.kernel_width, kx = tap % args.kernel_width;
  return {args.row_source[ky * args.out_height + run.y],
          args.column_source + kx * args.out_width + run.x};
}

// For every lane, where its source pixel of one tap begins, channel c0; zeros in the padding.
inline void find_sources(const PartitionArgs& args, const LaneRuns& runs, const float* source,
                         std::int64_t tap, std::int64_t c0, const float** from) {
  for (std::int64_t lane = args.count; lane < kPanelLanes; ++lane) from[lane] = kZeros;
  for (const LaneRun* run = runs.run; run != runs.run + runs.count; ++run) {
    if (args.row_source == nullptr) {
      for (std::int64_t i = 0; i < run->count; ++i)
        from[i] = source + (run->x + i) * args.source_stride + c0;
      return;
    }
    const RunSource at = source_of(args, *run, tap);
    for (std::int64_t i = 0; i < run->count; ++i)
      from[run->lane + i] =
          (at.row | at.column[i]) < 0 ? kZeros : source + at.row + at.column[i] + c0;
  }
}

// One row of the panel where the source has one channel: output pixels of one row read pixels of
// one row, in whole vectors away from the borders (LeNet's first layer).
inline void copy_one_channel(const PartitionArgs& args, const LaneRuns& runs, const float* source,
                             std::int64_t tap, float* panel) {
  for (std::int64_t lane = args.count; lane < kPanelLanes; ++lane) panel[lane] = 0;
  for (const LaneRun* run = runs.run; run != runs.run + runs.count; ++run) {
    const RunSource at = source_of(args, *run, tap);
    float* to = panel + run->lane;
    for (std::int64_t i = 0; i < run->count;) {
      const std::int64_t last = i + Vec::kWidth - 1;
      if (last < run->count && (at.row | at.column[i]) >= 0 &&
          at.column[last] - at.column[i] == last - i) {
        Vec::load(source + at.row + at.column[i]).store(to + i);
        i += Vec::kWidth;
      } else {
        to[i] = (at.row | at.column[i]) < 0 ? 0 : source[at.row + at.column[i]];
        ++i;
      }
    }
  }
}

// Rows of a panel that are copied value by value: a transposition of whole vectors takes longer.
constexpr std::int64_t kFewRows = 4;

// Copies rows [r0, r1) of the panel: panel[(r - r0) * kPanelLanes + lane], in whole vectors.
inline void copy_panel(const PartitionArgs& args, const LaneRuns& runs, const float* source,
                       std::int64_t r0, std::int64_t r1, float* panel) {
  std::int64_t r = r0;
  if (args.source_stride == 1 && args.row_source != nullptr) {
    for (; r < r1; ++r, panel += kPanelLanes) copy_one_channel(args, runs, source, r, panel);
    return;
  }
  while (r < r1) {
    const std::int64_t c0 = r % args.channels;
    const std::int64_t rest = args.channels - c0, count = rest < r1 - r ? rest : r1 - r;
    const float* from[kPanelLanes];
    find_sources(args, runs, source, r / args.channels, c0, from);
    if (count < kFewRows) {
      for (std::int64_t c = 0; c < count; ++c)
        for (std::int64_t lane = 0; lane < kPanelLanes; ++lane)
          panel[c * kPanelLanes + lane] = from[lane][c];
    } else {
      for (std::int64_t lane = 0; lane < args.count; lane += Vec::kWidth)
        for (std::int64_t c = 0; c < count; c += Vec::kWidth)
          transpose_block(
              Vec::kWidth, block_extent(c, count),
              [&](std::int64_t i) { return from[lane + i] + c; },
              [&](std::int64_t i) { return panel + (c + i) * kPanelLanes + lane; });
    }
    panel += count * kPanelLanes;
    r += count;
  }
}

// Leaves the positive values in `panel` and moves the negative ones to `negative`.
inline void split_panel(float* panel, float* negative, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows * kPanelLanes; i += Vec::kWidth) {
    const Vec v = Vec::load(panel + i);
    positive_bits(v).store(panel + i);
    negative_bits(v).store(negative + i);
  }
}

// Lanes of one sum of an output. It starts from zero for every panel and is added to what earlier
// panels gave, so that no chain of roundings is longer than a panel.
template <int kVectors>
struct PanelSum {
  Vec v[kVectors];
  RELPROP_INLINE PanelSum() {
    unrolled<kVectors>([&](auto q) RELPROP_INLINED { v[q] = Vec::broadcast(0); });
  }
};
template <int kVectors>
RELPROP_INLINE void add_to(const PanelSum<kVectors>& s, float* p) {
  unrolled<kVectors>([&](auto q) RELPROP_INLINED {
    float* at = p + q * Vec::kWidth;
    (Vec::load(at) + s.v[q]).store(at);
  });
}
template <int kVectors>
RELPROP_INLINE void add_to(const PanelSum<kVectors>& s, const PanelSum<kVectors>& t, float* p) {
  unrolled<kVectors>([&](auto q) RELPROP_INLINED {
    float* at = p + q * Vec::kWidth;
    (Vec::load(at) + (s.v[q] + t.v[q])).store(at);
  });
}

// Entries of one pair of outputs in one block of rows.
struct PairEntries {
  const std::uint16_t* row;
  const float* weight;
  const std::int32_t* group;
};

// Adds the entries of one of the four groups: rows of panel0 to c0, of panel1 to c1. Every few
// entries have sums of their own, which cuts the chains of roundings.
template <bool kSamePanel, int kVectors>
RELPROP_INLINE void add_group(const PairEntries& entries, int group, const float* panel0,
                              const float* panel1, PanelSum<kVectors>& c0, PanelSum<kVectors>& c1) {
  const std::int32_t end = entries.group[group + 1];
  for (std::int32_t i = entries.group[group]; i < end;) {
    PanelSum<kVectors> own0, own1;
    const std::int32_t stop = least(i + kPairChain, end);
    for (; i < stop; ++i) {
      const float* a = panel0 + entries.row[i] * kPanelLanes;
      const float* b = panel1 + entries.row[i] * kPanelLanes;
      const Vec w0 = Vec::broadcast(entries.weight[2 * i]);
      const Vec w1 = Vec::broadcast(entries.weight[2 * i + 1]);
      unrolled<kVectors>([&](auto q) RELPROP_INLINED {
        const Vec from0 = load_once(a + q * Vec::kWidth);
        const Vec from1 = kSamePanel ? from0 : Vec::load(b + q * Vec::kWidth);
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

// What the positive and the negative weights of a pair of outputs give, from one panel: positive
// weights meet panel a, negative ones b.
template <int kVectors>
struct PairSums {
  PanelSum<kVectors> plus0, plus1, minus0, minus1;

  template <bool kSamePanel>
  RELPROP_INLINE void add(const PairEntries& entries, const float* a, const float* b) {
    add_group<true>(entries, 0, a, a, plus0, plus1);
    add_group<kSamePanel>(entries, 1, a, b, plus0, minus1);
    add_group<true>(entries, 2, b, b, minus0, minus1);
    add_group<kSamePanel>(entries, 3, b, a, minus0, plus1);
  }
};

// z+, z- and, if wanted, their sum of one pair of outputs.
template <int kVectors>
inline void add_split_pair(const PairEntries& entries, const float* panel, float* plus,
                           float* minus, float* sum) {
  PairSums<kVectors> s;
  s.template add<true>(entries, panel, panel);
  add_to(s.plus0, plus);
  add_to(s.plus1, plus + kPanelLanes);
  add_to(s.minus0, minus);
  add_to(s.minus1, minus + kPanelLanes);
  if (sum == nullptr) return;
  add_to(s.plus0, s.minus0, sum);
  add_to(s.plus1, s.minus1, sum + kPanelLanes);
}

// sum w (w >= 0 ? a : b) of one pair of outputs.
template <bool kSamePanel, int kVectors>
inline void add_blend_pair(const PairEntries& entries, const float* a, const float* b,
                           float* sums) {
  PairSums<kVectors> s;
  s.template add<kSamePanel>(entries, a, b);
  add_to(s.plus0, s.minus0, sums);
  add_to(s.plus1, s.minus1, sums + kPanelLanes);
}

// (outputs, lanes) -> (pixels, channels).
inline void write_sums(const PartitionArgs& args, const float* sums, float* to) {
  for (std::int64_t m = 0; m < args.outputs; m += Vec::kWidth)
    for (std::int64_t p = 0; p < args.count; p += Vec::kWidth)
      transpose_block(
          block_extent(m, args.outputs), block_extent(p, args.count),
          [&](std::int64_t i) { return sums + (m + i) * kPanelLanes + p; },
          [&](std::int64_t i) { return to + (p + i) * args.out_stride + m; });
}

// The parts of PartitionArgs::scratch.
struct PanelScratch {
  std::int64_t pairs;
  float *panel_a, *panel_b, *plus, *minus, *sum, *end;

  PanelScratch(const PartitionArgs& args, bool with_second, bool with_sum)
      : pairs((args.outputs + 1) / 2), panel_a(args.scratch) {
    const std::int64_t sums = 2 * pairs * kPanelLanes;
    panel_b = panel_a + kMostPanelRows * kPanelLanes;
    plus = panel_b + kMostPanelRows * kPanelLanes;
    minus = plus + sums;
    sum = with_sum ? minus + sums : nullptr;
    end = with_sum ? sum + sums : with_second ? minus + sums : minus;
  }
};

// Block k of rows for all outputs, the first kVectors vectors of the panel's lanes.
template <Mode kMode, int kVectors>
inline void add_pairs(const PartitionArgs& args, std::int64_t k, const PanelScratch& scratch) {
  for (std::int64_t q = 0; q < scratch.pairs; ++q) {
    const PairEntries entries{args.row, args.weight,
                              args.group + (k * args.pairs + args.m0 / 2 + q) * 5};
    const std::int64_t at = 2 * q * kPanelLanes;
    float *p = scratch.plus + at, *m = scratch.minus + at;
    if constexpr (kMode == Mode::split_product) {
      float* s = scratch.sum != nullptr ? scratch.sum + at : nullptr;
      add_split_pair<kVectors>(entries, scratch.panel_a, p, m, s);
      // A negative source turns the sign of every product.
      if (!args.nonnegative) add_split_pair<kVectors>(entries, scratch.panel_b, m, p, s);
    } else if constexpr (kMode == Mode::split_weight) {
      add_split_pair<kVectors>(entries, scratch.panel_a, p, m, nullptr);
    } else if constexpr (kMode == Mode::plain) {
      add_blend_pair<true, kVectors>(entries, scratch.panel_a, scratch.panel_a, p);
    } else {
      add_blend_pair<false, kVectors>(entries, scratch.panel_a, scratch.panel_b, p);
      if constexpr (kMode == Mode::blend_both)
        add_blend_pair<false, kVectors>(entries, scratch.panel_b, scratch.panel_a, m);
    }
  }
}

// f(Constant<n>{}) for n of 1 to kMost.
template <int kMost, class F>
inline void with_vectors(int n, F f) {
  if constexpr (kMost > 1)
    if (n < kMost) return with_vectors<kMost - 1>(n, f);
  f(Constant<kMost>{});
}

template <Mode kMode>
void partition(const PartitionArgs& args) noexcept {
  const std::int64_t rows = args.kernel_height * args.kernel_width * args.channels;
  const PanelScratch scratch(args, has_second(kMode), has_sum(kMode) && args.sum != nullptr);
  for (float* p = scratch.plus; p < scratch.end; p += Vec::kWidth) Vec::broadcast(0).store(p);

  LaneRuns runs;
  find_runs(args, runs);
  for (std::int64_t r0 = 0, k = 0; r0 < rows; r0 += panel_rows(kMode), ++k) {
    const std::int64_t r1 = r0 + panel_rows(kMode) < rows ? r0 + panel_rows(kMode) : rows;
    copy_panel(args, runs, args.a, r0, r1, scratch.panel_a);
    if constexpr (reads_b(kMode)) {
      copy_panel(args, runs, args.b, r0, r1, scratch.panel_b);
    } else if (kMode == Mode::split_product && !args.nonnegative) {
      split_panel(scratch.panel_a, scratch.panel_b, r1 - r0);
    }
    // The last tile of an image may be narrow: 14 x 14 pixels are three tiles of 64 and one of 4.
    const auto vectors = static_cast<int>((args.count + Vec::kWidth - 1) / Vec::kWidth);
    with_vectors<kPanelVectors>(
        vectors, [&](auto width) { add_pairs<kMode, decltype(width){}>(args, k, scratch); });
  }
  write_sums(args, scratch.plus, args.first);
  if constexpr (has_second(kMode)) write_sums(args, scratch.minus, args.second);
  if (scratch.sum != nullptr) write_sums(args, scratch.sum, args.sum);
}
