// Lists of non-zero entries, for the zero-skipping product.

// One block of channels. Every entry is written at the end of its list and the list grows only
// where the entry is not zero, so there is no branch to mispredict.
template <bool kPair>
inline int compact(const float* a, const float* b, int n, float* value_a, float* value_b,
                   std::uint8_t* index) {
  int t = 0;
  for (int i = 0; i < n; ++i) {
    value_a[t] = a[i];
    if (kPair) value_b[t] = b[i];
    index[t] = static_cast<std::uint8_t>(i);
    t += kPair ? (a[i] != 0) | (b[i] != 0) : a[i] != 0;
  }
  return t;
}

// Positive entries (and NaN) first, then negative ones.
inline int compact_by_sign(const float* a, int n, float* value_a, std::uint8_t* index,
                           int* positive) {
  int t = 0;
  for (int i = 0; i < n; ++i) {
    value_a[t] = a[i];
    index[t] = static_cast<std::uint8_t>(i);
    t += (a[i] != 0) & !(a[i] < 0);
  }
  *positive = t;
  for (int i = 0; i < n; ++i) {
    if (!(a[i] < 0)) continue;
    value_a[t] = a[i];
    index[t++] = static_cast<std::uint8_t>(i);
  }
  return t;
}

void list(const ListArgs& args) noexcept {
  const std::int64_t blocks = (args.channels + kListBlock - 1) / kListBlock;
  std::uint8_t* count = args.count;
  for (std::int64_t pg = 0; pg < args.points * args.groups; ++pg) {
    for (std::int64_t k = 0; k < blocks; ++k, count += 2) {
      const std::int64_t at = pg * args.channels + k * kListBlock;
      const std::int64_t rest = args.channels - k * kListBlock;
      const int n = static_cast<int>(rest < kListBlock ? rest : kListBlock);
      // A list that is full is written past its end once; the scratch block takes that.
      float value_a[kListBlock + 1], value_b[kListBlock + 1];
      std::uint8_t index[kListBlock + 1];
      int positive = 0, total = 0;
      if (args.by_sign) {
        total = compact_by_sign(args.a + at, n, value_a, index, &positive);
      } else {
        total = positive = args.b
                               ? compact<true>(args.a + at, args.b + at, n, value_a, value_b, index)
                               : compact<false>(args.a + at, nullptr, n, value_a, value_b, index);
      }
      for (int t = 0; t < total; ++t) args.value_a[at + t] = value_a[t];
      if (args.b)
        for (int t = 0; t < total; ++t) args.value_b[at + t] = value_b[t];
      for (int t = 0; t < total; ++t) args.index[at + t] = index[t];
      count[0] = static_cast<std::uint8_t>(positive);
      count[1] = static_cast<std::uint8_t>(total - positive);
    }
  }
}
