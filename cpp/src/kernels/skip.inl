// Zero-skipping product: lanes run over output channels, the non-zero entries of every source pixel
// come as lists. One block of weights (32 source channels x one kernel row x up to 4 vectors, 24 KB
// for a 3x3 kernel with AVX-512) stays in L1 while all pixels of the call pass over it; the sums of a
// pixel live in registers for as long as its entries of that block last.

// P += what w * (a, b) gives to the first sum, M to the second; kNegative: a < 0 (split_product).
template <Mode kMode, bool kNegative>
inline void accumulate(Vec w, Vec a, Vec b, Vec& p, Vec& m) {
  const Vec zero = Vec::broadcast(0);
  if constexpr (kMode == Mode::plain) {
    p = fma(w, a, p);
  } else if constexpr (kMode == Mode::split_product || kMode == Mode::split_weight) {
    const Vec positive = max(w, zero), negative = min(w, zero);
    p = fma(kNegative ? negative : positive, a, p);
    m = fma(kNegative ? positive : negative, a, m);
  } else {
    const Mask below = w < zero;
    p = fma(w, select(below, b, a), p);
    if constexpr (kMode == Mode::blend_both) m = fma(w, select(below, a, b), m);
  }
}

template <Mode kMode, int kVectors, bool kNegative>
inline void add_entries(const float* weight, const float* value_a, const float* value_b,
                        const std::uint8_t* index, int begin, int end, Vec* p, Vec* m) {
  for (int t = begin; t < end; ++t) {
    const float* row = weight + index[t] * (kVectors * Vec::kWidth);
    const Vec a = Vec::broadcast(value_a[t]);
    const Vec b = reads_b(kMode) ? Vec::broadcast(value_b[t]) : a;
#pragma GCC unroll 4
    for (int q = 0; q < kVectors; ++q)
      accumulate<kMode, kNegative>(Vec::load(row + q * Vec::kWidth), a, b, p[q], m[q]);
  }
}

// A block of at most kVectors vectors of outputs; the last vector may hold fewer than kWidth.
template <Mode kMode, int kVectors>
struct SkipBlock {
  static constexpr int kLanes = kVectors * Vec::kWidth;
  const SkipArgs& args;
  const float* weight;      // of the block
  float *first, *second;    // at the block's first output
  int outputs;

  void load(const float* from, Vec* v) const {
    for (int q = 0; q < kVectors; ++q) {
      const int rest = outputs - q * Vec::kWidth;
      v[q] = rest >= Vec::kWidth ? Vec::load(from + q * Vec::kWidth)
                                 : Vec::load(from + q * Vec::kWidth, rest);
    }
  }
  void store(const Vec* v, float* to) const {
    for (int q = 0; q < kVectors; ++q) {
      const int rest = outputs - q * Vec::kWidth;
      if (rest >= Vec::kWidth) {
        v[q].store(to + q * Vec::kWidth);
      } else {
        v[q].store(to + q * Vec::kWidth, rest);
      }
    }
  }

  // Entries of channel blocks [k0, k1) of one source pixel; `tap` weights begin at w.
  void add_pixel(std::int64_t pixel, std::int64_t tap, std::int64_t taps, std::int64_t k0,
                 std::int64_t k1, Vec* p, Vec* m) const {
    const std::uint8_t* count = args.count + pixel * args.count_stride + 2 * k0;
    for (std::int64_t k = k0; k < k1; ++k, count += 2) {
      const std::int64_t c = k * kListBlock, rest = args.channels - c;
      const std::int64_t rows = rest < kListBlock ? rest : kListBlock;
      const std::int64_t at = pixel * args.list_stride + c;
      const float* w = weight + (c * taps + tap * rows) * kLanes;
      const float* b = reads_b(kMode) ? args.value_b + at : nullptr;
      const int kind0 = count[0], kind1 = count[1];
      add_entries<kMode, kVectors, false>(w, args.value_a + at, b, args.index + at, 0, kind0, p, m);
      if constexpr (kMode == Mode::split_product)
        add_entries<kMode, kVectors, true>(w, args.value_a + at, b, args.index + at, kind0,
                                           kind0 + kind1, p, m);
    }
  }

  // Adds kernel row ky (source row sy) to the pixels of one output row.
  void add_row(std::int64_t row, std::int64_t ky, std::int64_t sy, std::int64_t k0,
               std::int64_t k1) const {
    const std::int64_t taps = args.kernel_height * args.kernel_width;
    const std::int64_t columns = args.x1 - args.x0;
    for (std::int64_t x = args.x0; x < args.x1; ++x) {
      const std::int64_t at = (row * columns + x - args.x0) * args.out_stride;
      Vec p[kVectors], m[kVectors];
      load(first + at, p);
      if constexpr (has_second(kMode)) load(second + at, m);
      if (args.x.begin == nullptr) {
        add_pixel(x, 0, taps, k0, k1, p, m);
      } else {
        for (std::int32_t i = args.x.begin[x]; i < args.x.begin[x + 1]; ++i)
          add_pixel(sy * args.source_width + args.x.source[i],
                    ky * args.kernel_width + args.x.tap[i], taps, k0, k1, p, m);
      }
      store(p, first + at);
      if constexpr (has_second(kMode)) store(m, second + at);
    }
  }

  void clear() const {
    const std::int64_t pixels = (args.y1 - args.y0) * (args.x1 - args.x0);
    Vec zero[kVectors];
    for (int q = 0; q < kVectors; ++q) zero[q] = Vec::broadcast(0);
    for (std::int64_t p = 0; p < pixels; ++p) {
      store(zero, first + p * args.out_stride);
      if constexpr (has_second(kMode)) store(zero, second + p * args.out_stride);
    }
  }

  void run() const {
    clear();
    const std::int64_t blocks = (args.channels + kListBlock - 1) / kListBlock;
    // Narrow kernels take several channel blocks at a time, so that the sums are not moved between
    // registers and memory for a handful of entries.
    const std::int64_t step = args.kernel_width >= 3 ? 1 : 4 / args.kernel_width;
    for (std::int64_t k0 = 0; k0 < blocks; k0 += step) {
      const std::int64_t k1 = k0 + step < blocks ? k0 + step : blocks;
      if (args.x.begin == nullptr) {
        add_row(0, 0, 0, k0, k1);
        continue;
      }
      for (std::int64_t ky = 0; ky < args.kernel_height; ++ky)
        for (std::int64_t y = args.y0; y < args.y1; ++y)
          for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i)
            if (args.y.tap[i] == ky) add_row(y - args.y0, ky, args.y.source[i], k0, k1);
    }
  }
};

template <Mode kMode, int kVectors>
void skip_block(const SkipArgs& args, std::int64_t m0, std::int64_t m1) {
  const std::int64_t taps = args.kernel_height * args.kernel_width;
  const SkipBlock<kMode, kVectors> block{args, args.weight + m0 * args.channels * taps,
                                         args.first + m0,
                                         has_second(kMode) ? args.second + m0 : nullptr,
                                         static_cast<int>(m1 - m0)};
  block.run();
}

constexpr std::int64_t kLaneBlock = kBlockVectors * Vec::kWidth;

template <Mode kMode>
void skip(const SkipArgs& args) noexcept {
  for (std::int64_t m0 = args.m0; m0 < args.m1; m0 += kLaneBlock) {
    const std::int64_t m1 = m0 + kLaneBlock < args.m1 ? m0 + kLaneBlock : args.m1;
    switch ((m1 - m0 + Vec::kWidth - 1) / Vec::kWidth) {
      case 1: skip_block<kMode, 1>(args, m0, m1); break;
      case 2: skip_block<kMode, 2>(args, m0, m1); break;
      case 3: skip_block<kMode, 3>(args, m0, m1); break;
      default: skip_block<kMode, 4>(args, m0, m1); break;
    }
  }
}
static_assert(kBlockVectors == 4, "skip() enumerates the widths of a block");
