// Zero-skipping product of few channels onto few outputs of a window, behind a max pooling: with a
// handful of entries in a pixel's list, leaving the loop over it costs more than its products, and
// gathering what the taps gave costs as much again. Here the entries of a source row are one list.
// Each adds its run of weights, the kernel columns and outputs side by side, to the outputs that it
// reaches, kernel row by kernel row.
//
// The rows that are being summed lie in a ring. It has several copies of every column, in turns, so
// that neighbours do not wait for each other's stores; they are added up when a row is complete. An
// output's terms are added by copy, in the order of sources and channels, wherever a call begins.

// Entries that are listed at a time: positions within a source row that an index holds.
constexpr std::int64_t kScatterBlock = 256;

template <Mode kMode, int kVectors>
struct Scatter {
  static constexpr int kSums = has_second(kMode) ? 2 : 1, kValues = reads_b(kMode) ? 2 : 1;
  static constexpr std::int64_t kRun = kVectors * Vec::kWidth;

  const ScatterArgs& args;
  Mask last;  // lanes of a run's last vector

  explicit Scatter(const ScatterArgs& a) : args(a) {
    float lane[Vec::kWidth];
    for (int i = 0; i < Vec::kWidth; ++i) lane[i] = static_cast<float>(i);
    const std::int64_t lanes = args.run - (kVectors - 1) * Vec::kWidth;
    last = Vec::load(lane) < Vec::broadcast(static_cast<float>(lanes));
  }

  std::int64_t ring_floats() const { return args.copies * args.copy_floats; }
  float* ring_row(std::int64_t y) const {
    return args.scratch + (y - args.y0) % args.kernel_height * ring_floats();
  }
  void clear(float* row) const {
    for (std::int64_t i = 0; i < ring_floats(); i += Vec::kWidth) Vec::broadcast(0).store(row + i);
  }

  // What lies behind a run is left as it is, whatever is added: the value may be NaN. It is written
  // again nevertheless: a masked store, which a compiler makes of a plain load here, keeps the next
  // load of the place waiting (Zen 4: 4 times as long).
  static RELPROP_INLINE void add_run(const float* w, Vec a, Vec b, Mask last, float* to) {
    unrolled<kVectors>([&](auto q) RELPROP_INLINED {
      const Vec old = load_once(to + q * Vec::kWidth);
      Vec sum = fma(Vec::load(w + q * Vec::kWidth), a, old);
      if constexpr (kValues == 2) sum = fma(Vec::load(w + kRun + q * Vec::kWidth), b, sum);
      if constexpr (q == kVectors - 1) sum = select(last, sum, old);
      sum.store(to + q * Vec::kWidth);
    });
  }

  // Positions [p0, p0 + n) of source row y, through kernel rows [k0, k1).
  void add_block(std::int64_t y, std::int64_t p0, std::int64_t n, float* const* rows,
                 std::int64_t k0, std::int64_t k1) const {
    float value[kValues * (kScatterBlock + Vec::kWidth)];
    std::uint8_t index[kScatterBlock + Vec::kWidth];
    int entries = 0;
    for (std::int64_t p = 0; p < n; p += kListBlock) {
      const std::int64_t at = y * args.source_row + p0 + p;
      const float* from[kValues] = {args.a + at};
      if constexpr (kValues == 2) from[1] = args.b + at;
      entries += pack_point(from, static_cast<int>(least<std::int64_t>(kListBlock, n - p)),
                            static_cast<int>(p), value + kValues * entries, index + entries);
    }
    // In registers: the stores below could change what `args` points at.
    const float* weight = args.weight + k0 * kValues * kRun;
    const std::int32_t *weight_at = args.weight_at + p0, *column = args.column + p0;
    const Mask lanes = last;
    for (int e = 0; e < entries; ++e) {
      const Vec a = Vec::broadcast(value[kValues * e]);
      const Vec b = kValues == 2 ? Vec::broadcast(value[kValues * e + 1]) : a;
      const float* w = weight + weight_at[index[e]];
      const std::int64_t at = column[index[e]];
      for (std::int64_t k = k0; k < k1; ++k, w += kValues * kRun)
        add_run(w, a, b, lanes, rows[k] + at);
    }
  }

  void add_row(std::int64_t y) const {
    const std::int64_t base = args.row_base[y];
    const std::int64_t k0 = base < args.y0 ? args.y0 - base : 0;
    const std::int64_t k1 = least(args.kernel_height, args.y1 - base);
    float* rows[kMostScatterRows];
    for (std::int64_t k = k0; k < k1; ++k) rows[k] = ring_row(base + k);
    for (std::int64_t p0 = 0; p0 < args.source_row; p0 += kScatterBlock)
      add_block(y, p0, least(kScatterBlock, args.source_row - p0), rows, k0, k1);
  }

  // Output row y is complete, and its place in the ring free.
  void put_row(std::int64_t y) const {
    const std::int64_t values = args.out_width * args.outputs;
    float* row = ring_row(y);
    float* mixed = args.scratch + args.kernel_height * ring_floats();
    float* to = kSums == 1 ? args.first + (y - args.y0) * values : mixed;
    for_vectors(kSums * values, [&](std::int64_t i, auto mem) {
      const float* from = row + args.first_column + i;
      Vec sum = mem(from);
      for (std::int64_t c = 1; c < args.copies; ++c) sum = sum + mem(from + c * args.copy_floats);
      mem(sum, to + i);
    });
    clear(row);
    if constexpr (kSums == 2) {
      float* first = args.first + (y - args.y0) * values;
      float* second = args.second + (y - args.y0) * values;
      for (std::int64_t x = 0; x < args.out_width; ++x, mixed += 2 * args.outputs)
        for (std::int64_t m = 0; m < args.outputs; ++m) {
          *first++ = mixed[m];
          *second++ = mixed[args.outputs + m];
        }
    }
  }

  void run() const {
    for (std::int64_t k = 0; k < args.kernel_height; ++k) clear(args.scratch + k * ring_floats());
    std::int64_t done = args.y0;
    for (std::int64_t y = args.source_y0; y < args.source_y1; ++y) {
      for (; done < least<std::int64_t>(args.row_base[y], args.y1); ++done) put_row(done);
      add_row(y);
    }
    for (; done < args.y1; ++done) put_row(done);
  }
};

template <Mode kMode>
void scatter(const ScatterArgs& args) noexcept {
  with_vectors<kMostScatterVectors>(
      static_cast<int>(ceil_div(args.run, Vec::kWidth)),
      [&](auto count) { Scatter<kMode, decltype(count){}>(args).run(); });
}
