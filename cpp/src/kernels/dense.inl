// Plain product of dense sources: lanes run over output channels, and the sums of a few output
// pixels stay in registers together. A vector of weights is loaded once for all of them and a
// source value is broadcast once for all vectors: 10 loads for 24 multiply-adds (AVX-512). A panel
// of weights (rows = (tap, channel) pairs x one block of outputs, 32 KB) stays in L1 while all
// pixels of the call pass over it.
//
// Where products are summed by sign, this scheme needs two multiply-adds for each and is no faster
// than the sign-partitioned product (ResNet-50 with it 1.0 to 1.1, SqueezeNet 1.05 to 1.1 of the
// time).
//
// An output's sum starts from zero every few rows; those of a panel are added up, then the panels,
// so that no chain of roundings is long. It does not depend on how a call cuts pixels or outputs.

// Sums are as many as hide the latency of a multiply-add: 12.
constexpr int dense_pixels(int vectors) { return vectors == 1 ? 12 : 6; }
// Rows of a chain: 32 make SqueezeNet's epsilon heatmaps 1.25 times less exact.
constexpr std::int64_t kDenseChain = 16;

// The output pixels of a group. It may reach past the last pixel of the call, which it then has
// several times.
template <int kPixels>
struct DenseGroup {
  std::int64_t pixel[kPixels], y[kPixels], x[kPixels];  // without a division for each

  DenseGroup(const DenseArgs& args, std::int64_t first) {
    const std::int64_t last = args.p0 + args.count - 1, width = args.out_width;
    pixel[0] = args.p0 + first;
    y[0] = pixel[0] / width;
    x[0] = pixel[0] % width;
    for (int i = 1; i < kPixels; ++i) {
      const bool more = pixel[i - 1] < last, turn = more && x[i - 1] + 1 == width;
      pixel[i] = pixel[i - 1] + more;
      y[i] = y[i - 1] + turn;
      x[i] = turn ? 0 : x[i - 1] + more;
    }
  }

  // Where the source of pixel i begins for one tap, at channel c0.
  const float* source(const DenseArgs& args, std::int64_t i, std::int64_t tap,
                      std::int64_t c0) const {
    if (args.row_source == nullptr) return args.a + pixel[i] * args.source_stride + c0;
    const std::int64_t ky = tap / args.kernel_width, kx = tap % args.kernel_width;
    const std::int64_t row = args.row_source[ky * args.out_height + y[i]];
    const std::int64_t column = args.column_source[kx * args.out_width + x[i]];
    return (row | column) < 0 ? kZeros : args.a + row + column + c0;
  }
};

// One block of kVectors vectors of outputs, the one that begins at output m0.
template <int kVectors>
struct DenseBlock {
  static constexpr std::int64_t kRow = kVectors * Vec::kWidth;
  static constexpr int kPixels = dense_pixels(kVectors);

  const DenseArgs& args;
  std::int64_t m0;

  using Sums = Vec[kPixels][kVectors];

  // Rows [r0, r1) of the weights for the pixels from `first`.
  void add_group(std::int64_t first, std::int64_t r0, std::int64_t r1) const {
    const DenseGroup<kPixels> group(args, first);
    const float* w = args.weight + m0 * args.rows + r0 * kRow;
    Sums panel;  // in memory where the registers are full
    unrolled<kPixels>([&](auto i) RELPROP_INLINED {
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { panel[i][q] = Vec::broadcast(0); });
    });
    for (std::int64_t r = r0; r < r1;) {
      const std::int64_t c0 = r % args.channels;
      const std::int64_t of_tap = least(args.channels - c0, r1 - r);
      const float* from[kPixels];
      for (std::int64_t i = 0; i < kPixels; ++i)
        from[i] = group.source(args, i, r / args.channels, c0);
      for (std::int64_t c = 0; c < of_tap; c += kDenseChain)
        add_rows(from, w, c, least(c + kDenseChain, of_tap), panel);
      w += of_tap * kRow;
      r += of_tap;
    }
    float* to = args.out + first * args.out_stride + m0;
    unrolled<kPixels>([&](auto i) RELPROP_INLINED {
      if (first + i < args.count) put_vectors(r0 == 0, panel[i], to + i * args.out_stride);
    });
  }

  // Rows [c, end) of those that `from` and w begin with.
  static RELPROP_INLINE void add_rows(const float* const (&from)[kPixels], const float* w,
                                      std::int64_t c, std::int64_t end, Sums& panel) {
    Sums sums;
    unrolled<kPixels>([&](auto i) RELPROP_INLINED {
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { sums[i][q] = Vec::broadcast(0); });
    });
    for (; c < end; ++c) {
      Vec weights[kVectors];
      unrolled<kVectors>(
          [&](auto q) RELPROP_INLINED { weights[q] = load_once(w + c * kRow + q * Vec::kWidth); });
      unrolled<kPixels>([&](auto i) RELPROP_INLINED {
        const Vec a = Vec::broadcast(from[i][c]);
        unrolled<kVectors>([&](auto q)
                               RELPROP_INLINED { sums[i][q] = fma(weights[q], a, sums[i][q]); });
      });
    }
    unrolled<kPixels>([&](auto i) RELPROP_INLINED {
      unrolled<kVectors>([&](auto q) RELPROP_INLINED { panel[i][q] = panel[i][q] + sums[i][q]; });
    });
  }

  void run() const {
    constexpr std::int64_t kStep = panel_rows(Mode::plain, true);
    for (std::int64_t r0 = 0; r0 < args.rows; r0 += kStep)
      for (std::int64_t first = 0; first < args.count; first += kPixels)
        add_group(first, r0, least(r0 + kStep, args.rows));
  }
};

void dense(const DenseArgs& args) noexcept {
  for (std::int64_t m0 = args.m0; m0 < args.m1; m0 += kDenseVectors * Vec::kWidth) {
    const std::int64_t vectors = (args.m1 - m0 + Vec::kWidth - 1) / Vec::kWidth;
    with_vectors<kDenseVectors>(static_cast<int>(vectors),
                                [&](auto count) { DenseBlock<decltype(count){}>{args, m0}.run(); });
  }
}
constexpr std::int64_t kDenseLanes = kDenseVectors * Vec::kWidth;
