// Loops over flat arrays: the ends of forward and backward products, and what lies between them.

// st(z) = z + eps sign(z), sign(0) = +1 (also for -0).
inline Vec stabilized(Vec z, Vec eps) { return select(z < Vec::broadcast(0), z - eps, z + eps); }

inline Vec apply_tail(Tail tail, Vec a, Vec b, Vec v) {
  const Vec zero = Vec::broadcast(0);
  switch (tail) {
    case Tail::none: return v;
    case Tail::relu: return select(v < zero, zero, v);
    case Tail::leaky_relu: return select(v < zero, a * v, v);
    case Tail::clip: {
      const Vec low = select(v < a, a, v);
      return select(b < low, b, low);
    }
  }
  return v;
}

inline void finish_pixels(const FinishArgs& args) {
  const Vec a = Vec::broadcast(args.tail_a), b = Vec::broadcast(args.tail_b);
  const Vec zero = Vec::broadcast(0);
  for (std::int64_t pixel = 0; pixel < args.pixels; ++pixel) {
    const std::int64_t from = pixel * args.sum_stride, to = pixel * args.stride;
    for_vectors(args.channels, [&](std::int64_t c, auto mem) {
      const auto bias = [&](const float* p) { return p ? mem(p + c) : zero; };
      const Vec p = mem(args.first + from + c);
      const Vec m = args.second ? mem(args.second + from + c) : zero;
      const Vec sum = args.sum ? mem(args.sum + from + c) : p + m;
      const std::int64_t i = to + c;
      const Vec y = apply_tail(args.tail, a, b, sum + bias(args.bias));
      if (args.y) mem(y, args.y + i, args.far && args.total);
      if (args.total)
        mem(apply_tail(args.total_tail, a, b, y + mem(args.other + i)), args.total + i);
      if (args.z) mem(sum + bias(args.bias_z), args.z + i, args.far);
      if (args.zp) mem(p + bias(args.bias_p), args.zp + i, args.far);
      if (args.zn) mem(m + bias(args.bias_n), args.zn + i, args.far);
    });
  }
}

inline const float* offset_by(const float* p, std::int64_t n) { return p ? p + n : nullptr; }
inline float* offset_by(float* p, std::int64_t n) { return p ? p + n : nullptr; }

// From pixel `first` on, `pixels` of them.
inline FinishArgs finish_part(FinishArgs args, std::int64_t first, std::int64_t pixels) {
  const std::int64_t from = first * args.sum_stride, to = first * args.stride;
  args.first = offset_by(args.first, from);
  args.second = offset_by(args.second, from);
  args.sum = offset_by(args.sum, from);
  args.y = offset_by(args.y, to);
  args.z = offset_by(args.z, to);
  args.zp = offset_by(args.zp, to);
  args.zn = offset_by(args.zn, to);
  args.other = offset_by(args.other, to);
  args.total = offset_by(args.total, to);
  args.pixels = pixels;
  return args;
}

// Fewer channels than lanes, pixel after pixel without gaps: as many pixels as a vector has lanes
// are one, with their biases in a row (LeNet's first layer, six channels: 0.7 of its product's
// time).
inline void finish_few(const FinishArgs& args) {
  const std::int64_t whole = args.pixels / Vec::kWidth, n = Vec::kWidth * args.channels;
  float biases[4][Vec::kWidth * Vec::kWidth];
  FinishArgs wide = finish_part(args, 0, whole);
  wide.channels = wide.sum_stride = wide.stride = n;
  const float** given[] = {&wide.bias, &wide.bias_z, &wide.bias_p, &wide.bias_n};
  for (int k = 0; k < 4; ++k) {
    if (*given[k] == nullptr) continue;
    for (std::int64_t i = 0; i < n; i += args.channels)
      for (std::int64_t c = 0; c < args.channels; ++c) biases[k][i + c] = (*given[k])[c];
    *given[k] = biases[k];
  }
  finish_pixels(wide);
  finish_pixels(finish_part(args, whole * Vec::kWidth, args.pixels % Vec::kWidth));
}

void finish(const FinishArgs& args) noexcept {
  const bool gaps = args.sum_stride != args.channels || args.stride != args.channels;
  if (gaps || args.channels >= Vec::kWidth || args.pixels < 2 * Vec::kWidth)
    return finish_pixels(args);
  finish_few(args);
}

struct MapConstants {
  Vec alpha, beta, gamma, eps;
};

template <class Mem>
inline Vec mapped_relevance(const MapArgs& args, std::int64_t i, Mem mem) {
  const Vec r = mem(args.r + i);
  return args.x ? mem(args.x + i) * r : r;
}

// s+ = (1 + g) R / D and s- = R / D where z > 0, the other way round where z < 0. Where z is
// neither, both are z itself: 0, or NaN.
template <class Mem>
inline void map_gamma(const MapArgs& args, const MapConstants& k, std::int64_t i, Mem mem) {
  const Vec zero = Vec::broadcast(0), one = Vec::broadcast(1);
  const Vec r = mapped_relevance(args, i, mem), z = mem(args.z + i);
  const Mask above = zero < z, below = z < zero;
  const Vec side = select(above, mem(args.zp + i), mem(args.zn + i));
  // z + gamma side has the sign of z: side is z+ >= 0 above and z- <= 0 below.
  const Vec plain = r / stabilized(z + k.gamma * side, k.eps);
  const Vec more = (one + k.gamma) * plain;
  const Vec s_plus = select(above, more, select(below, plain, z));
  const Vec s_minus = select(above, plain, select(below, more, z));
  mem(s_plus, args.s_plus + i);
  if (args.s_minus) mem(s_minus, args.s_minus + i);
}

template <Map kMap>
inline void map_all(const MapArgs& args) {
  const MapConstants k{Vec::broadcast(args.alpha), Vec::broadcast(args.beta),
                       Vec::broadcast(args.gamma), Vec::broadcast(args.eps)};
  const Vec zero = Vec::broadcast(0);
  for_vectors(args.n, [&](std::int64_t i, auto mem) {
    if constexpr (kMap == Map::gamma) return map_gamma(args, k, i, mem);
    const Vec r = mapped_relevance(args, i, mem);
    Vec plus = r, minus = zero;
    if constexpr (kMap == Map::epsilon) plus = r / stabilized(mem(args.z + i), k.eps);
    if constexpr (kMap == Map::z_plus) plus = r / stabilized(mem(args.zp + i), k.eps);
    if constexpr (kMap == Map::alpha_beta) {
      plus = k.alpha * r / stabilized(mem(args.zp + i), k.eps);
      minus = zero - k.beta * r / stabilized(mem(args.zn + i), k.eps);
    }
    mem(plus, args.s_plus + i);
    if (args.s_minus) mem(minus, args.s_minus + i);
  });
}

void map(const MapArgs& args) noexcept {
  switch (args.map) {
    case Map::gradient: return map_all<Map::gradient>(args);
    case Map::epsilon: return map_all<Map::epsilon>(args);
    case Map::z_plus: return map_all<Map::z_plus>(args);
    case Map::alpha_beta: return map_all<Map::alpha_beta>(args);
    case Map::gamma: return map_all<Map::gamma>(args);
  }
}

template <Tie kTie>
inline void tie_row(const TieArgs& args, std::int64_t row) {
  const std::int64_t from = row * args.sum_stride, to = row * args.stride;
  for_vectors(args.n, [&](std::int64_t k, auto mem) {
    const std::int64_t i = to + k;
    const Vec p = mem(args.first + from + k);
    Vec r = p;
    if constexpr (kTie == Tie::times_x) r = mem(args.x + i) * p;
    if constexpr (kTie == Tie::by_sign) {
      const Vec x = mem(args.x + i);
      r = positive_bits(x) * p + negative_bits(x) * mem(args.second + from + k);
    }
    if constexpr (kTie == Tie::box) {
      const Vec x = mem(args.x + i);
      r = (x - mem(args.low + i)) * p + (x - mem(args.high + i)) * mem(args.second + from + k);
    }
    mem(args.accumulate ? mem(args.r + i) + r : r, args.r + i);
  });
}

template <Tie kTie>
inline void tie_all(const TieArgs& args) {
  for (std::int64_t row = 0; row < args.rows; ++row) tie_row<kTie>(args, row);
}

void tie(const TieArgs& args) noexcept {
  switch (args.tie) {
    case Tie::copy: return tie_all<Tie::copy>(args);
    case Tie::times_x: return tie_all<Tie::times_x>(args);
    case Tie::by_sign: return tie_all<Tie::by_sign>(args);
    case Tie::box: return tie_all<Tie::box>(args);
  }
}

void tail_gradient(const TailGradientArgs& args) noexcept {
  const Vec zero = Vec::broadcast(0), a = Vec::broadcast(args.a), b = Vec::broadcast(args.b);
  for_vectors(args.n, [&](std::int64_t i, auto mem) {
    const Vec y = mem(args.y + i), g = mem(args.g_in + i);
    Vec out = g;
    if (args.tail == Tail::relu) out = select(zero < y, g, zero);
    if (args.tail == Tail::leaky_relu) out = select(zero < y, g, a * g);
    if (args.tail == Tail::clip) out = select(a < y, select(y < b, g, zero), zero);
    mem(out, args.g_out + i);
  });
}

void add(const AddArgs& args) noexcept {
  for_vectors(args.n, [&](std::int64_t i, auto mem) {
    mem(mem(args.a + i) + mem(args.b + i), args.y + i);
  });
}

void scale_shift(const ScaleShiftArgs& args) noexcept {
  const Vec zero = Vec::broadcast(0), one = Vec::broadcast(1);
  for (std::int64_t p = 0; p < args.pixels; ++p)
    for_vectors(args.channels, [&](std::int64_t c, auto mem) {
      const Vec scale = args.scale ? mem(args.scale + c) : one;
      const Vec shift = args.shift ? mem(args.shift + c) : zero;
      mem(fma(mem(args.x + p * args.channels + c), scale, shift), args.y + p * args.channels + c);
    });
}
