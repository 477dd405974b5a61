// Pooling, lanes over channels.

// A source index rides through the float registers as its bits.
inline Vec index_bits(std::int32_t index) {
  float bits;
  __builtin_memcpy(&bits, &index, sizeof bits);
  return Vec::broadcast(bits);
}

void max_pool(const PoolArgs& args) noexcept {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width; ++x) {
      const std::int64_t at = ((y - args.y0) * args.out_width + x) * args.channels;
      for_vectors(args.channels, [&](std::int64_t c, auto mem) {
        Vec best = Vec::broadcast(-__builtin_inff()), winner = index_bits(-1);
        bool first = true;
        for (std::int32_t i = args.y_taps.begin[y]; i < args.y_taps.begin[y + 1]; ++i)
          for (std::int32_t j = args.x_taps.begin[x]; j < args.x_taps.begin[x + 1]; ++j) {
            const std::int64_t source =
                args.y_taps.source[i] * args.source_width + args.x_taps.source[j];
            const Vec value = mem(args.x + source * args.channels + c);
            const Vec index = index_bits(static_cast<std::int32_t>(source));
            const Mask better = (best < value) | is_nan(value);
            best = first ? value : select(better, value, best);
            winner = first ? index : select(better, index, winner);
            first = false;
          }
        mem(best, args.y + at + c);
        if (args.winner) mem(winner, reinterpret_cast<float*>(args.winner) + at + c);
      });
    }
}

void average_pool(const PoolArgs& args) noexcept {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width; ++x) {
      const std::int64_t at = ((y - args.y0) * args.out_width + x) * args.channels;
      const Vec share = Vec::broadcast(args.inverse_count[y * args.out_width + x]);
      for_vectors(args.channels, [&](std::int64_t c, auto mem) {
        Vec sum = Vec::broadcast(0);
        for (std::int32_t i = args.y_taps.begin[y]; i < args.y_taps.begin[y + 1]; ++i)
          for (std::int32_t j = args.x_taps.begin[x]; j < args.x_taps.begin[x + 1]; ++j) {
            const std::int64_t source =
                args.y_taps.source[i] * args.source_width + args.x_taps.source[j];
            sum = sum + mem(args.x + source * args.channels + c);
          }
        mem(sum * share, args.y + at + c);
      });
    }
}

// Fewer channels than lanes: each window's value is added where its winner is, one by one, in the
// order of the windows as below. A test that fails only where a call ends in the middle of an image
// (LeNet, six channels: a third of the time).
inline void unpool_few(const UnpoolArgs& args) {
  const std::int64_t row = args.out_width * args.channels;
  if (!args.accumulate)
    for_vectors((args.y1 - args.y0) * row, [&](std::int64_t i, auto mem) {
      mem(Vec::broadcast(0), args.r_in + args.y0 * row + i);
    });
  // Windows of the rows: in no order where they are dilated.
  const std::int32_t begin = args.y_taps.begin[args.y0], end = args.y_taps.begin[args.y1];
  if (begin == end) return;
  std::int32_t first = args.y_taps.source[begin], last = first;
  for (std::int32_t i = begin; i < end; ++i) {
    first = least(first, args.y_taps.source[i]);
    last = -least(-last, -args.y_taps.source[i]);
  }
  const std::int64_t pixel0 = first * args.source_width;
  const std::int64_t pixel1 = (last + 1) * args.source_width;
  const std::int64_t own0 = args.y0 * args.out_width, own1 = args.y1 * args.out_width;
  for (std::int64_t at = pixel0 * args.channels; at < pixel1 * args.channels; at += args.channels)
    for (std::int64_t c = 0; c < args.channels; ++c) {
      const std::int64_t winner = args.winner[at + c];
      if (winner >= own0 && winner < own1)
        args.r_in[winner * args.channels + c] += args.r_out[at + c];
    }
}

void unpool_max(const UnpoolArgs& args) noexcept {
  if (args.channels < Vec::kWidth) return unpool_few(args);
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width; ++x) {
      const std::int64_t pixel = y * args.out_width + x;
      const auto own = static_cast<std::int32_t>(pixel);
      float* to = args.r_in + pixel * args.channels;
      for_vectors(args.channels, [&](std::int64_t c, auto mem) {
        Vec sum = args.accumulate ? mem(to + c) : Vec::broadcast(0);
        for (std::int32_t i = args.y_taps.begin[y]; i < args.y_taps.begin[y + 1]; ++i)
          for (std::int32_t j = args.x_taps.begin[x]; j < args.x_taps.begin[x + 1]; ++j) {
            const std::int64_t at =
                (args.y_taps.source[i] * args.source_width + args.x_taps.source[j]) *
                    args.channels +
                c;
            const Vec winner = mem(reinterpret_cast<const float*>(args.winner) + at);
            sum = sum + select(same_bits(winner, index_bits(own)), mem(args.r_out + at),
                               Vec::broadcast(0));
          }
        mem(sum, to + c);
      });
    }
}

void unpool_average(const UnpoolAverageArgs& args) noexcept {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width; ++x) {
      const std::int64_t at = ((y - args.y0) * args.out_width + x) * args.channels;
      for_vectors(args.channels, [&](std::int64_t c, auto mem) {
        Vec sum = Vec::broadcast(0);
        for (std::int32_t i = args.y_taps.begin[y]; i < args.y_taps.begin[y + 1]; ++i)
          for (std::int32_t j = args.x_taps.begin[x]; j < args.x_taps.begin[x + 1]; ++j) {
            const std::int64_t source =
                args.y_taps.source[i] * args.source_width + args.x_taps.source[j];
            const Vec share = Vec::broadcast(args.inverse_count[source]);
            sum = fma(mem(args.s + source * args.channels + c), share, sum);
          }
        mem(sum, args.out + at + c);
      });
    }
}
