// Lists of non-zero entries, for the zero-skipping product.

// pack_nonzero for instruction sets without a compressing move (it is theirs where there is one).
// Every entry is written at the end of the list and the list grows only where the entry is not
// zero, so there is no branch to mispredict. A list that is full is written past its end once; the
// scratch block takes that.
template <bool kPair>
inline int pack_block(const float* a, const float* b, int n, float* to, std::uint8_t* index) {
  constexpr int kStep = kPair ? 2 : 1;
  float value[kStep * (kListBlock + 1)];
  std::uint8_t number[kListBlock + 1];
  int t = 0;
  for (int i = 0; i < n; ++i) {
    value[kStep * t] = a[i];
    if (kPair) value[kStep * t + 1] = b[i];
    number[t] = static_cast<std::uint8_t>(i);
    t += kPair ? (a[i] != 0) | (b[i] != 0) : a[i] != 0;
  }
  for (int i = 0; i < kStep * t; ++i) to[i] = value[i];
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

template <bool kPair>
inline int pack_point(const float* a, const float* b, int n, float* to, std::uint8_t* index) {
#if defined(RELPROP_COMPRESSES)
  int t = 0;
  for (int i = 0; i < n; i += Vec::kWidth)
    t += pack_nonzero<kPair>(a + i, kPair ? b + i : nullptr,
                             n - i < Vec::kWidth ? n - i : Vec::kWidth, i, to + (kPair ? 2 : 1) * t,
                             index + t);
  return t;
#else
  return pack_block<kPair>(a, b, n, to, index);
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

inline void list_block(const ListArgs& args, const BlockList& block) {
  const float *a = block.a, *b = block.b;
  std::uint32_t at = block.begin[args.x0 * (args.by_sign ? 2 : 1)];
  std::uint32_t* begin = block.begin + args.x0 * (args.by_sign ? 2 : 1) + 1;
  for (std::int64_t x = args.x0; x < args.x1; ++x, a += block.stride) {
    if (args.by_sign) {
      at += pack_sign<false>(a, block.channels, block.value + at, block.index + at);
      *begin++ = at;
      at += pack_sign<true>(a, block.channels, block.value + at, block.index + at);
    } else if (b != nullptr) {
      at += pack_point<true>(a, b, block.channels, block.value + 2 * at, block.index + at);
      b += block.stride;
    } else {
      at += pack_point<false>(a, nullptr, block.channels, block.value + at, block.index + at);
    }
    *begin++ = at;
  }
}

void list(const ListArgs& args) noexcept {
  const std::int64_t points = args.width * (args.by_sign ? 2 : 1) + 1;
  std::uint32_t* begin = args.begin;
  for (std::int64_t g = 0; g < args.groups; ++g)
    for (std::int64_t k = 0; k < args.channels; k += kListBlock, begin += points) {
      const std::int64_t first = g * args.channels + k, rest = args.channels - k;
      const std::int64_t room = args.width * first;
      if (args.x0 == 0) begin[0] = 0;
      list_block(args,
                 {args.a + first, args.b ? args.b + first : nullptr, args.groups * args.channels,
                  static_cast<int>(rest < kListBlock ? rest : kListBlock),
                  args.value + (args.b ? 2 * room : room), args.index + room, begin});
    }
}
