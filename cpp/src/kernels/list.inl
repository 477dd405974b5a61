// Lists of non-zero entries, for the zero-skipping product.

// pack_nonzero for instruction sets that have none of their own.
// Every entry is written at the end of the list and the list grows only where the entry is not
// zero, so there is no branch to mispredict. A list that is full is written past its end once; the
// scratch block takes that.
template <int kValues>
inline int pack_block(const float* const (&from)[kValues], int n, int first, float* to,
                      std::uint8_t* index) {
  float value[kValues * (kListBlock + 1)];
  std::uint8_t number[kListBlock + 1];
  int t = 0;
  for (int i = 0; i < n; ++i) {
    bool keep = false;
    for (int v = 0; v < kValues; ++v) {
      value[kValues * t + v] = from[v][i];
      keep |= from[v][i] != 0;
    }
    number[t] = static_cast<std::uint8_t>(first + i);
    t += keep;
  }
  for (int i = 0; i < kValues * t; ++i) to[i] = value[i];
  for (int i = 0; i < t; ++i) index[i] = number[i];
  return t;
}

// Entries with a > 0 (and NaN), or those with a < 0.
template <bool kNegative>
inline int pack_sign(const float* a, int n, float* to, std::uint8_t* index) {
  float value[kListBlock + 1];
  std::uint8_t number[kListBlock + 1];
  int t = 0;
  for (int i = 0; i < n; ++i) {
    value[t] = a[i];
    number[t] = static_cast<std::uint8_t>(i);
    t += kNegative ? a[i] < 0 : (a[i] != 0) & !(a[i] < 0);
  }
  for (int i = 0; i < t; ++i) to[i] = value[i];
  for (int i = 0; i < t; ++i) index[i] = number[i];
  return t;
}

// n values at most kListBlock, numbered from `first`.
template <int kValues>
inline int pack_point(const float* const (&from)[kValues], int n, int first, float* to,
                      std::uint8_t* index) {
#if defined(RELPROP_COMPRESSES)
  int t = 0;
  for (int i = 0; i < n; i += Vec::kWidth) {
    const float* part[kValues];
    for (int v = 0; v < kValues; ++v) part[v] = from[v] + i;
    t += pack_nonzero(part, n - i < Vec::kWidth ? n - i : Vec::kWidth, first + i, to + kValues * t,
                      index + t);
  }
  return t;
#else
  return pack_block(from, n, first, to, index);
#endif
}

// The lists of one block of channels: points [x0, x1), where `begin` holds that of x0 already.
struct BlockList {
  const float *a, *b;  // at the block's first channel of point x0
  std::int64_t stride;
  int channels;
  float* value;
  std::uint8_t* index;
  std::uint32_t* begin;
};

inline void list_signs(const ListArgs& args, const BlockList& block) {
  const float* a = block.a;
  std::uint32_t at = block.begin[2 * args.x0];
  std::uint32_t* begin = block.begin + 2 * args.x0 + 1;
  for (std::int64_t x = args.x0; x < args.x1; ++x, a += block.stride) {
    at += pack_sign<false>(a, block.channels, block.value + at, block.index + at);
    *begin++ = at;
    at += pack_sign<true>(a, block.channels, block.value + at, block.index + at);
    *begin++ = at;
  }
}

// kArrays: a, or a and b. kPixels: 2 where a point is a pair of pixels.
template <int kArrays, int kPixels>
inline void list_block(const ListArgs& args, const BlockList& block) {
  constexpr int kValues = kArrays * kPixels;
  std::uint32_t at = block.begin[args.x0];
  std::int64_t pixel = 0;
  for (std::int64_t x = args.x0; x < args.x1; ++x) {
    const float* from[kValues];
    for (int v = 0; v < kValues; v += kArrays, ++pixel) {
      const bool there = kPixels == 1 || pixel < args.pixels;
      from[v] = there ? block.a + pixel * block.stride : kZeros;
      if constexpr (kArrays == 2) from[v + 1] = there ? block.b + pixel * block.stride : kZeros;
    }
    at += pack_point(from, block.channels, 0, block.value + kValues * at, block.index + at);
    block.begin[x + 1] = at;
  }
}

void list(const ListArgs& args) noexcept {
  const std::int64_t points = args.width * (args.by_sign ? 2 : 1) + 1;
  const int values = (args.b ? 2 : 1) * (args.pairs ? 2 : 1);
  std::uint32_t* begin = args.begin;
  for (std::int64_t g = 0; g < args.groups; ++g)
    for (std::int64_t k = 0; k < args.channels; k += kListBlock, begin += points) {
      const std::int64_t first = g * args.channels + k, rest = args.channels - k;
      const std::int64_t room = args.width * first;
      if (args.x0 == 0) begin[0] = 0;
      const BlockList block{args.a + first,
                            args.b ? args.b + first : nullptr,
                            args.groups * args.channels,
                            static_cast<int>(rest < kListBlock ? rest : kListBlock),
                            args.value + values * room,
                            args.index + room,
                            begin};
      if (args.by_sign) {
        list_signs(args, block);
      } else if (args.pairs) {
        if constexpr (kListsPairs)
          args.b ? list_block<2, 2>(args, block) : list_block<1, 2>(args, block);
      } else {
        args.b ? list_block<2, 1>(args, block) : list_block<1, 1>(args, block);
      }
    }
}
