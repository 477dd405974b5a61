// The contraction kernels of every instruction set against the definition. Data are small integers
// wherever values are compared: every partial sum is exact, so the order of summation does not
// matter and results must agree to the bit.

#include <cmath>

#include "check.h"
#include "contraction_case.h"
#include "dispatch.h"

using namespace relprop;
using namespace relprop::test;

namespace {

using Run = Sums (*)(const Case&, const Kernels&);

Sums run_skip(const Case& c, const Kernels& kernels) { return by_skip(c, kernels); }
Sums run_skip_whole(const Case& c, const Kernels& kernels) { return by_skip(c, kernels, {}, true); }
Sums run_skip_pairs(const Case& c, const Kernels& kernels) {
  return by_skip(c, kernels, {}, false, true);
}
Sums run_partition(const Case& c, const Kernels& kernels) { return by_partition(c, kernels); }
Sums run_planar(const Case& c, const Kernels& kernels) { return by_planar(c, kernels); }
Sums run_dense(const Case& c, const Kernels& kernels) { return by_dense(c, kernels); }
Sums run_matrix(const Case& c, const Kernels& kernels) { return by_matrix(c, kernels); }
Sums run_fold(const Case& c, const Kernels& kernels) { return by_fold(c, kernels); }
Sums run_scatter(const Case& c, const Kernels& kernels) { return by_scatter(c, kernels); }
Sums run_narrow(const Case& c, const Kernels& kernels) { return by_narrow(c, kernels); }
Sums run_depthwise(const Case& c, const Kernels& kernels) { return by_depthwise(c, kernels); }

constexpr Mode kAllModes[] = {Mode::plain, Mode::split_product, Mode::split_weight, Mode::blend,
                              Mode::blend_both};

void check_run(const Case& c, const Sums& wanted, const Kernels& kernels, const char* kind,
               Run run) {
  check::context = std::string(kernels.name) + " " + kind + " " + c.name();
  const Sums got = run(c, kernels);
  CHECK_EQUAL(got.first, wanted.first);
  CHECK_EQUAL(got.second, wanted.second);
  CHECK_EQUAL(got.sum, wanted.sum);
}

void check_case(const Case& c) {
  const Sums wanted = by_definition(c);
  for (Isa isa : available_isas()) {
    const Kernels& kernels = kernels_for(isa);
    if (c.depthwise()) {
      check_run(c, wanted, kernels, "depthwise", run_depthwise);
      continue;
    }
    check_run(c, wanted, kernels, "skip", run_skip);
    check_run(c, wanted, kernels, "skip, whole weights", run_skip_whole);
    if (kernels.lists_pairs) check_run(c, wanted, kernels, "skip, pairs", run_skip_pairs);
    check_run(c, wanted, kernels, "narrow", run_narrow);
    if (!has_sum(c.mode) && !c.shape.pointwise) check_run(c, wanted, kernels, "fold", run_fold);
    if (scatter_of(c, kernels).run > 0) check_run(c, wanted, kernels, "scatter", run_scatter);
    check_run(c, wanted, kernels, "partition", run_partition);
    if (planes_of(c, kernels).rows > 0) check_run(c, wanted, kernels, "planar", run_planar);
    if (c.mode == Mode::plain) check_run(c, wanted, kernels, "dense", run_dense);
    if (kernels.matrix[0]) check_run(c, wanted, kernels, "matrix", run_matrix);
  }
}

void check_geometry(const Geometry& geometry, std::uint64_t seed) {
  for (Mode mode : kAllModes)
    for (double density : {0.0, 0.3, 1.0})
      for (bool nonnegative : {false, true})
        check_case(Case(geometry, mode, {density, true, nonnegative}, seed));
}

// Outputs and channels around the vector widths 4, 8, 16 and the blocks 32 and 64.
void test_sizes() {
  for (std::int64_t outputs : {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130})
    check_geometry({1, 7, outputs, 4, 5, 3, 1, 1, 1}, 11);
  for (std::int64_t channels : {1, 2, 4, 9, 15, 16, 17, 31, 32, 33, 64, 65, 97})
    check_geometry({1, channels, 6, 3, 4, 3, 1, 1, 1}, 12);
  for (std::int64_t width : {1, 3, 8, 15, 16, 17, 31, 33, 63, 64, 65, 129})
    check_geometry({1, 5, 3, 1, width, 3, 1, 1, 1}, 13);
}

void test_windows() {
  std::uint64_t seed = 20;
  for (std::int64_t kernel : {1, 2, 3, 5})
    for (std::int64_t stride : {1, 2, 3})
      for (std::int64_t dilation : {1, 2})
        for (std::int64_t pad : {std::int64_t{0}, std::int64_t{1}, kernel})
          for (bool transposed : {false, true}) {
            const Geometry g{1, 3, 5, 9, 11, kernel, stride, dilation, pad, transposed};
            const std::int64_t reach = (kernel - 1) * dilation + 1;
            if (transposed && (g.height - 1) * stride + reach - 2 * pad < 1) continue;
            for (Mode mode : kAllModes) check_case(Case(g, mode, {0.6, true, false}, ++seed));
          }
}

void test_groups() {
  check_geometry({3, 5, 7, 4, 6, 3, 1, 1, 1}, 31);
  check_geometry({2, 33, 17, 3, 5, 3, 2, 1, 1}, 32);
  check_geometry({4, 1, 2, 5, 5, 3, 1, 2, 2}, 33);
}

void test_pointwise() {
  for (std::int64_t pixels : {1, 2, 7, 64, 70}) {
    Geometry g{1, 70, 67, 1, pixels};
    g.pointwise = true;
    check_geometry(g, 41);
  }
  Geometry grouped{2, 40, 20, 2, 5};
  grouped.pointwise = true;
  check_geometry(grouped, 42);
}

void test_depthwise() {
  for (std::int64_t channels : {1, 3, 4, 7, 8, 9, 16, 17, 33, 80})
    for (std::int64_t kernel : {1, 3})
      for (std::int64_t stride : {1, 2})
        for (Mode mode : kAllModes)
          check_case(Case({channels, 1, 1, 5, 6, kernel, stride, 1, kernel / 2}, mode,
                          {0.8, true, false}, 51));
}

bool same(const Sums& a, const Sums& b) {
  return check::same_bits(a.first, b.first) && check::same_bits(a.second, b.second) &&
         check::same_bits(a.sum, b.sum);
}

// Real data: an output must have the same bits however the work is cut.
void test_tiling(const Kernels& kernels) {
  const Geometry geometries[] = {
      {1, 45, 150, 7, 37, 3, 1, 1, 1},    {2, 70, 37, 6, 9, 3, 2, 1, 1},
      {1, 3, 70, 9, 21, 7, 1, 1, 3},      {1, 40, 19, 9, 9, 2, 2, 1, 0, true},
      {1, 37, 70, 8, 8, 1, 1, 1, 0},      {1, 40, 70, 5, 40, 5, 1, 1, 2},
      {1, 6, 2, 9, 50, 3, 1, 1, 1, true}, {1, 300, 1, 5, 6, 3, 2, 1, 1, true},
  };
  for (const Geometry& g : geometries)
    for (Mode mode : kAllModes)
      for (bool nonnegative : {false, true}) {
        const Case c(g, mode, {0.5, false, nonnegative}, 61);
        check::context = std::string(kernels.name) + " tiling " + c.name();
        const std::int64_t block = kernels.lane_block;
        const Sums whole = by_skip(c, kernels), pairs = by_skip(c, kernels, {}, false, true);
        for (const Tile& tile : {Tile{1, 0, 0}, Tile{0, 1, 0}, Tile{0, 0, block}, Tile{2, 5, block},
                                 Tile{3, 2, 2 * block}, Tile{0, 7, 0}}) {
          CHECK(same(by_skip(c, kernels, tile), whole));
          CHECK(same(by_skip(c, kernels, tile, false, true), pairs));
        }
        CHECK(same(by_narrow(c, kernels, 2), by_narrow(c, kernels)));
        if (!has_sum(mode)) CHECK(same(by_fold(c, kernels, 2), by_fold(c, kernels)));
        if (mode == Mode::plain) {
          const Sums tiles = by_dense(c, kernels);
          for (std::int64_t pixels : {1, 4, 7, 12})
            CHECK(same(by_dense(c, kernels, pixels, kernels.dense_lanes), tiles));
        }
        if (kernels.matrix[0]) {
          const Sums tiles = by_matrix(c, kernels);
          for (std::int64_t pixels : {1, 5, 16, 40})
            CHECK(same(by_matrix(c, kernels, pixels), tiles));
          CHECK(same(by_matrix(c, kernels, 0, kMatrixPair), tiles));
        }
        if (planes_of(c, kernels).rows > 0)
          for (std::int64_t rows : {1, 2})
            CHECK(same(by_planar(c, kernels, rows), by_planar(c, kernels)));
        if (scatter_of(c, kernels).run > 0)
          for (std::int64_t rows : {1, 3})
            CHECK(same(by_scatter(c, kernels, rows), by_scatter(c, kernels)));
        const Sums panels = by_partition(c, kernels);
        for (std::int64_t step : {1, 3, 16})
          if (step <= kernels.panel_lanes) CHECK(same(by_partition(c, kernels, step), panels));
        for (std::int64_t outputs : {2, 16})
          CHECK(same(by_partition(c, kernels, 0, outputs), panels));
      }
  for (Mode mode : kAllModes) {
    const Case c({37, 1, 1, 8, 9, 3, 1, 1, 1}, mode, {1, false, false}, 62);
    check::context = std::string(kernels.name) + " depthwise tiling " + c.name();
    const Sums whole = by_depthwise(c, kernels);
    for (std::int64_t rows : {1, 3}) CHECK(same(by_depthwise(c, kernels, rows), whole));
  }
}

// A product that is put together from parts is a float's, but for half a unit in its last place
// that is left out and another that is rounded: 2^-23 in all, whatever its size.
void test_parts(const Kernels& kernels) {
  if (!kernels.matrix[0]) return;
  Geometry g{1, 1, 40, 1, 70};
  g.pointwise = true;
  for (float scale : {0x1p-40f, 1.0f, 0x1p40f}) {
    Case c(g, Mode::plain, {1, false, false}, 71);
    for (float& v : c.a) v *= scale;
    check::context = std::string(kernels.name) + " parts " + c.name();
    const Sums got = by_matrix(c, kernels);
    for (std::size_t p = 0; p < c.a.size(); ++p)
      for (std::size_t m = 0; m < c.weight.size(); ++m) {
        const double exact = double(c.weight[m]) * c.a[p];
        const double error = got.first[p * c.weight.size() + m] - exact;
        CHECK(std::abs(error) <= 0x1p-23 * std::abs(exact));
      }
  }
}

// NaN in one source pixel: everything that reads it becomes NaN, nothing else changes.
void test_nan(const Kernels& kernels, const Geometry& g) {
  for (float bad : {std::nanf(""), -std::nanf("")})
    for (Mode mode : kAllModes)
      for (bool nonnegative : {false, true}) {
        const Case clean(g, mode, {0.7, true, nonnegative}, 81);
        Case c = clean;
        const std::int64_t pixel = 2 * g.width + 3, channel = g.channels / 2;
        c.a[static_cast<std::size_t>(pixel * g.channels + channel)] = bad;
        if (!c.b.empty()) c.b[static_cast<std::size_t>(pixel * g.channels + channel)] = bad;
        for (float& w : c.weight) w = w == 0 ? 1 : w;
        Case same_weight = clean;
        same_weight.weight = c.weight;
        check::context = std::string(kernels.name) + " NaN " + c.name();
        const Sums good = by_definition(same_weight);
        const auto check_sums = [&](const Sums& got) {
          for (std::int64_t i = 0; i < c.out_pixels() * c.results(); ++i) {
            const std::int64_t p = i / c.results(), y = p / c.out_width, x = p % c.out_width;
            const bool reads = y >= 1 && y <= 3 && x >= 2 && x <= 4;
            const float first = got.first[i], second = has_second(mode) ? got.second[i] : first;
            if (reads) {
              CHECK(std::isnan(first) || std::isnan(second));
            } else {
              CHECK(first == good.first[i]);
              if (has_second(mode)) CHECK(second == good.second[i]);
            }
          }
        };
        check_sums(by_skip(c, kernels));
        check_sums(by_skip(c, kernels, {}, false, true));
        check_sums(by_narrow(c, kernels));
        check_sums(by_partition(c, kernels));
        if (planes_of(c, kernels).rows > 0) check_sums(by_planar(c, kernels));
        if (scatter_of(c, kernels).run > 0) check_sums(by_scatter(c, kernels));
        if (mode == Mode::plain) check_sums(by_dense(c, kernels));
        if (kernels.matrix[0]) check_sums(by_matrix(c, kernels));
      }
}

}  // namespace

int main() {
  test_sizes();
  test_windows();
  test_groups();
  test_pointwise();
  test_depthwise();
  for (Isa isa : available_isas()) {
    const Kernels& kernels = kernels_for(isa);
    test_tiling(kernels);
    test_parts(kernels);
    test_nan(kernels, {1, 35, 20, 6, 7, 3, 1, 1, 1});
    test_nan(kernels, {1, 7, 3, 6, 7, 3, 1, 1, 1, true});
  }
  return check::finish("contractions");
}
