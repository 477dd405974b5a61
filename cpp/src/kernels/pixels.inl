// Products whose lanes run over source channels: depthwise and dot products. Pixels of a row that
// see the same taps are taken together, so that a weight is loaded once for all of them:
// neighbours, or behind a stride s, seen backward, every s-th.

// What pixels that are taken together read: tap k of pixel p is at tap[k].source + p * step of the
// source, all in floats.
struct PixelReads {
  const PixelTap* tap;
  std::int64_t taps, step;
};

// Of output pixel (y, x); together: and of those that are `period` columns further on. `source` and
// `weight` are the floats of a source pixel and of a tap.
template <class Args>
inline PixelReads find_reads(const Args& args, std::int64_t y, std::int64_t x, bool together,
                             std::int64_t source, std::int64_t weight) {
  const std::int32_t begin = args.x.begin[x], end = args.x.begin[x + 1];
  PixelTap* to = args.tap;
  for (std::int32_t i = args.y.begin[y]; i < args.y.begin[y + 1]; ++i)
    for (std::int32_t j = begin; j < end; ++j)
      *to++ = {(args.y.source[i] * args.source_width + args.x.source[j]) * source,
               (args.y.tap[i] * args.kernel_width + args.x.tap[j]) * weight};
  const std::int64_t step =
      together && begin < end ? args.x.source[args.x.begin[x + args.period]] - args.x.source[begin]
                              : 0;
  return {args.tap, to - args.tap, step * source};
}

// Calls f(reads, pixel, together) for all pixels of rows [y0, y1): the first of those that are
// taken together, or one alone.
template <class Args, class F>
inline void for_alike_pixels(const Args& args, std::int64_t source, std::int64_t weight, F f) {
  for (std::int64_t y = args.y0; y < args.y1; ++y)
    for (std::int64_t x = 0; x < args.out_width;) {
      const bool together = args.alike[x] != 0;
      const std::int64_t own = together ? args.period : 1;
      for (std::int64_t r = 0; r < own; ++r)
        f(find_reads(args, y, x + r, together, source, weight),
          (y - args.y0) * args.out_width + x + r, together);
      x += own * (together ? kAlikePixels : 1);
    }
}
