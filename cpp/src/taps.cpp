#include "taps.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace relprop {
namespace {

// The shifts of one period, see PhaseShifts; empty if it does not fit.
std::vector<std::int32_t> shifts_of_period(const TapTable& table, std::int64_t kernel,
                                           std::int64_t sources, std::int64_t period) {
  const auto count = static_cast<std::size_t>(kernel * period);
  std::vector<std::int32_t> shift(count, kNoShift);
  std::vector<std::int64_t> seen(count, 0);
  const AxisTaps taps = table.view();
  for (std::int64_t o = 0; o < table.size(); ++o)
    for (std::int32_t i = taps.begin[o]; i < taps.begin[o + 1]; ++i) {
      const auto at = static_cast<std::size_t>(o % period * kernel + taps.tap[i]);
      const auto s = static_cast<std::int32_t>(taps.source[i] - o / period);
      if (seen[at]++ != 0 && shift[at] != s) return {};
      shift[at] = s;
    }
  for (std::size_t at = 0; at < count; ++at) {
    if (seen[at] == 0) continue;
    const std::int64_t r = static_cast<std::int64_t>(at) / kernel;
    const std::int64_t outputs = (table.size() - r + period - 1) / period;
    const std::int64_t first = std::max<std::int64_t>(0, -shift[at]);
    const std::int64_t end = std::min<std::int64_t>(outputs, sources - shift[at]);
    if (seen[at] != end - first) return {};
  }
  return shift;
}

// Whether output b reads through the taps of output a, all sources being `step` further on.
bool reads_alike(const TapTable& table, std::int64_t a, std::int64_t b, std::int64_t step) {
  const AxisTaps taps = table.view();
  if (table.count(a) != table.count(b)) return false;
  for (std::int64_t j = 0; j < table.count(a); ++j) {
    const std::int64_t i = taps.begin[a] + j, k = taps.begin[b] + j;
    if (taps.tap[i] != taps.tap[k] || taps.source[k] - taps.source[i] != step) return false;
  }
  return true;
}

// Outputs o + p * period, p < count.
bool series_alike(const TapTable& table, std::int64_t o, std::int64_t period, std::int64_t count) {
  const AxisTaps taps = table.view();
  if (table.count(o) != table.count(o + period)) return false;
  const std::int64_t step =
      table.count(o) == 0 ? 0 : taps.source[taps.begin[o + period]] - taps.source[taps.begin[o]];
  for (std::int64_t p = 1; p < count; ++p)
    if (!reads_alike(table, o + (p - 1) * period, o + p * period, step)) return false;
  return true;
}

}  // namespace

void TapTable::add(std::int64_t t, std::int64_t s) {
  tap.push_back(static_cast<std::int32_t>(t));
  source.push_back(static_cast<std::int32_t>(s));
}

void TapTable::close() { begin.push_back(static_cast<std::int32_t>(tap.size())); }

TapTable window_taps(std::int64_t outputs, std::int64_t sources, std::int64_t kernel,
                     std::int64_t stride, std::int64_t dilation, std::int64_t pad) {
  TapTable table;
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t t = 0; t < kernel; ++t) {
      const std::int64_t s = o * stride - pad + t * dilation;
      if (s >= 0 && s < sources) table.add(t, s);
    }
    table.close();
  }
  return table;
}

TapTable transposed(const TapTable& table, std::int64_t sources) {
  std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> fed(
      static_cast<std::size_t>(sources));
  for (std::int64_t o = 0; o < table.size(); ++o)
    for (std::int32_t i = table.begin[o]; i < table.begin[o + 1]; ++i)
      fed[static_cast<std::size_t>(table.source[i])].emplace_back(table.tap[i], o);
  TapTable result;
  for (const auto& taps : fed) {
    for (const auto& [t, o] : taps) result.add(t, o);
    result.close();
  }
  return result;
}

TapTable adaptive_taps(std::int64_t outputs, std::int64_t sources) {
  TapTable table;
  for (std::int64_t o = 0; o < outputs; ++o) {
    const std::int64_t first = o * sources / outputs;
    const std::int64_t last = ((o + 1) * sources + outputs - 1) / outputs;
    for (std::int64_t s = first; s < last; ++s) table.add(s - first, s);
    table.close();
  }
  return table;
}

TapTable identity_taps(std::int64_t size) { return window_taps(size, size, 1, 1, 1, 0); }

PhaseShifts phase_shifts(const TapTable& table, std::int64_t kernel, std::int64_t sources) {
  for (std::int64_t period = 1; period <= 4; ++period) {
    PhaseShifts phases{period, 0, shifts_of_period(table, kernel, sources, period)};
    for (std::int32_t shift : phases.shift)
      if (shift != kNoShift) phases.most = std::max<std::int64_t>(phases.most, std::abs(shift));
    if (!phases.shift.empty()) return phases;
  }
  return {};
}

SourceSpan source_span(const TapTable& table, std::int64_t o0, std::int64_t o1) {
  const AxisTaps taps = table.view();
  if (taps.begin[o0] == taps.begin[o1]) return {0, 0};
  const auto [low, high] =
      std::minmax_element(taps.source + taps.begin[o0], taps.source + taps.begin[o1]);
  return {*low, *high + 1};
}

std::int64_t widest_span(const TapTable& table, std::int64_t step) {
  std::int64_t most = 0;
  for (std::int64_t o = 0; o < table.size(); o += step) {
    const SourceSpan span = source_span(table, o, std::min(o + step, table.size()));
    most = std::max(most, span.end - span.first);
  }
  return most;
}

AlikeOutputs alike_outputs(const TapTable& table, std::int64_t count) {
  AlikeOutputs best;
  std::int64_t most = -1;
  for (std::int64_t period = 1; period <= 4; ++period) {
    std::vector<std::uint8_t> alike(static_cast<std::size_t>(table.size()), 0);
    std::int64_t found = 0;
    for (std::int64_t o = 0; o + count * period <= table.size(); ++o) {
      bool all = true;
      for (std::int64_t r = 0; r < period && all; ++r)
        all = series_alike(table, o + r, period, count);
      alike[static_cast<std::size_t>(o)] = all;
      found += all;
    }
    if (found > most) {
      most = found;
      best = {period, std::move(alike)};
    }
  }
  return best;
}

std::vector<std::int64_t> tap_sources(const TapTable& table, std::int64_t kernel,
                                      std::int64_t stride) {
  std::vector<std::int64_t> at(static_cast<std::size_t>(kernel * table.size()), -1);
  const AxisTaps taps = table.view();
  for (std::int64_t o = 0; o < table.size(); ++o)
    for (std::int32_t i = taps.begin[o]; i < taps.begin[o + 1]; ++i)
      at[static_cast<std::size_t>(taps.tap[i] * table.size() + o)] = taps.source[i] * stride;
  return at;
}

std::vector<std::int32_t> tap_shifts(const TapTable& table, std::int64_t kernel,
                                     std::int64_t sources) {
  std::vector<std::int32_t> shift = shifts_of_period(table, kernel, sources, 1);
  if (std::find(shift.begin(), shift.end(), kNoShift) != shift.end()) return {};
  return shift;
}

std::vector<std::int32_t> tap_bases(const TapTable& table, std::int64_t kernel,
                                    std::int64_t sources) {
  const auto count = static_cast<std::size_t>(sources);
  std::vector<std::int32_t> base(count, 0);
  std::vector<std::int64_t> seen(count, 0);
  for (std::int64_t o = 0; o < table.size(); ++o)
    for (std::int32_t i = table.begin[static_cast<std::size_t>(o)];
         i < table.begin[static_cast<std::size_t>(o) + 1]; ++i) {
      const auto s = static_cast<std::size_t>(table.source[static_cast<std::size_t>(i)]);
      const std::int32_t b = static_cast<std::int32_t>(o) - table.tap[static_cast<std::size_t>(i)];
      if (seen[s]++ != 0 && base[s] != b) return {};
      base[s] = b;
    }
  for (std::size_t s = 0; s < count; ++s) {
    const std::int64_t first = std::max<std::int64_t>(base[s], 0);
    const std::int64_t end = std::min<std::int64_t>(base[s] + kernel, table.size());
    if (seen[s] == 0 || seen[s] != end - first) return {};
    if (s > 0 && base[s] < base[s - 1]) return {};
  }
  return base;
}

SlidingColumns sliding_columns(const TapTable& table, std::int64_t kernel, std::int64_t sources) {
  SlidingColumns s;
  if (kernel != 3) return s;
  const std::vector<std::int32_t> shift = tap_shifts(table, kernel, sources);
  if (shift.empty()) return s;
  s.offset = *std::min_element(shift.begin(), shift.end());
  bool there[3] = {};
  for (std::int32_t t = 0; t < 3; ++t) {
    const std::int64_t place = shift[static_cast<std::size_t>(t)] - s.offset;
    if (place > 2 || there[place]) return s;
    there[place] = true;
    s.tap[place] = t;
  }
  s.valid = true;
  return s;
}

TapTable in_sliding_order(TapTable table, const SlidingColumns& sliding) {
  for (std::int64_t o = 0; o < table.size(); ++o)
    for (std::int32_t i = table.begin[static_cast<std::size_t>(o)];
         i < table.begin[static_cast<std::size_t>(o) + 1]; ++i)
      table.tap[static_cast<std::size_t>(i)] =
          static_cast<std::int32_t>(table.source[static_cast<std::size_t>(i)] - o - sliding.offset);
  return table;
}

}  // namespace relprop
