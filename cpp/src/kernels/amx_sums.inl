// Sums of a block of rows for up to 32 pixels and 32 outputs, on their way from the tiles to the
// results. The tiles' values take a while to arrive: they are added while the next tiles are made.
struct Sums {
  const float* block;  // first and second: kBlock floats each, rows of kMatrixPair
  float *first, *second, *sum;
  std::int64_t stride, pixels, vectors;
  bool is_first;
  std::int64_t at_once = 0, done = 0;  // pixels

  // To be called so often until all pixels are done.
  void spread_over(std::int64_t calls) { at_once = ceil_div(pixels, calls); }

  template <Mode kMode>
  inline void add_some() {
    const std::int64_t end = least(done + at_once, pixels);
    if (done == end) return;
    add<kMode>(done, end);
    done = end;
  }

  // Rows [begin, end).
  template <Mode kMode>
  void add(std::int64_t begin, std::int64_t end) const {
    if (is_first)
      vectors == 2 ? add<kMode, true, 2>(begin, end) : add<kMode, true, 1>(begin, end);
    else
      vectors == 2 ? add<kMode, false, 2>(begin, end) : add<kMode, false, 1>(begin, end);
  }

 private:
  template <bool kFirst>
  static __attribute__((always_inline)) inline void add_to(__m512 v, float* to) {
    _mm512_storeu_ps(to, kFirst ? v : _mm512_add_ps(v, _mm512_loadu_ps(to)));
  }

  template <Mode kMode, bool kFirst, int kVectors>
  __attribute__((always_inline)) inline void add(std::int64_t begin, std::int64_t end) const {
    const float* from = block + begin * kMatrixPair;
    float *f = first + begin * stride, *s = second + begin * stride, *both = sum + begin * stride;
    for (std::int64_t p = begin; p < end; ++p) {
#pragma GCC unroll 2
      for (int i = 0; i < kVectors * kSide; i += kSide) {
        const __m512 v = _mm512_load_ps(from + i);
        add_to<kFirst>(v, f + i);
        if constexpr (has_second(kMode)) {
          const __m512 w = _mm512_load_ps(from + kBlock + i);
          add_to<kFirst>(w, s + i);
          if constexpr (has_sum(kMode)) add_to<kFirst>(_mm512_add_ps(v, w), both + i);
        }
      }
      from += kMatrixPair;
      f += stride;
      s += stride;
      both += stride;
    }
  }
};
