// Sign-partitioned product by panels: the sources of a tile of pixels are copied into a panel
// (rows = kernel tap x channel) that stays in L1, and every pair of outputs reads it. Backward, s+
// and s- have a panel each.

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

using PanelEntries = PairEntries<std::uint16_t, kPanelLanes>;

template <Mode kMode>
void partition(const PartitionArgs& args) noexcept {
  const std::int64_t rows = args.kernel_height * args.kernel_width * args.channels;
  float* panel_a = args.scratch;
  float* panel_b = panel_a + kMostPanelRows * kPanelLanes;
  const PairSources from{panel_a, panel_b, args.nonnegative};
  const PairTile tile(panel_b + kMostPanelRows * kPanelLanes, args.outputs,
                      has_sum(kMode) && args.sum != nullptr);

  LaneRuns runs;
  find_runs(args, runs);
  const std::int64_t step = panel_rows(kMode, args.nonnegative);
  for (std::int64_t r0 = 0, k = 0; r0 < rows; r0 += step, ++k) {
    const std::int64_t r1 = least(r0 + step, rows);
    copy_panel(args, runs, args.a, r0, r1, panel_a);
    if constexpr (reads_b(kMode)) {
      copy_panel(args, runs, args.b, r0, r1, panel_b);
    } else if (kMode == Mode::split_product && !args.nonnegative) {
      split_by_sign(panel_a, panel_b, (r1 - r0) * kPanelLanes);
    }
    // 14 x 14 pixels are three tiles of 64 and one of 4.
    with_lane_vectors(args.count, [&](auto width) {
      for (std::int64_t q = 0; q < (args.outputs + 1) / 2; ++q) {
        const PanelEntries entries{args.row, args.weight,
                                   args.group + (k * args.pairs + args.m0 / 2 + q) * 5};
        add_pair<kMode, decltype(width){}>(entries, from, k == 0, q, tile);
      }
    });
  }
  const auto write = [&](const float* sums, float* to) {
    write_lanes(sums, args.outputs, 0, args.count, to, args.out_stride);
  };
  write(tile.plus, args.first);
  if constexpr (has_second(kMode)) write(tile.minus, args.second);
  if (tile.sum != nullptr) write(tile.sum, args.sum);
}
