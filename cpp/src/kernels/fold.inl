// The last step of a zero-skipping product onto few outputs: lanes of the product were the outputs
// of all taps, so that a source pixel's entries meet a whole vector of weights; here every output
// pixel collects what its taps got.

void fold(const FoldArgs& given) noexcept {
  const FoldArgs args = given;
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
