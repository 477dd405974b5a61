// The last step of a zero-skipping product onto few outputs: lanes of the product were the outputs
// of all taps, so that a source pixel's entries meet a whole vector of weights; here every output
// pixel collects what its taps got.

// Any geometry: lanes over the outputs of a pixel.
inline void fold_pixels(const FoldArgs& args) {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width; ++x) {
      float* to = args.out + ((y - args.y0) * args.out_width + x) * args.outputs;
      for_vectors(args.outputs, [&](std::int64_t m, auto mem) RELPROP_INLINED {
        Vec sum = Vec::broadcast(0);
        for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i) {
          const float* row = args.taps +
                             (args.y.source[i] - args.row0) * args.source_width * args.stride +
                             args.y.tap[i] * args.kernel_width * args.outputs + m;
          for (std::int32_t j = args.x.begin[x]; j < args.x.begin[x + 1]; ++j)
            sum = sum + mem(row + args.x.source[j] * args.stride + args.x.tap[j] * args.outputs);
        }
        mem(sum, to + m);
      });
    }
}

// Windows whose taps are shifts: rows of pixels are turned into planes, one per tap and output,
// between margins of zeros, and lanes run over the pixels of a phase (25 taps, stride 1: a sixth of
// the time).
inline void make_planes(const FoldArgs& args) {
  const std::int64_t lanes = args.kernel_height * args.kernel_width * args.outputs;
  for (std::int64_t row = 0; row < args.row1 - args.row0; ++row) {
    float* planes = args.planes + row * lanes * args.plane_width;
    for (std::int64_t l = 0; l < lanes; ++l) {
      float* plane = planes + l * args.plane_width;
      for (std::int64_t i = 0; i < args.plane_margin; ++i) plane[i] = 0;
      for (std::int64_t i = args.plane_margin + args.source_width; i < args.plane_width; ++i)
        plane[i] = 0;
    }
    for (std::int64_t x = 0; x < args.source_width; x += Vec::kWidth)
      for (std::int64_t l = 0; l < lanes; l += Vec::kWidth)
        transpose_block(
            block_extent(x, args.source_width), block_extent(l, lanes),
            [&](std::int64_t i) {
              return args.taps + (row * args.source_width + x + i) * args.stride + l;
            },
            [&](std::int64_t i) {
              return planes + (l + i) * args.plane_width + args.plane_margin + x;
            });
  }
}

// kWidth output columns of one phase, q to q + kWidth - 1 of phase r.
inline Vec fold_columns(const FoldArgs& args, std::int64_t y, std::int64_t m, std::int64_t r,
                        std::int64_t q) {
  const std::int64_t lanes = args.kernel_height * args.kernel_width * args.outputs;
  const std::int32_t* shift = args.shift + r * args.kernel_width;
  Vec sum = Vec::broadcast(0);
  for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i) {
    const std::int64_t first = (args.y.source[i] - args.row0) * lanes +
                               args.y.tap[i] * args.kernel_width * args.outputs + m;
    for (std::int64_t t = 0; t < args.kernel_width; ++t)
      if (shift[t] != kNoShift)
        sum = sum + Vec::load(args.planes + (first + t * args.outputs) * args.plane_width +
                              args.plane_margin + q + shift[t]);
  }
  return sum;
}

inline void fold_planes(const FoldArgs& args) {
  make_planes(args);
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t m = 0; m < args.outputs; ++m)
      for (std::int64_t r = 0; r < args.period; ++r) {
        const std::int64_t columns = (args.out_width - r + args.period - 1) / args.period;
        for (std::int64_t q = 0; q < columns; q += Vec::kWidth) {
          float pixel[Vec::kWidth];
          fold_columns(args, y, m, r, q).store(pixel);
          const std::int64_t x = q * args.period + r, n = block_extent(q, columns);
          float* to = args.out + ((y - args.y0) * args.out_width + x) * args.outputs + m;
          for (std::int64_t p = 0; p < n; ++p) to[p * args.period * args.outputs] = pixel[p];
        }
      }
}

void fold(const FoldArgs& args) noexcept {
  args.shift != nullptr ? fold_planes(args) : fold_pixels(args);
}
