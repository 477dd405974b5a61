// Zero-skipping product: lanes run over output channels, the non-zero entries of every source pixel
// come as lists. One block of weights (64 source channels x one kernel row x some outputs, 24 KB
// for a 3x3 kernel and 32 outputs) stays in L1 while all pixels of the call pass over it; the sums
// of a pixel live in registers for as long as its entries of that block last.
//
// An output's terms are added in the order (channel block, kernel row, source column, entry). It
// does not depend on how a call cuts rows, columns or outputs, nor on which of the two loops below
// runs.

// P += what w a gives to the first sum, M to the second; kNegative: a < 0 (split_product).
template <Mode kMode, bool kNegative>
RELPROP_INLINE void accumulate(Vec w, Vec a, Vec& p, Vec& m) {
  if constexpr (kMode == Mode::plain) {
    p = fma(w, a, p);
  } else {
    Vec plus, minus;
    split_bits(w, plus, minus);
    p = fma(kNegative ? minus : plus, a, p);
    m = fma(kNegative ? plus : minus, a, m);
  }
}

// The blend modes, where every source value is a pair.
template <Mode kMode, bool>
RELPROP_INLINE void accumulate(Vec w, const SignPair& ab, Vec& p, Vec& m) {
  p = fma(w, ab.choose(w), p);
  if constexpr (kMode == Mode::blend_both) m = fma(w, ab.swapped().choose(w), m);
}

// The sums of one output pixel.
template <Mode kMode, int kVectors>
struct PixelSums {
  Vec first[kVectors], second[has_second(kMode) ? kVectors : 1];
};

// The lists of one source row and one block of channels.
struct RowLists {
  const float* value;
  const std::uint8_t* index;
  const std::uint32_t* begin;
};

template <Mode kMode>
RELPROP_INLINE auto load_entry(const float* value, std::uint32_t i) {
  if constexpr (reads_b(kMode)) {
    return SignPair::load(value + 2 * i);
  } else {
    return Vec::broadcast(value[i]);
  }
}

// Adds entries [begin, end) of one source pixel to kTaps output pixels at once: weight[t] is the
// block of the tap through which output t sees the pixel.
template <bool kNegative, Mode kMode, int kVectors, int kTaps>
RELPROP_INLINE void add_entries(const RowLists& lists, std::uint32_t begin, std::uint32_t end,
                                const float* const (&weight)[kTaps], std::int64_t stride,
                                PixelSums<kMode, kVectors> (&sums)[kTaps]) {
  for (std::uint32_t i = begin; i < end; ++i) {
    const std::int64_t row = lists.index[i] * stride;
    const auto source = load_entry<kMode>(lists.value, i);
    unrolled<kTaps>([&](auto t) RELPROP_INLINED {
      unrolled<kVectors>([&](auto q) RELPROP_INLINED {
        accumulate<kMode, kNegative>(Vec::load(weight[t] + row + q * Vec::kWidth), source,
                                     sums[t].first[q], sums[t].second[has_second(kMode) ? q : 0]);
      });
    });
  }
}

// Output column x reads source columns x + offset .. x + offset + 2 where they exist, through taps
// that are the same for all columns: a 3-wide kernel of stride 1.
struct SlidingColumns {
  bool valid;
  std::int64_t offset;
  std::int32_t tap[3];
};

inline SlidingColumns sliding_columns(const SkipArgs& args) {
  SlidingColumns s{false, 0, {-1, -1, -1}};
  if (args.x.begin == nullptr || args.kernel_width != 3) return s;
  for (std::int64_t x = args.x0; x < args.x1 && s.tap[0] < 0; ++x) {
    const std::int32_t i = args.x.begin[x];
    if (args.x.begin[x + 1] - i != 3) continue;
    s.offset = args.x.source[i] - x;
    for (int t = 0; t < 3; ++t) s.tap[t] = args.x.tap[i + t];
  }
  if (s.tap[0] < 0) return s;
  for (std::int64_t x = args.x0; x < args.x1; ++x)
    for (std::int32_t i = args.x.begin[x]; i < args.x.begin[x + 1]; ++i) {
      const std::int64_t t = args.x.source[i] - x - s.offset;
      if (t < 0 || t > 2 || s.tap[t] != args.x.tap[i]) return s;
      if (i > args.x.begin[x] && args.x.source[i] <= args.x.source[i - 1]) return s;
    }
  s.valid = true;
  return s;
}

// The outputs [m0, m0 + outputs) of a call: kVectors vectors, of which the last may be shorter.
template <Mode kMode, int kVectors>
struct SkipBlock {
  using Sums = PixelSums<kMode, kVectors>;
  // Three pixels' sums, a weight, its two parts and two broadcast values have to fit in registers.
  static constexpr bool kSlides = 3 * kVectors * (has_second(kMode) ? 2 : 1) + 5 <= kRegisters;

  const SkipArgs& args;
  const float* weight;          // of the block
  std::int64_t stride;          // lanes of a packed weight row, at least kVectors * kWidth
  float *first, *second, *sum;  // at the block's first output
  std::int64_t outputs;
  SlidingColumns sliding;

  std::int64_t columns() const { return args.x1 - args.x0; }

  // Whether vector q of the block has all its lanes; only the last may not.
  RELPROP_INLINE bool whole(int q) const {
    return q < kVectors - 1 || outputs == kVectors * Vec::kWidth;
  }
  RELPROP_INLINE std::int64_t last_lanes() const { return outputs - (kVectors - 1) * Vec::kWidth; }
  RELPROP_INLINE void store_row(const Vec (&v)[kVectors], float* to) const {
    unrolled<kVectors>([&](auto q) RELPROP_INLINED {
      float* at = to + q * Vec::kWidth;
      whole(q) ? v[q].store(at) : v[q].store(at, last_lanes());
    });
  }
  // The sums of a block start from zero and are added to what is there: two short chains of
  // roundings instead of one over all inputs (VGG-16, alpha2-beta1: a third of the error).
  RELPROP_INLINE void put_row(bool fresh, const Vec (&v)[kVectors], float* to) const {
    if (fresh) {
      store_row(v, to);
      return;
    }
    Vec added[kVectors];
    unrolled<kVectors>([&](auto q) RELPROP_INLINED {
      const float* at = to + q * Vec::kWidth;
      added[q] = (whole(q) ? Vec::load(at) : Vec::load(at, last_lanes())) + v[q];
    });
    store_row(added, to);
  }
  // `both`: first + second, made of shorter sums than these two are.
  RELPROP_INLINE void put(bool fresh, const Sums& s, const Vec (&both)[kVectors],
                          std::int64_t at) const {
    put_row(fresh, s.first, first + at);
    if constexpr (has_second(kMode)) put_row(fresh, s.second, second + at);
    if constexpr (has_sum(kMode))
      if (sum != nullptr) put_row(fresh, both, sum + at);
  }
  RELPROP_INLINE void put(bool fresh, const Sums& s, std::int64_t at) const {
    Vec both[kVectors];
    if constexpr (has_sum(kMode))
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { both[q] = s.first[q] + s.second[q]; });
    put(fresh, s, both, at);
  }
  static RELPROP_INLINE void clear(Sums& s) {
    unrolled<kVectors>([&](auto q) RELPROP_INLINED { s.first[q] = Vec::broadcast(0); });
    if constexpr (has_second(kMode))
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { s.second[q] = Vec::broadcast(0); });
  }
  static RELPROP_INLINE void copy(const Sums& from, Sums& to) {
    unrolled<kVectors>([&](auto q) RELPROP_INLINED { to.first[q] = from.first[q]; });
    if constexpr (has_second(kMode))
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { to.second[q] = from.second[q]; });
  }

  // Weights of channel block k, tap 0, and how many floats lie between taps.
  const float* block_weight(std::int64_t k) const {
    return weight + k * args.block * args.kernel_height * args.kernel_width * stride;
  }
  std::int64_t tap_stride(std::int64_t k) const {
    const std::int64_t rest = args.channels - k * args.block;
    return (rest < args.block ? rest : args.block) * stride;
  }

  RELPROP_INLINE RowLists lists(std::int64_t row, std::int64_t k) const {
    const std::int64_t at = row * args.row_entries + args.source_width * k * args.block;
    return {args.value + (reads_b(kMode) ? 2 * at : at), args.index + at,
            args.begin + row * args.row_begins + k * (args.source_width * args.kinds + 1)};
  }

  template <int kTaps>
  RELPROP_INLINE void add_source(const RowLists& lists, std::int64_t column,
                                 const float* const (&w)[kTaps], Sums (&sums)[kTaps]) const {
    const std::uint32_t* at = lists.begin + column * args.kinds;
    add_entries<false>(lists, at[0], at[1], w, stride, sums);
    if constexpr (kMode == Mode::split_product)
      if (args.kinds == 2) add_entries<true>(lists, at[1], at[2], w, stride, sums);
  }

  // What output column x gets from channel block k of one kernel row.
  RELPROP_INLINE void add_block(std::int64_t x, std::int64_t ky, std::int64_t source_row,
                                std::int64_t k, Sums (&sums)[1]) const {
    const float* row = block_weight(k) + ky * args.kernel_width * tap_stride(k);
    const RowLists source = lists(source_row, k);
    if (args.x.begin == nullptr) return add_source<1>(source, x, {row}, sums);
    for (std::int32_t i = args.x.begin[x]; i < args.x.begin[x + 1]; ++i)
      add_source<1>(source, args.x.source[i], {row + args.x.tap[i] * tap_stride(k)}, sums);
  }

  // Any geometry: channel blocks [k0, k1) of one kernel row, pixel by pixel. Every block is summed
  // from zero, here too.
  void add_row(bool fresh, std::int64_t out_row, std::int64_t ky, std::int64_t source_row,
               std::int64_t k0, std::int64_t k1) const {
    for (std::int64_t x = args.x0; x < args.x1; ++x) {
      const std::int64_t at = (out_row * columns() + x - args.x0) * args.out_stride;
      Sums total;
      Vec both[kVectors];
      clear(total);
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { both[q] = Vec::broadcast(0); });
      for (std::int64_t k = k0; k < k1; ++k) {
        Sums sums[1];
        clear(sums[0]);
        add_block(x, ky, source_row, k, sums);
        unrolled<kVectors>([&](auto q) RELPROP_INLINED {
          total.first[q] = total.first[q] + sums[0].first[q];
          if constexpr (has_second(kMode)) total.second[q] = total.second[q] + sums[0].second[q];
          if constexpr (has_sum(kMode)) both[q] = both[q] + (sums[0].first[q] + sums[0].second[q]);
        });
      }
      put(fresh, total, both, at);
    }
  }

  // SlidingColumns: every source pixel's list is read once and feeds the three outputs that see it,
  // whose sums move through the registers. Three times longer lists: a third of the loop exits,
  // which are hard to predict, and three times as many independent sums.
  void add_sliding_row(bool fresh, std::int64_t out_row, std::int64_t ky, std::int64_t source_row,
                       std::int64_t k) const {
    const float* row = block_weight(k) + ky * args.kernel_width * tap_stride(k);
    const float* const w[3] = {row + sliding.tap[0] * tap_stride(k),
                               row + sliding.tap[1] * tap_stride(k),
                               row + sliding.tap[2] * tap_stride(k)};
    const RowLists source = lists(source_row, k);
    const std::int64_t base = out_row * columns() - args.x0;
    Sums sums[3];  // sums[t]: of output x - t, at source column x + offset
    unrolled<3>([&](auto t) RELPROP_INLINED { clear(sums[t]); });
    for (std::int64_t x = args.x0; x < args.x1 + 2; ++x) {
      copy(sums[1], sums[2]);
      copy(sums[0], sums[1]);
      clear(sums[0]);
      const std::int64_t column = x + sliding.offset;
      if (column >= 0 && column < args.source_width) add_source<3>(source, column, w, sums);
      if (x >= args.x0 + 2) put(fresh, sums[2], (base + x - 2) * args.out_stride);
    }
  }

  void clear_row(std::int64_t out_row) const {
    Sums none;
    clear(none);
    for (std::int64_t x = 0; x < columns(); ++x)
      put(true, none, (out_row * columns() + x) * args.out_stride);
  }

  // Kernel row ky of channel blocks [k0, k1) for all output rows of the call.
  void add_kernel_row(std::int64_t ky, std::int64_t k0, std::int64_t k1) const {
    for (std::int64_t y = args.y0; y < args.y1; ++y) {
      bool fresh = k0 == 0;
      std::int64_t source_row = -1;
      for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i) {
        if (args.y.tap[i] < ky) fresh = false;
        if (args.y.tap[i] == ky) source_row = args.y.source[i];
      }
      if (source_row < 0) continue;
      if constexpr (kSlides) {
        if (sliding.valid) {
          add_sliding_row(fresh, y - args.y0, ky, source_row, k0);
          continue;
        }
      }
      add_row(fresh, y - args.y0, ky, source_row, k0, k1);
    }
  }

  void run() const {
    const std::int64_t blocks = (args.channels + args.block - 1) / args.block;
    // Narrow kernels take several channel blocks at a time, so that the sums are not moved between
    // registers and memory for a handful of entries.
    const std::int64_t step = args.kernel_width >= 3 ? 1 : 4 / args.kernel_width;
    if (args.x.begin != nullptr)
      for (std::int64_t y = args.y0; y < args.y1; ++y)
        if (args.y.begin[y] == args.y.begin[y + 1]) clear_row(y - args.y0);
    for (std::int64_t k0 = 0; k0 < blocks; k0 += step) {
      const std::int64_t k1 = k0 + step < blocks ? k0 + step : blocks;
      if (args.x.begin == nullptr) {
        for (std::int64_t y = args.y0; y < args.y1; ++y)
          add_row(k0 == 0, y - args.y0, 0, y, k0, k1);
      } else {
        for (std::int64_t ky = 0; ky < args.kernel_height; ++ky) add_kernel_row(ky, k0, k1);
      }
    }
  }
};

template <Mode kMode, int kVectors>
void skip_block(const SkipArgs& args, std::int64_t m0, std::int64_t m1) {
  const std::int64_t taps = args.kernel_height * args.kernel_width;
  const std::int64_t rest = (args.outputs - m0 + Vec::kWidth - 1) / Vec::kWidth * Vec::kWidth;
  const SkipBlock<kMode, kVectors> block{args,
                                         args.weight + m0 * args.channels * taps,
                                         rest < args.lanes ? rest : args.lanes,
                                         args.first + m0,
                                         has_second(kMode) ? args.second + m0 : nullptr,
                                         args.sum ? args.sum + m0 : nullptr,
                                         m1 - m0,
                                         sliding_columns(args)};
  block.run();
}

template <Mode kMode>
void skip(const SkipArgs& args) noexcept {
  for (std::int64_t m0 = args.m0; m0 < args.m1; m0 += args.lanes) {
    const std::int64_t m1 = m0 + args.lanes < args.m1 ? m0 + args.lanes : args.m1;
    switch ((m1 - m0 + Vec::kWidth - 1) / Vec::kWidth) {
      case 1: skip_block<kMode, 1>(args, m0, m1); break;
      case 2: skip_block<kMode, 2>(args, m0, m1); break;
      case 3: skip_block<kMode, 3>(args, m0, m1); break;
      default: skip_block<kMode, 4>(args, m0, m1); break;
    }
  }
}
constexpr std::int64_t kLaneBlock = kBlockVectors * Vec::kWidth;
constexpr std::int64_t kWindowLanes = kWindowVectors * Vec::kWidth;
static_assert(kBlockVectors == 4, "skip() enumerates the widths of a block");
