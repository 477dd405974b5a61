#include "taps.h"

#include <algorithm>

namespace relprop {

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
  std::vector<std::int32_t> shift(static_cast<std::size_t>(kernel), 0);
  std::vector<std::int64_t> seen(static_cast<std::size_t>(kernel), 0);
  const AxisTaps taps = table.view();
  for (std::int64_t o = 0; o < table.size(); ++o)
    for (std::int32_t i = taps.begin[o]; i < taps.begin[o + 1]; ++i) {
      const auto t = static_cast<std::size_t>(taps.tap[i]);
      const auto s = static_cast<std::int32_t>(taps.source[i] - o);
      if (seen[t]++ != 0 && shift[t] != s) return {};
      shift[t] = s;
    }
  for (std::size_t t = 0; t < shift.size(); ++t) {
    const std::int64_t first = std::max<std::int64_t>(0, -shift[t]);
    const std::int64_t end = std::min<std::int64_t>(table.size(), sources - shift[t]);
    if (seen[t] == 0 || seen[t] != end - first) return {};
  }
  return shift;
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
