// Loops over whole vectors and what is left behind them.

// f(offset, load, store) over n values, whole vectors first; the last call handles what is left
// with partial loads and stores, so every value goes through the same arithmetic.
struct WholeVec {
  Vec operator()(const float* p) const { return Vec::load(p); }
  Vec once(const float* p) const { return load_once(p); }
  void operator()(Vec v, float* p) const { v.store(p); }
  // Past the caches if `far`: what nobody reads before it would have left them.
  void operator()(Vec v, float* p, bool far) const {
    far&& reinterpret_cast<std::uintptr_t>(p) % sizeof(Vec) == 0 ? v.stream(p) : v.store(p);
  }
};
struct PartVec {
  std::int64_t n;
  Vec operator()(const float* p) const { return Vec::load(p, n); }
  Vec once(const float* p) const { return Vec::load(p, n); }
  void operator()(Vec v, float* p) const { v.store(p, n); }
  void operator()(Vec v, float* p, bool) const { v.store(p, n); }
};
template <class F>
inline void for_vectors(std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + Vec::kWidth <= n; i += Vec::kWidth) f(i, WholeVec{});
  if (i < n) f(i, PartVec{n - i});
}

inline std::int64_t block_extent(std::int64_t begin, std::int64_t end) {
  return end - begin < Vec::kWidth ? end - begin : Vec::kWidth;
}
