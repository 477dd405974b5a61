// Sign-partitioned product of few channels and outputs: copying the sources of every tap into a
// panel takes longer than the products of so few (by panels LeNet's first layer forward: 29 of 135
// us). Here the sources are copied once per column of the kernel, into planes that are shifted by
// that column, and an entry of the weights reads them at its row: lanes run over the columns of a
// plane and on into its next row. One plane for all columns, read where the tap points, takes 1.1
// times as long: most vectors lie across two cache lines.

// Source pixels of one row, channel by channel, between zeros: to[c * stride + i] is column
// args.column_shift's least + i.
inline void copy_row(const PlanarArgs& args, const float* from, std::int64_t column0,
                     std::int64_t stride, float* to) {
  const std::int64_t first = column0 < 0 ? least(-column0, stride) : 0;
  std::int64_t end = least(stride, args.source_width - column0);
  if (end < first) end = first;
  for (std::int64_t c = 0; c < args.channels; ++c) {
    for (std::int64_t i = 0; i < first; ++i) to[c * stride + i] = 0;
    for (std::int64_t i = end; i < stride; ++i) to[c * stride + i] = 0;
  }
  from += (column0 + first) * args.source_stride;
  to += first;
  if (args.channels < kFewRows) {
    for (std::int64_t c = 0; c < args.channels; ++c)
      for (std::int64_t i = 0; i < end - first; ++i)
        to[c * stride + i] = from[i * args.source_stride + c];
    return;
  }
  for (std::int64_t i = 0; i < end - first; i += Vec::kWidth)
    for (std::int64_t c = 0; c < args.channels; c += Vec::kWidth)
      transpose_block(
          block_extent(i, end - first), block_extent(c, args.channels),
          [&](std::int64_t k) { return from + (i + k) * args.source_stride + c; },
          [&](std::int64_t k) { return to + (c + k) * stride + i; });
}

// Row r of the planes that begin at `planes`, from f(vector of the copied row).
template <class F>
inline void shift_row(const PlanarArgs& args, const float* row, std::int64_t column0,
                      std::int64_t stride, float* planes, F f) {
  for (std::int64_t c = 0; c < args.channels; ++c)
    for (std::int64_t t = 0; t < args.kernel_width; ++t, planes += args.plane_floats) {
      const float* from = row + c * stride + args.column_shift[t] - column0;
      for (std::int64_t i = 0; i < args.plane_width; i += Vec::kWidth)
        f(Vec::load(from + i)).store(planes + i);
    }
}

inline void clear_row(const PlanarArgs& args, float* planes) {
  for (std::int64_t k = 0; k < args.channels * args.kernel_width; ++k)
    for (std::int64_t i = 0; i < args.plane_width; i += Vec::kWidth)
      Vec::broadcast(0).store(planes + k * args.plane_floats + i);
}

// Planes of `source`; with `negative` those of its positive and of its negative part.
inline void make_planes(const PlanarArgs& args, const float* source, float* row, float* planes,
                        float* negative) {
  std::int64_t column0 = args.column_shift[0], last = column0;
  for (std::int64_t t = 1; t < args.kernel_width; ++t) {
    column0 = least<std::int64_t>(column0, args.column_shift[t]);
    last = -least<std::int64_t>(-last, -args.column_shift[t]);
  }
  const std::int64_t stride = args.plane_width + last - column0;
  for (std::int64_t r = 0; r < args.plane_rows; ++r, planes += args.plane_width) {
    const std::int64_t y = args.row0 + r;
    if (y < 0 || y >= args.source_height) {
      clear_row(args, planes);
      if (negative != nullptr) clear_row(args, negative + r * args.plane_width);
      continue;
    }
    copy_row(args, source + y * args.source_width * args.source_stride, column0, stride, row);
    if (negative == nullptr) {
      shift_row(args, row, column0, stride, planes, [](Vec v) { return v; });
    } else {
      shift_row(args, row, column0, stride, planes, [](Vec v) { return positive_bits(v); });
      shift_row(args, row, column0, stride, negative + r * args.plane_width,
                [](Vec v) { return negative_bits(v); });
    }
  }
}

// Lanes [lane0, lane0 + count) of the tile, as far as they are pixels of the output.
inline void write_pixels(const PlanarArgs& args, std::int64_t lane0, std::int64_t count,
                         const float* sums, float* to) {
  for (std::int64_t lane = lane0; lane < lane0 + count;) {
    const std::int64_t y = lane / args.plane_width, x = lane % args.plane_width;
    const std::int64_t rest = lane0 + count - lane;
    if (x < args.out_width)
      write_lanes(sums, args.outputs, lane - lane0, least(args.out_width - x, rest),
                  to + (y * args.out_width + x) * args.out_stride, args.out_stride);
    lane += least(args.plane_width - x, rest);
  }
}

using PlaneEntries = PairEntries<std::int32_t, 1>;

template <Mode kMode>
void planar(const PlanarArgs& args) noexcept {
  const std::int64_t floats = args.channels * args.kernel_width * args.plane_floats;
  float* planes_a = args.scratch;
  float* planes_b = planes_a + floats;
  const PairTile tile(planes_b + floats, args.outputs, has_sum(kMode) && args.sum != nullptr);
  float* row = tile.plus + kPairArrays * round_up(args.outputs, 2) * kPanelLanes;
  const bool by_sign = kMode == Mode::split_product && !args.nonnegative;
  make_planes(args, args.a, row, planes_a, by_sign ? planes_b : nullptr);
  if constexpr (reads_b(kMode)) make_planes(args, args.b, row, planes_b, nullptr);

  const std::int64_t lanes = args.rows * args.plane_width;
  for (std::int64_t lane = 0; lane < lanes; lane += kPanelLanes) {
    const std::int64_t count = least(kPanelLanes, lanes - lane);
    const PairSources from{planes_a + lane, planes_b + lane, args.nonnegative};
    with_lane_vectors(count, [&](auto width) {
      for (std::int64_t q = 0; q < (args.outputs + 1) / 2; ++q)
        add_pair<kMode, decltype(width){}>(
            PlaneEntries{args.offset, args.weight, args.group + q * 5}, from, true, q, tile);
    });
    write_pixels(args, lane, count, tile.plus, args.first);
    if constexpr (has_second(kMode)) write_pixels(args, lane, count, tile.minus, args.second);
    if (tile.sum != nullptr) write_pixels(args, lane, count, tile.sum, args.sum);
  }
}
