// Lists, maps, ties, activations, pooling and transposes of every instruction set against the
// reference table, and the reference against values written out by hand.

#include <cmath>
#include <cstdint>
#include <limits>

#include "check.h"
#include "contraction_case.h"
#include "dispatch.h"

using namespace relprop;
using relprop::test::Random;

namespace {

using Floats = std::vector<float>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
// Around the vector widths 4, 8 and 16.
constexpr std::int64_t kSizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65};

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

void name(const Kernels& kernels, const char* what, std::int64_t n) {
  check::context = std::string(kernels.name) + " " + what + " n " + std::to_string(n);
}

// Integers in [-8, 8], a third of them zero, half of the zeros negative.
Floats integers(Random& random, std::int64_t n) {
  Floats v(size(n));
  for (float& x : v) {
    const std::int64_t k = random.below(24) - 8;
    x = k > 8 ? (k % 2 ? 0.0f : -0.0f) : static_cast<float>(k);
  }
  return v;
}

Floats reals(Random& random, std::int64_t n) {
  Floats v(size(n));
  for (float& x : v) x = 4 * random.unit() - 2;
  return v;
}

// |a - b| <= roundings 2^-24 |b| + smallest normal: each rounding of a chain of multiplications,
// divisions and additions of one sign adds 2^-24 at most; one more for the reference's own.
void check_close(const Floats& got, const Floats& wanted, int roundings, const char* file,
                 int line) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float a = got[i], b = wanted[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!(std::fabs(a - b) <= (roundings + 1) * 0x1p-24f * std::fabs(b) + 0x1p-126f)) {
      char text[120];
      std::snprintf(text, sizeof text, "value %zu is %.9g, expected %.9g", i, a, b);
      check::fail(file, line, text);
    }
  }
}
#define CHECK_CLOSE(got, wanted, roundings) check_close(got, wanted, roundings, __FILE__, __LINE__)

// One row of pixels, as points.
struct ListCase {
  std::int64_t pixels, groups, channels;
  bool by_sign = false, pairs = false;

  std::int64_t of_point() const { return pairs ? 2 : 1; }
  std::int64_t points() const { return (pixels + of_point() - 1) / of_point(); }
  std::int64_t blocks() const { return (channels + kListBlock - 1) / kListBlock; }
  std::int64_t begins() const { return points() * (by_sign ? 2 : 1) + 1; }
};

struct Lists {
  Floats value;
  std::vector<std::uint8_t> index;
  std::vector<std::uint32_t> begin;
};

// Listed in two calls.
Lists run_list(const Kernels& kernels, const Floats& a, const Floats* b, const ListCase& c) {
  const std::int64_t entries = c.points() * c.groups * c.channels;
  Lists lists;
  lists.value.resize(size(entries * c.of_point() * (b ? 2 : 1)));
  lists.index.resize(size(entries));
  lists.begin.resize(size(c.groups * c.blocks() * c.begins()));
  ListArgs args{};
  args.pairs = c.pairs;
  args.width = c.points();
  args.groups = c.groups;
  args.channels = c.channels;
  args.by_sign = c.by_sign;
  args.value = lists.value.data();
  args.index = lists.index.data();
  args.begin = lists.begin.data();
  const std::int64_t middle = c.points() / 2;
  for (const auto& [first, last] : {std::pair{std::int64_t{0}, middle}, {middle, c.points()}}) {
    const std::int64_t pixel = first * c.of_point();
    args.x0 = first;
    args.x1 = last;
    args.pixels = std::min(last * c.of_point(), c.pixels) - pixel;
    args.a = a.data() + pixel * c.groups * c.channels;
    args.b = b ? b->data() + pixel * c.groups * c.channels : nullptr;
    kernels.list(args);
  }
  return lists;
}

// Only what lies between the begins of a block is defined, so only that is compared.
void check_lists(const Lists& got, const Lists& wanted, const ListCase& c) {
  CHECK(got.begin == wanted.begin);
  const std::size_t values = wanted.value.size() / wanted.index.size();
  for (std::int64_t q = 0; q < c.groups * c.blocks(); ++q) {
    const std::int64_t channel = q / c.blocks() * c.channels + q % c.blocks() * kListBlock;
    const std::size_t first = size(c.points() * channel);
    for (std::size_t i = first; i < first + wanted.begin[size((q + 1) * c.begins()) - 1]; ++i) {
      CHECK(got.index[i] == wanted.index[i]);
      for (std::size_t k = i * values; k < (i + 1) * values; ++k)
        CHECK(got.value[k] == wanted.value[k] ||
              (std::isnan(got.value[k]) && std::isnan(wanted.value[k])));
    }
  }
}

void test_list(const Kernels& kernels, const Kernels& reference) {
  const auto compare = [&](const Floats& a, const Floats* b, const ListCase& c) {
    check_lists(run_list(kernels, a, b, c), run_list(reference, a, b, c), c);
  };
  for (std::int64_t channels : {1, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100})
    for (std::int64_t groups : {1, 3})
      for (std::int64_t pixels : {5, 6}) {
        const std::int64_t n = pixels * groups * channels;
        Random random(size(channels));
        Floats a = integers(random, n);
        Floats b = integers(random, n);
        a[size(n / 2)] = kNan;
        b[size(n / 3)] = -kNan;
        a[size(n - 1)] = -kNan;
        name(kernels, "list", channels);
        compare(a, nullptr, {pixels, groups, channels, true});
        const Floats zeros(size(n), -0.0f), ones(size(n), 1.0f);
        for (const Floats& all : {zeros, ones})
          compare(all, nullptr, {pixels, groups, channels, true});
        for (bool pairs : {false, kernels.lists_pairs}) {
          const ListCase c{pixels, groups, channels, false, pairs};
          compare(a, nullptr, c);
          compare(a, &b, c);
          compare(ones, &b, c);
        }
      }
}

void test_list_by_hand(const Kernels& kernels) {
  name(kernels, "list by hand", 5);
  const Lists lists = run_list(kernels, {3, -0.0f, -2, kNan, 5}, nullptr, {1, 1, 5, true});
  CHECK(lists.begin == (std::vector<std::uint32_t>{0, 3, 4}));
  CHECK(lists.index[0] == 0 && lists.index[1] == 3 && lists.index[2] == 4 && lists.index[3] == 2);
  CHECK(lists.value[0] == 3 && std::isnan(lists.value[1]) && lists.value[2] == 5 &&
        lists.value[3] == -2);
}

struct Mapped {
  Floats plus, minus;
};

Mapped run_map(const Kernels& kernels, MapArgs args, const Floats& r, const Floats& z,
               const Floats& zp, const Floats& zn, bool with_minus = true) {
  Mapped s{Floats(r.size()), Floats(r.size())};
  args.r = r.data();
  args.z = z.data();
  args.zp = zp.data();
  args.zn = zn.data();
  args.s_plus = s.plus.data();
  args.s_minus = with_minus ? s.minus.data() : nullptr;
  args.n = static_cast<std::int64_t>(r.size());
  kernels.map(args);
  return s;
}

MapArgs map_args(Map map, float eps) {
  MapArgs args{};
  args.map = map;
  args.alpha = 2;
  args.beta = 1;
  args.gamma = 0.25f;
  args.eps = eps;
  return args;
}

constexpr Map kMaps[] = {Map::gradient, Map::epsilon, Map::z_plus, Map::alpha_beta, Map::gamma};

void test_map(const Kernels& kernels, const Kernels& reference) {
  for (std::int64_t n : kSizes)
    for (Map map : kMaps) {
      Random random(size(n) + 100);
      const Floats r = reals(random, n);
      Floats zp = reals(random, n), zn = reals(random, n), z(size(n));
      for (std::size_t i = 0; i < size(n); ++i) {
        zp[i] = i % 5 == 0 ? 0 : std::fabs(zp[i]);
        zn[i] = i % 3 == 0 ? -0.0f : -std::fabs(zn[i]);
        z[i] = zp[i] + zn[i];
      }
      name(kernels, "map", n);
      for (bool with_minus : {true, false}) {
        const Mapped got = run_map(kernels, map_args(map, 1e-6f), r, z, zp, zn, with_minus);
        const Mapped wanted = run_map(reference, map_args(map, 1e-6f), r, z, zp, zn, with_minus);
        // gamma, the longest: gamma z+, z + ., st, R / ., 1 + gamma, product.
        CHECK_CLOSE(got.plus, wanted.plus, 6);
        CHECK_CLOSE(got.minus, wanted.minus, 6);
      }
    }
}

// Relevance that comes as the share of a value is what the product of both would be.
void test_map_of_shares(const Kernels& kernels) {
  for (std::int64_t n : kSizes)
    for (Map map : kMaps) {
      Random random(size(n) + 200);
      const Floats share = reals(random, n), x = reals(random, n), z = reals(random, n);
      Floats r(size(n));
      for (std::size_t i = 0; i < size(n); ++i) r[i] = x[i] * share[i];
      MapArgs args = map_args(map, 1e-6f);
      const Mapped wanted = run_map(kernels, args, r, z, z, z);
      args.x = x.data();
      const Mapped got = run_map(kernels, args, share, z, z, z);
      name(kernels, "map of shares", n);
      CHECK(got.plus == wanted.plus && got.minus == wanted.minus);
    }
}

// Signed zeros, zero denominators and NaN, eps = 1/4 so that every quotient is exact.
void test_map_by_hand(const Kernels& kernels) {
  name(kernels, "map by hand", 6);
  const Floats r{1, 1, 1, 1, 1, 1}, z{0.25f, -0.25f, 0, -0.0f, 3.75f, kNan};
  const auto s_plus = [&](Map map, float eps) {
    return run_map(kernels, map_args(map, eps), r, z, z, z).plus;
  };
  CHECK_EQUAL(s_plus(Map::gradient, 0.25f), r);
  CHECK_EQUAL(s_plus(Map::epsilon, 0.25f), (Floats{2, -2, 4, 4, 0.25f, kNan}));
  CHECK_EQUAL(s_plus(Map::z_plus, 0.25f), (Floats{2, -2, 4, 4, 0.25f, kNan}));
  CHECK_EQUAL(s_plus(Map::alpha_beta, 0.25f), (Floats{4, -4, 8, 8, 0.5f, kNan}));
  CHECK_EQUAL(s_plus(Map::epsilon, 0), (Floats{4, -4, kInfinity, kInfinity, 1 / 3.75f, kNan}));

  const Mapped ab = run_map(kernels, map_args(Map::alpha_beta, 0.25f), {1, 1}, {0, 0}, {0, 0.75f},
                            {-0.0f, -0.75f});
  CHECK_EQUAL(ab.plus, (Floats{8, 2}));
  CHECK_EQUAL(ab.minus, (Floats{-4, 1}));

  // gamma = 1: z > 0 has D = z + z+, z < 0 has D = z + z-.
  MapArgs gamma = map_args(Map::gamma, 0);
  gamma.gamma = 1;
  const Mapped g = run_map(kernels, gamma, {1, 1, 1, 1, 1}, {1, -1, 0, -0.0f, kNan},
                           {3, 1, 2, 2, 2}, {-2, -3, -2, -2, -2});
  CHECK_EQUAL(g.plus, (Floats{0.5f, -0.25f, 0, 0, kNan}));
  CHECK_EQUAL(g.minus, (Floats{0.25f, -0.5f, 0, 0, kNan}));
}

Floats run_tie(const Kernels& kernels, Tie tie, bool accumulate, const Floats& p, const Floats& m,
               const Floats& x, const Floats& low, const Floats& high, Floats r) {
  kernels.tie({tie, p.data(), m.data(), x.data(), low.data(), high.data(), accumulate, r.data(),
               static_cast<std::int64_t>(r.size())});
  return r;
}

void test_tie(const Kernels& kernels, const Kernels& reference) {
  for (std::int64_t n : kSizes)
    for (Tie tie : {Tie::copy, Tie::times_x, Tie::by_sign, Tie::box})
      for (bool accumulate : {false, true}) {
        Random random(size(n) + 200);
        const Floats p = integers(random, n), m = integers(random, n), r = integers(random, n);
        Floats x = integers(random, n);
        const Floats low(size(n), -9), high(size(n), 9);
        if (n > 2) x[2] = kNan;
        name(kernels, "tie", n);
        CHECK_EQUAL(run_tie(kernels, tie, accumulate, p, m, x, low, high, r),
                    run_tie(reference, tie, accumulate, p, m, x, low, high, r));
      }
  // Two rows of two values, three apart: what lies between them stays.
  const Floats tile{1, 2, 3, 4}, factor{5, 6, 7, 8, 9};
  Floats spread{-1, -1, -1, -1, -1};
  TieArgs rows{Tie::times_x,
               tile.data(),
               nullptr,
               factor.data(),
               nullptr,
               nullptr,
               false,
               spread.data(),
               2,
               2,
               2,
               3};
  kernels.tie(rows);
  CHECK_EQUAL(spread, (Floats{5, 12, -1, 24, 36}));
  name(kernels, "tie by hand", 3);
  const Floats p{2, 2, 2}, m{5, 5, 5}, x{3, -3, 0}, low{-1, -1, -1}, high{4, 4, 4}, r{10, 10, 10};
  const auto run = [&](Tie tie, bool accumulate) {
    return run_tie(kernels, tie, accumulate, p, m, x, low, high, r);
  };
  CHECK_EQUAL(run(Tie::copy, false), p);
  CHECK_EQUAL(run(Tie::times_x, false), (Floats{6, -6, 0}));
  CHECK_EQUAL(run(Tie::by_sign, false), (Floats{6, -15, 0}));
  CHECK_EQUAL(run(Tie::by_sign, true), (Floats{16, -5, 10}));
  CHECK_EQUAL(run(Tie::box, false), (Floats{3, -39, -18}));
}

constexpr Tail kTails[] = {Tail::none, Tail::relu, Tail::leaky_relu, Tail::clip};

struct Finished {
  Floats y, z, zp, zn, total;
};

// gap: results are part of wider pixels. With a bias also max(0, y + other), other being -3, 0
// or 2.
Finished run_finish(const Kernels& kernels, Tail tail, std::int64_t pixels, std::int64_t channels,
                    const Floats& first, const Floats* second, const Floats* sum,
                    const Floats* bias, bool all, std::int64_t gap = 3) {
  const std::int64_t stride = channels + gap;
  const std::size_t n = size(pixels * stride);
  Finished out{Floats(n), Floats(all ? n : 0), Floats(all ? n : 0), Floats(all ? n : 0), Floats(n)};
  const float* b = bias ? bias->data() : nullptr;
  Floats other(n);
  for (std::size_t i = 0; i < n; ++i) other[i] = i % 3 == 0 ? -3.0f : i % 3 == 1 ? 0.0f : 2.0f;
  kernels.finish({first.data(),
                  second ? second->data() : nullptr,
                  sum ? sum->data() : nullptr,
                  pixels,
                  channels,
                  b,
                  b,
                  b,
                  b,
                  tail,
                  tail == Tail::clip ? -1.0f : 0.25f,
                  6,
                  out.y.data(),
                  all ? out.z.data() : nullptr,
                  all ? out.zp.data() : nullptr,
                  all ? out.zn.data() : nullptr,
                  channels,
                  stride,
                  bias != nullptr,
                  bias ? other.data() : nullptr,
                  bias ? out.total.data() : nullptr,
                  Tail::relu});
  return out;
}

void test_finish(const Kernels& kernels, const Kernels& reference, std::int64_t pixels,
                 std::int64_t gap) {
  for (std::int64_t channels : kSizes)
    for (Tail tail : kTails)
      for (int options = 0; options < 16; ++options) {
        Random random(size(channels) + 300);
        Floats p = integers(random, pixels * channels);
        const Floats m = integers(random, pixels * channels), bias = integers(random, channels);
        const Floats sums = integers(random, pixels * channels);
        if (channels > 0) p.back() = kNan;
        const Floats* sum = options & 8 ? &sums : nullptr;
        const Floats* second = options & 1 ? &m : nullptr;
        const Floats* b = options & 2 ? &bias : nullptr;
        name(kernels, "finish", channels);
        const auto run = [&](const Kernels& k) {
          return run_finish(k, tail, pixels, channels, p, second, sum, b, (options & 4) != 0, gap);
        };
        const Finished got = run(kernels), wanted = run(reference);
        CHECK_EQUAL(got.y, wanted.y);
        CHECK_EQUAL(got.z, wanted.z);
        CHECK_EQUAL(got.zp, wanted.zp);
        CHECK_EQUAL(got.zn, wanted.zn);
        CHECK_EQUAL(got.total, wanted.total);
      }
}

void test_finish_by_hand(const Kernels& kernels) {
  name(kernels, "finish by hand", 5);
  const Floats p{-8, -0.0f, 4, 9, kNan};
  const auto y = [&](Tail tail) {
    Floats result = run_finish(kernels, tail, 1, 5, p, nullptr, nullptr, nullptr, false).y;
    result.resize(5);
    return result;
  };
  CHECK_EQUAL(y(Tail::none), p);
  CHECK_EQUAL(y(Tail::relu), (Floats{0, 0, 4, 9, kNan}));
  CHECK_EQUAL(y(Tail::leaky_relu), (Floats{-2, 0, 4, 9, kNan}));
  CHECK_EQUAL(y(Tail::clip), (Floats{-1, 0, 4, 6, kNan}));
}

void test_tail_gradient(const Kernels& kernels, const Kernels& reference) {
  for (std::int64_t n : kSizes)
    for (Tail tail : kTails) {
      Random random(size(n) + 400);
      const Floats y = integers(random, n), g = integers(random, n);
      const auto run = [&](const Kernels& k, bool in_place) {
        Floats out = in_place ? g : Floats(size(n));
        k.tail_gradient({tail, 0.5f, 6, y.data(), in_place ? out.data() : g.data(), out.data(), n});
        return out;
      };
      name(kernels, "tail gradient", n);
      const Floats wanted = run(reference, false);
      CHECK_EQUAL(run(kernels, false), wanted);
      CHECK_EQUAL(run(kernels, true), wanted);
    }
  name(kernels, "tail gradient by hand", 4);
  const Floats y{-1, 0, 2, 6}, g{1, 1, 1, 1};
  const auto run = [&](Tail tail, float a, float b) {
    Floats out(4);
    kernels.tail_gradient({tail, a, b, y.data(), g.data(), out.data(), 4});
    return out;
  };
  CHECK_EQUAL(run(Tail::relu, 0, 0), (Floats{0, 0, 1, 1}));
  CHECK_EQUAL(run(Tail::leaky_relu, 0.25f, 0), (Floats{0.25f, 0.25f, 1, 1}));
  CHECK_EQUAL(run(Tail::clip, 0, 6), (Floats{0, 0, 1, 0}));
}

struct Pooling {
  std::int64_t channels, height, width, out_height, out_width;
  TapTable y, x;
  Floats inverse_count;  // per output pixel

  Pooling(std::int64_t c, std::int64_t size, std::int64_t kernel, std::int64_t stride,
          std::int64_t pad, std::int64_t dilation)
      : channels(c), height(size), width(size + 2) {
    const std::int64_t reach = (kernel - 1) * dilation + 1;
    out_height = (height + 2 * pad - reach) / stride + 1;
    out_width = (width + 2 * pad - reach) / stride + 1;
    y = window_taps(out_height, height, kernel, stride, dilation, pad);
    x = window_taps(out_width, width, kernel, stride, dilation, pad);
    for (std::int64_t i = 0; i < out_height * out_width; ++i)
      inverse_count.push_back(1.0f / static_cast<float>(1 << i % 4));
  }
  std::int64_t sources() const { return height * width * channels; }
  std::int64_t results() const { return out_height * out_width * channels; }
};

struct Pooled {
  Floats y;
  std::vector<std::int32_t> winner;
};

// rows: output rows per call.
Pooled run_pool(const Kernels& kernels, const Pooling& pool, const Floats& x, bool max,
                std::int64_t rows, bool with_winner = true) {
  Pooled out{Floats(size(pool.results())), {}};
  if (max && with_winner) out.winner.resize(size(pool.results()));
  const std::int64_t row = pool.out_width * pool.channels;
  for (std::int64_t y0 = 0; y0 < pool.out_height; y0 += rows) {
    PoolArgs args{};
    args.x = x.data();
    args.channels = pool.channels;
    args.source_width = pool.width;
    args.out_width = pool.out_width;
    args.y0 = y0;
    args.y1 = y0 + rows < pool.out_height ? y0 + rows : pool.out_height;
    args.y_taps = pool.y.view();
    args.x_taps = pool.x.view();
    args.inverse_count = pool.inverse_count.data();
    args.y = out.y.data() + y0 * row;
    args.winner = out.winner.empty() ? nullptr : out.winner.data() + y0 * row;
    (max ? kernels.max_pool : kernels.average_pool)(args);
  }
  return out;
}

void test_pooling(const Kernels& kernels, const Kernels& reference) {
  struct Window {
    std::int64_t kernel, pad, dilation;
  };
  constexpr Window windows[] = {{1, 0, 1}, {2, 0, 1}, {2, 1, 1}, {3, 0, 1},
                                {3, 1, 1}, {2, 0, 2}, {3, 1, 2}};
  for (std::int64_t channels : {1, 3, 4, 8, 9, 16, 17, 33})
    for (const auto& [kernel, pad, dilation] : windows) {
      const std::int64_t stride = dilation == 1 ? 2 : 1;
      const Pooling pool(channels, 6, kernel, stride, kernel > 1 ? pad : 0, dilation);
      Random random(size(channels) + 500);
      Floats x = integers(random, pool.sources());
      x[size(pool.sources() / 2)] = kNan;
      x[0] = -kInfinity;
      name(kernels, "pooling", channels);
      const Pooled wanted = run_pool(reference, pool, x, true, pool.out_height);
      for (std::int64_t rows : {std::int64_t{1}, pool.out_height}) {
        const Pooled got = run_pool(kernels, pool, x, true, rows);
        CHECK_EQUAL(got.y, wanted.y);
        CHECK(got.winner == wanted.winner);
        CHECK_EQUAL(run_pool(kernels, pool, x, true, rows, false).y, wanted.y);
        CHECK_EQUAL(run_pool(kernels, pool, x, false, rows).y,
                    run_pool(reference, pool, x, false, pool.out_height).y);
      }
      Floats back(x.size()), wanted_back(x.size());
      const Floats r = integers(random, pool.results());
      const TapTable y = transposed(pool.y, pool.height), xt = transposed(pool.x, pool.width);
      const auto unpool_max = [&](const Kernels& k, std::int64_t y0, std::int64_t y1,
                                  bool accumulate, Floats& to) {
        k.unpool_max({r.data(), wanted.winner.data(), channels, pool.out_width, pool.width, y0, y1,
                      y.view(), xt.view(), accumulate, to.data()});
      };
      for (bool accumulate : {false, true}) {
        unpool_max(kernels, 0, 2, accumulate, back);
        unpool_max(kernels, 2, pool.height, accumulate, back);
        unpool_max(reference, 0, pool.height, accumulate, wanted_back);
        CHECK_EQUAL(back, wanted_back);
      }
      const auto unpool = [&](const Kernels& k, std::int64_t rows) {
        Floats out(x.size(), kNan);
        for (std::int64_t y0 = 0; y0 < pool.height; y0 += rows)
          k.unpool_average({r.data(), channels, pool.out_width, pool.width, y0,
                            y0 + rows < pool.height ? y0 + rows : pool.height, y.view(), xt.view(),
                            pool.inverse_count.data(), out.data() + y0 * pool.width * channels});
        return out;
      };
      const Floats wanted_average = unpool(reference, pool.height);
      CHECK_EQUAL(unpool(kernels, pool.height), wanted_average);
      CHECK_EQUAL(unpool(kernels, 1), wanted_average);
    }
}

// 1 x 4 pixels pooled in pairs, and a window that lies in the padding.
void test_pooling_by_hand(const Kernels& kernels) {
  name(kernels, "pooling by hand", 4);
  TapTable rows = identity_taps(1), columns;
  for (int o = 0; o < 3; ++o) {
    for (int t = 0; t < 2 && o < 2; ++t) columns.add(t, 2 * o + t);
    columns.close();
  }
  const Floats x{2, 2, kNan, 7};
  Floats y(3), r_in(4);
  std::vector<std::int32_t> winner(3);
  PoolArgs args{};
  args.x = x.data();
  args.channels = 1;
  args.source_width = 4;
  args.out_width = 3;
  args.y1 = 1;
  args.y_taps = rows.view();
  args.x_taps = columns.view();
  args.y = y.data();
  args.winner = winner.data();
  kernels.max_pool(args);
  CHECK(winner == (std::vector<std::int32_t>{0, 2, -1}));  // the first of two equal maxima
  CHECK_EQUAL(y, (Floats{2, kNan, -kInfinity}));
  const Floats r{10, 20, 30};
  const TapTable back = transposed(columns, 4);
  kernels.unpool_max(
      {r.data(), winner.data(), 1, 3, 4, 0, 1, rows.view(), back.view(), false, r_in.data()});
  CHECK_EQUAL(r_in, (Floats{10, 0, 20, 0}));
}

void test_simple(const Kernels& kernels, const Kernels& reference) {
  for (std::int64_t n : kSizes) {
    Random random(size(n) + 600);
    const Floats a = integers(random, n), b = integers(random, n), x = integers(random, 3 * n);
    Floats got = a, wanted(size(n));
    name(kernels, "add", n);
    kernels.add({got.data(), b.data(), got.data(), n});  // in place
    reference.add({a.data(), b.data(), wanted.data(), n});
    CHECK_EQUAL(got, wanted);

    for (int options = 0; options < 4; ++options) {
      const auto run = [&](const Kernels& k) {
        Floats y(size(3 * n));
        k.scale_shift({x.data(), options & 1 ? a.data() : nullptr, options & 2 ? b.data() : nullptr,
                       y.data(), 3, n});
        return y;
      };
      name(kernels, "scale and shift", n);
      CHECK_EQUAL(run(kernels), run(reference));
    }
    for (std::int64_t rows : kSizes) {
      const Floats matrix = reals(random, rows * n);
      const auto run = [&](const Kernels& k) {
        Floats y(matrix.size());
        k.transpose({matrix.data(), y.data(), rows, n});
        return y;
      };
      name(kernels, "transpose", n);
      CHECK_EQUAL(run(kernels), run(reference));
    }
  }
}

}  // namespace

int main() {
  const Kernels& reference = kernels_for(Isa::reference);
  for (Isa isa : available_isas()) {
    const Kernels& kernels = kernels_for(isa);
    test_list(kernels, reference);
    test_list_by_hand(kernels);
    test_map(kernels, reference);
    test_map_of_shares(kernels);
    test_map_by_hand(kernels);
    test_tie(kernels, reference);
    test_finish(kernels, reference, 3, 3);
    test_finish(kernels, reference, 37, 0);
    test_finish_by_hand(kernels);
    test_tail_gradient(kernels, reference);
    test_pooling(kernels, reference);
    test_pooling_by_hand(kernels);
    test_simple(kernels, reference);
  }
  return check::finish("elementwise");
}
