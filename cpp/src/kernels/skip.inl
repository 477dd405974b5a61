// Zero-skipping product: lanes run over output channels, the non-zero entries of every source pixel
// come as lists. One block of weights (32 source channels x one kernel row x some outputs: 24 KB
// for a 3x3 kernel) stays in L1 while all pixels of the call pass over it; the sums of a pixel live
// in registers for as long as its entries of that block last.
//
// Weights that meet two sums are stored as max(w, 0) and min(w, 0), side by side, and both halves
// are memory operands of multiply-adds. Splitting w in registers takes a minimum and an exclusive
// or, which processors with two 512-bit ports take from the multiply-adds: the split product of
// VGG-16's layers takes 1.7 times longer that way on an Emerald Rapids Xeon. Only where every
// weight is read once, in dense layers, memory is what counts and weights are stored whole
// (SkipArgs::whole).
//
// An output's terms are added in the order (channel block, kernel row, kernel column, entry), in
// pairs with the entries of two columns merged. It does not depend on how a call cuts rows, columns
// or outputs.

// So few pixels do not make it pay to fetch weights ahead.
constexpr std::int64_t kFetchPixels = 4;

// The lists of one source row and one block of channels.
struct RowLists {
  const float* value;
  const std::uint8_t* index;
  const std::uint32_t* begin;
  std::int64_t kinds;
};

// One block of packed weights of kVectors vectors: the outputs [m0, m0 + kVectors * kWidth) of a
// call. Results are written in whole vectors.
template <Mode kMode, bool kWhole, int kVectors>
struct SkipBlock {
  using Sums = PixelSums<kMode, kVectors>;
  static constexpr int kHalves = kWhole ? 1 : weight_halves(kMode);
  static constexpr int kValues = reads_b(kMode) ? 2 : 1;  // of a pixel's entry
  // Floats of one source channel's weights for one tap.
  static constexpr int kTap = kHalves * kVectors * Vec::kWidth;
  // Three pixels' sums and a broadcast value or two have to fit in registers.
  static constexpr bool kSlides =
      !kWhole && 3 * kVectors * weight_halves(kMode) + (reads_b(kMode) ? 2 : 1) < kRegisters;
  // Four pixels' sums, two pixels' values and a vector of weights.
  static constexpr bool kPairs =
      kListsPairs && !kWhole &&
      4 * kVectors * weight_halves(kMode) + (reads_b(kMode) ? 4 : 2) + 2 <= kRegisters;
  // One pixel's sums, twice, see add_entries.
  static constexpr bool kTwice = 2 * kVectors * weight_halves(kMode) + 3 < kRegisters;

  const SkipArgs& args;
  std::int64_t m0;

  // Weights of channel block k and kernel row ky.
  const float* row_weight(std::int64_t k, std::int64_t ky) const {
    const std::int64_t rest = args.channels - k * kListBlock;
    const std::int64_t depth = rest < kListBlock ? rest : kListBlock;
    const std::int64_t rows = k * kListBlock * args.kernel_height + ky * depth;
    const std::int64_t taps = args.kernel_height * args.kernel_width;
    return args.weight + m0 * args.channels * taps * kHalves + rows * args.kernel_width * kTap;
  }

  RELPROP_INLINE RowLists lists(std::int64_t row, std::int64_t k) const {
    const std::int64_t at = row * args.row_entries + args.points * k * kListBlock;
    return {args.value + kValues * (args.pairs ? 2 : 1) * at, args.index + at,
            args.begin + row * args.row_begins + k * (args.points * args.kinds + 1), args.kinds};
  }

  ResultRow results(std::int64_t y) const {
    const std::int64_t at = (y - args.y0) * (args.x1 - args.x0) * args.out_stride + m0;
    return {args.first + at, args.second ? args.second + at : nullptr,
            args.sum ? args.sum + at : nullptr, args.out_stride};
  }

  // Entries [begin, end) of one pixel, seen through one tap. Its sums are too few to hide how long
  // an addition takes, and their chains of roundings too long, so every other entry has sums of its
  // own. stride: floats of a source channel's weights.
  template <bool kNegative, class Stride>
  static RELPROP_INLINE void add_entries(const RowLists& lists, std::uint32_t begin,
                                         std::uint32_t end, const float* w, Stride stride,
                                         Sums& sums) {
    const auto add_entry = [&](std::uint32_t i, Sums& to) RELPROP_INLINED {
      const TapWeights<kMode, kWhole, kVectors> weights(
          w + lists.index[i] * static_cast<std::int64_t>(stride), true);
      const float* value = lists.value + kValues * i;
      const Vec a = Vec::broadcast(value[0]), b = reads_b(kMode) ? Vec::broadcast(value[1]) : a;
      add_tap<kMode, kNegative>(weights, a, b, to);
    };
    std::uint32_t i = begin;
    if constexpr (kTwice) {
      Sums other;
      clear(other);
      for (; i + 1 < end; i += 2) {
        add_entry(i, sums);
        add_entry(i + 1, other);
      }
      if (i < end) add_entry(i, sums);
      add(other, sums);
    } else {
      for (; i < end; ++i) add_entry(i, sums);
    }
  }

  template <class Stride>
  static RELPROP_INLINE void add_source(const RowLists& lists, std::int64_t column, const float* w,
                                        Stride stride, Sums& sums) {
    const std::uint32_t* at = lists.begin + column * lists.kinds;
    add_entries<false>(lists, at[0], at[1], w, stride, sums);
    if constexpr (kMode == Mode::split_product)
      if (lists.kinds == 2) add_entries<true>(lists, at[1], at[2], w, stride, sums);
  }

  // What output column x gets from channel block k of one kernel row.
  RELPROP_INLINE void add_block(std::int64_t x, std::int64_t ky, std::int64_t source_row,
                                std::int64_t k, Sums& sums) const {
    const float* row = row_weight(k, ky);
    const RowLists source = lists(source_row, k);
    if (args.x.begin == nullptr) return add_source(source, x, row, Constant<kTap>{}, sums);
    for (std::int32_t i = args.x.begin[x]; i < args.x.begin[x + 1]; ++i)
      add_source(source, args.x.source[i], row + args.x.tap[i] * kTap, args.kernel_width * kTap,
                 sums);
  }

  // Fetches a part of the weights behind channel blocks [k0, k1), for every pixel: otherwise memory
  // waits while pixels pass over a block, and they wait while the next one comes (dense layers with
  // four and eight rows: 0.69 to 0.9 of the time). One pixel reads a stream of its own, what meets
  // zeros left out.
  RELPROP_INLINE void fetch_behind(std::int64_t source_row, std::int64_t k0, std::int64_t k1,
                                   std::int64_t x) const {
    constexpr std::int64_t kLine = 16;
    const std::int64_t pixels = args.x1 - args.x0;
    for (std::int64_t k = k1; k < least(2 * k1 - k0, args.k1 / kListBlock); ++k) {
      const std::uint32_t* begin = lists(source_row, k).begin;
      if (begin[args.x0 * args.kinds] == begin[args.x1 * args.kinds]) continue;
      const std::int64_t part = ceil_div(kListBlock * kTap / kLine, pixels);
      const float* from = row_weight(k, 0) + (x - args.x0) * part * kLine;
      for (std::int64_t i = 0; i < part; ++i) __builtin_prefetch(from + i * kLine, 0, 2);
    }
  }

  // Any geometry: channel blocks [k0, k1) of one kernel row, pixel by pixel. Every block is summed
  // from zero, here too.
  void add_row(bool fresh, std::int64_t y, std::int64_t ky, std::int64_t source_row,
               std::int64_t k0, std::int64_t k1) const {
    ResultRow to = results(y);
    const bool fetches = args.whole && args.x1 - args.x0 >= kFetchPixels;
    for (std::int64_t x = args.x0; x < args.x1; ++x, to.next()) {
      if (fetches) fetch_behind(source_row, k0, k1, x);
      Sums total;
      Vec both[kVectors];
      clear(total);
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { both[q] = Vec::broadcast(0); });
      for (std::int64_t k = k0; k < k1; ++k) {
        Sums sums;
        clear(sums);
        add_block(x, ky, source_row, k, sums);
        add(sums, total);
        if constexpr (weight_halves(kMode) == 2)
          unrolled<kVectors>([&](auto q) RELPROP_INLINED {
            both[q] = both[q] + (sums.first[q] + sums.second[q]);
          });
      }
      put(fresh, total, both, to);
    }
  }

  // SkipArgs::sliding: every source pixel's list is read once and feeds the three outputs that see
  // it, whose sums move through the registers. Three times longer lists: a third of the loop exits,
  // which are hard to predict, and three times as many independent sums.
  void add_sliding_row(bool fresh, std::int64_t y, std::int64_t ky, std::int64_t source_row,
                       std::int64_t k) const {
    const float* w = row_weight(k, ky);
    const RowLists source = lists(source_row, k);
    ResultRow to = results(y);
    Sums sums[3];  // sums[t]: of output x - t, at source column x + offset
    unrolled<3>([&](auto t) RELPROP_INLINED { clear(sums[t]); });
    const std::int64_t first = args.x0 + args.sliding_offset, end = args.x1 - args.x0 + 2;
    for (std::int64_t i = 0; i < end; ++i) {
      copy(sums[1], sums[2]);
      copy(sums[0], sums[1]);
      clear(sums[0]);
      const std::int64_t column = first + i;
      if (column >= 0 && column < args.points) add_column(source, column, w, sums);
      if (i < 2) continue;
      put(fresh, sums[2], to);
      to.next();
    }
  }

  static RELPROP_INLINE void add_column(const RowLists& lists, std::int64_t column, const float* w,
                                        Sums (&sums)[3]) {
    for (std::uint32_t i = lists.begin[column]; i < lists.begin[column + 1]; ++i) {
      const float *at = w + lists.index[i] * std::int64_t{3 * kTap},
                  *value = lists.value + kValues * i;
      const Vec a = Vec::broadcast(value[0]), b = kValues == 2 ? Vec::broadcast(value[1]) : a;
      unrolled<3>([&](auto t) RELPROP_INLINED {
        const TapWeights<kMode, kWhole, kVectors> weights(at + t * kTap, true);
        add_tap<kMode, false>(weights, a, b, sums[t]);
      });
    }
  }

  // SkipArgs::pairs: the list of a pair of pixels is read once and feeds the four outputs that see
  // it. Every vector of weights is loaded once for both; loads are what bounds this product
  // otherwise. Neighbouring pixels are alike: a pair has 1.02 to 1.25 times the entries of a pixel
  // in VGG-16's larger images, where it takes 0.75 to 0.95 of the time. Behind a max pooling and in
  // small images it has up to twice as many. Pairs start at even columns, wherever the call does.
  void add_pair_row(bool fresh, std::int64_t y, std::int64_t ky, std::int64_t source_row,
                    std::int64_t k) const {
    const float* w = row_weight(k, ky);
    const RowLists source = lists(source_row, k);
    ResultRow to = results(y);
    Sums sums[4];
    unrolled<4>([&](auto i) RELPROP_INLINED { clear(sums[i]); });
    std::int64_t point = (args.x0 + args.sliding_offset) >> 1;
    std::int64_t x = 2 * point - args.sliding_offset - 2;  // of sums[0]
    for (; x < args.x1; x += 2, ++point) {
      if (point >= 0 && point < args.points) add_pair(source, point, w, sums);
      unrolled<2>([&](auto i) RELPROP_INLINED {
        if (x + i < args.x0 || x + i >= args.x1) return;
        put(fresh, sums[i], to);
        to.next();
      });
      copy(sums[2], sums[0]);
      copy(sums[3], sums[1]);
      clear(sums[2]);
      clear(sums[3]);
    }
  }

  // Source columns c and c + 1 feed the output columns c - sliding_offset - 2 + {0, 1, 2, 3}.
  static RELPROP_INLINE void add_pair(const RowLists& lists, std::int64_t point, const float* w,
                                      Sums (&sums)[4]) {
    for (std::uint32_t i = lists.begin[point]; i < lists.begin[point + 1]; ++i) {
      const float *at = w + lists.index[i] * std::int64_t{3 * kTap},
                  *value = lists.value + 2 * kValues * i;
      const Vec a0 = Vec::broadcast(value[0]), a1 = Vec::broadcast(value[kValues]);
      const Vec b0 = kValues == 2 ? Vec::broadcast(value[1]) : a0;
      const Vec b1 = kValues == 2 ? Vec::broadcast(value[3]) : a1;
      unrolled<3>([&](auto t) RELPROP_INLINED {
        const TapWeights<kMode, kWhole, kVectors> weights(at + t * kTap, false);
        add_tap<kMode, false>(weights, a0, b0, sums[2 - t]);
        add_tap<kMode, false>(weights, a1, b1, sums[3 - t]);
      });
    }
  }

  std::int64_t first_block() const { return args.k0 / kListBlock; }

  void clear_row(std::int64_t y) const {
    Sums none;
    clear(none);
    ResultRow to = results(y);
    for (std::int64_t x = args.x0; x < args.x1; ++x, to.next()) put(true, none, to);
  }

  // Kernel row ky of channel blocks [k0, k1) for all output rows of the call.
  void add_kernel_row(std::int64_t ky, std::int64_t k0, std::int64_t k1) const {
    for (std::int64_t y = args.y0; y < args.y1; ++y) {
      bool fresh = k0 == first_block();
      std::int64_t source_row = -1;
      for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i) {
        if (args.y.tap[i] < ky) fresh = false;
        if (args.y.tap[i] == ky) source_row = args.y.source[i];
      }
      if (source_row < 0) continue;
      if constexpr (kPairs) {
        if (args.pairs) {
          add_pair_row(fresh, y, ky, source_row, k0);
          continue;
        }
      }
      if constexpr (kSlides) {
        if (args.sliding) {
          add_sliding_row(fresh, y, ky, source_row, k0);
          continue;
        }
      }
      add_row(fresh, y, ky, source_row, k0, k1);
    }
  }

  void run() const {
    const std::int64_t blocks = (args.k1 + kListBlock - 1) / kListBlock;
    // Narrow kernels take several channel blocks at a time, so that the sums are not moved between
    // registers and memory for a handful of entries. Their weights have to stay in L1 together.
    const std::int64_t most = 4 / kHalves;
    const std::int64_t step = args.kernel_width >= most ? 1 : most / args.kernel_width;
    if (args.x.begin != nullptr)
      for (std::int64_t y = args.y0; y < args.y1; ++y)
        if (args.y.begin[y] == args.y.begin[y + 1]) clear_row(y);
    for (std::int64_t k0 = first_block(); k0 < blocks; k0 += step) {
      const std::int64_t k1 = k0 + step < blocks ? k0 + step : blocks;
      if (args.x.begin == nullptr) {
        for (std::int64_t y = args.y0; y < args.y1; ++y)
          add_row(k0 == first_block(), y, 0, y, k0, k1);
      } else {
        for (std::int64_t ky = 0; ky < args.kernel_height; ++ky) add_kernel_row(ky, k0, k1);
      }
    }
  }
};

template <Mode kMode, bool kWhole>
inline void skip_blocks(const SkipArgs& args) {
  for (std::int64_t m0 = args.m0; m0 < args.m1; m0 += args.lanes) {
    const std::int64_t rest = args.m1 - m0, outputs = rest < args.lanes ? rest : args.lanes;
    switch ((outputs + Vec::kWidth - 1) / Vec::kWidth) {
      case 1: SkipBlock<kMode, kWhole, 1>{args, m0}.run(); break;
      case 2: SkipBlock<kMode, kWhole, 2>{args, m0}.run(); break;
      case 3: SkipBlock<kMode, kWhole, 3>{args, m0}.run(); break;
      default: SkipBlock<kMode, kWhole, 4>{args, m0}.run(); break;
    }
  }
}

template <Mode kMode>
void skip(const SkipArgs& args) noexcept {
  if (weight_halves(kMode) == 2 && args.whole) return skip_blocks<kMode, true>(args);
  skip_blocks<kMode, false>(args);
}
constexpr std::int64_t kLaneBlock = kBlockVectors * Vec::kWidth;
constexpr std::int64_t kSlidingLanes = kSlidingVectors * Vec::kWidth;
static_assert(kBlockVectors == 4, "skip() enumerates the widths of a block");
