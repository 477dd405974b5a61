#include "taps.h"

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

}  // namespace relprop
