// Sign-partitioned product: lanes run over output pixels, weights are scalars. The sources of a tile
// of pixels are copied into a panel (rows = kernel tap x channel) that stays in L1. Outputs come in
// pairs, and the panel's rows are sorted by the signs of the pair's two weights when the weights are
// packed. Inside one of the four groups it is fixed which sum each product belongs to, so both
// z+ = sum max(w a, 0) and z- = sum min(w a, 0) cost the multiplications of one plain product:
//
//   group     (+,+)   (+,-)   (-,-)   (-,+)
//   output 0  z+      z+      z-      z-        between groups only one of the two
//   output 1  z+      z-      z-      z+        accumulator rows changes
//
// Backward, s+ and s- have a panel each and the sign of the weight picks the panel instead.

constexpr std::int64_t kPanelLanes = kPanelVectors * Vec::kWidth;

// Source coordinate that output coordinate o reads through tap t, or -1. Away from the borders every
// tap is there and stands at its own place.
inline std::int64_t source_of(const AxisTaps& taps, std::int64_t o, std::int64_t t) {
  const std::int64_t begin = taps.begin[o], end = taps.begin[o + 1];
  if (begin + t < end && taps.tap[begin + t] == t) return taps.source[begin + t];
  for (std::int64_t i = begin; i < end; ++i)
    if (taps.tap[i] == t) return taps.source[i];
  return -1;
}

// The tile's output pixels, one per lane.
struct LanePixels {
  std::int32_t y[kPanelLanes], x[kPanelLanes];
};
inline LanePixels lane_pixels(const PartitionArgs& args) {
  LanePixels lanes{};
  std::int64_t y = args.p0 / args.out_width, x = args.p0 % args.out_width;
  for (std::int64_t lane = 0; lane < args.count; ++lane) {
    lanes.y[lane] = static_cast<std::int32_t>(y);
    lanes.x[lane] = static_cast<std::int32_t>(x);
    if (++x == args.out_width) {
      x = 0;
      ++y;
    }
  }
  return lanes;
}

constexpr float kZeros[kPanelRows] = {};

// For every lane, where its source pixel of one tap begins, channel c0; zeros in the padding.
inline void find_sources(const PartitionArgs& args, const LanePixels& lanes, const float* source,
                         std::int64_t tap, std::int64_t c0, const float** from) {
  const std::int64_t ky = tap / args.kernel_width, kx = tap % args.kernel_width;
  std::int64_t row = -1, sy = -1;
  for (std::int64_t lane = 0; lane < kPanelLanes; ++lane) {
    from[lane] = kZeros;
    if (lane >= args.count) continue;
    std::int64_t pixel = args.p0 + lane;
    if (args.x.begin != nullptr) {
      if (lanes.y[lane] != row) {
        row = lanes.y[lane];
        sy = source_of(args.y, row, ky);
      }
      const std::int64_t sx = sy < 0 ? -1 : source_of(args.x, lanes.x[lane], kx);
      if (sx < 0) continue;
      pixel = sy * args.source_width + sx;
    }
    from[lane] = source + pixel * args.source_stride + c0;
  }
}

// Copies rows [r0, r1) of the panel: panel[(r - r0) * kPanelLanes + lane].
inline void copy_panel(const PartitionArgs& args, const LanePixels& lanes, const float* source,
                       std::int64_t r0, std::int64_t r1, float* panel) {
  std::int64_t r = r0;
  while (r < r1) {
    const std::int64_t c0 = r % args.channels;
    const std::int64_t rest = args.channels - c0, count = rest < r1 - r ? rest : r1 - r;
    const float* from[kPanelLanes];
    find_sources(args, lanes, source, r / args.channels, c0, from);
    for (std::int64_t c = 0; c < count; ++c, panel += kPanelLanes)
      for (std::int64_t lane = 0; lane < kPanelLanes; ++lane) panel[lane] = from[lane][c];
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

// One row of sums of an output. It starts from zero for every panel and is added to what earlier
// panels gave, so that no chain of roundings is longer than a panel.
struct PanelSums {
  Vec v[kPanelVectors];
  static PanelSums zero() {
    PanelSums s;
    for (Vec& v : s.v) v = Vec::broadcast(0);
    return s;
  }
  void add_to(float* p) const {
    for (int q = 0; q < kPanelVectors; ++q)
      (Vec::load(p + q * Vec::kWidth) + v[q]).store(p + q * Vec::kWidth);
  }
};

// Adds entries [begin, end) of one group: rows of panel0 to c0, of panel1 to c1.
template <bool kSamePanel>
inline void add_group(const float* panel0, const float* panel1, const std::uint16_t* row,
                      const float* weight, std::int32_t begin, std::int32_t end, PanelSums& c0,
                      PanelSums& c1) {
  PanelSums s0 = c0, s1 = c1;
  for (std::int32_t t = begin; t < end; ++t) {
    const float* x0 = panel0 + row[t] * kPanelLanes;
    const float* x1 = panel1 + row[t] * kPanelLanes;
    const Vec w0 = Vec::broadcast(weight[2 * t]), w1 = Vec::broadcast(weight[2 * t + 1]);
#pragma GCC unroll 8
    for (int q = 0; q < kPanelVectors; ++q) {
      const Vec a = Vec::load(x0 + q * Vec::kWidth);
      const Vec b = kSamePanel ? a : Vec::load(x1 + q * Vec::kWidth);
      s0.v[q] = fma(a, w0, s0.v[q]);
      s1.v[q] = fma(b, w1, s1.v[q]);
    }
  }
  c0 = s0;
  c1 = s1;
}

// z+, z- and their sum of one pair of outputs from one panel: two rows of sums each.
inline void add_split_pair(const float* panel, const std::uint16_t* row, const float* weight,
                           const std::int32_t* group, float* plus, float* minus, float* sum) {
  PanelSums c0 = PanelSums::zero(), c1 = PanelSums::zero();
  add_group<true>(panel, panel, row, weight, group[0], group[1], c0, c1);
  c1.add_to(plus + kPanelLanes);
  c1.add_to(sum + kPanelLanes);
  c1 = PanelSums::zero();
  add_group<true>(panel, panel, row, weight, group[1], group[2], c0, c1);
  c0.add_to(plus);
  c0.add_to(sum);
  c0 = PanelSums::zero();
  add_group<true>(panel, panel, row, weight, group[2], group[3], c0, c1);
  c1.add_to(minus + kPanelLanes);
  c1.add_to(sum + kPanelLanes);
  c1 = PanelSums::zero();
  add_group<true>(panel, panel, row, weight, group[3], group[4], c0, c1);
  c0.add_to(minus);
  c0.add_to(sum);
  c1.add_to(plus + kPanelLanes);
  c1.add_to(sum + kPanelLanes);
}

// sum w (w >= 0 ? a : b) of one pair of outputs.
inline void add_blend_pair(const float* a, const float* b, const std::uint16_t* row,
                           const float* weight, const std::int32_t* group, float* sums) {
  PanelSums c0 = PanelSums::zero(), c1 = PanelSums::zero();
  add_group<true>(a, a, row, weight, group[0], group[1], c0, c1);
  add_group<false>(a, b, row, weight, group[1], group[2], c0, c1);
  add_group<true>(b, b, row, weight, group[2], group[3], c0, c1);
  add_group<false>(b, a, row, weight, group[3], group[4], c0, c1);
  c0.add_to(sums);
  c1.add_to(sums + kPanelLanes);
}

// (outputs, lanes) -> (pixels, channels).
inline void write_sums(const PartitionArgs& args, const float* sums, float* to) {
  for (std::int64_t p = 0; p < args.count; ++p)
    for (std::int64_t m = 0; m < args.outputs; ++m)
      to[p * args.out_stride + m] = sums[m * kPanelLanes + p];
}

template <Mode kMode>
void partition(const PartitionArgs& args) noexcept {
  const std::int64_t rows = args.kernel_height * args.kernel_width * args.channels;
  const std::int64_t pairs = (args.outputs + 1) / 2;
  float* panel_a = args.scratch;
  float* panel_b = panel_a + kPanelRows * kPanelLanes;
  float* plus = panel_b + kPanelRows * kPanelLanes;
  float* minus = plus + 2 * pairs * kPanelLanes;
  const LanePixels lanes = lane_pixels(args);
  const Vec zero = Vec::broadcast(0);
  float* sum = minus + 2 * pairs * kPanelLanes;
  for (float* p = plus; p < sum + 2 * pairs * kPanelLanes; p += Vec::kWidth) zero.store(p);

  for (std::int64_t r0 = 0, k = 0; r0 < rows; r0 += kPanelRows, ++k) {
    const std::int64_t r1 = r0 + kPanelRows < rows ? r0 + kPanelRows : rows;
    const bool split = kMode == Mode::split_product;
    const bool whole = !split || args.nonnegative;
    copy_panel(args, lanes, args.a, r0, r1, panel_a);
    if (!split) copy_panel(args, lanes, args.b, r0, r1, panel_b);
    if (!whole) split_panel(panel_a, panel_b, r1 - r0);
    for (std::int64_t q = 0; q < pairs; ++q) {
      const std::int32_t* group = args.group + (k * pairs + q) * 5;
      float* p = plus + 2 * q * kPanelLanes;
      float* m = minus + 2 * q * kPanelLanes;
      if constexpr (kMode == Mode::split_product) {
        float* s = sum + 2 * q * kPanelLanes;
        add_split_pair(panel_a, args.row, args.weight, group, p, m, s);
        // A negative source turns the sign of every product.
        if (!whole) add_split_pair(panel_b, args.row, args.weight, group, m, p, s);
      } else {
        add_blend_pair(panel_a, panel_b, args.row, args.weight, group, p);
        if constexpr (kMode == Mode::blend_both)
          add_blend_pair(panel_b, panel_a, args.row, args.weight, group, m);
      }
    }
  }
  write_sums(args, plus, args.first);
  if constexpr (has_second(kMode)) write_sums(args, minus, args.second);
  if (args.sum) write_sums(args, sum, args.sum);
}
