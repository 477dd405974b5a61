#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace relprop {

// Owner of one axis' tap table: which source coordinates each output coordinate reads.
struct TapTable {
  std::vector<std::int32_t> begin{0}, tap, source;

  AxisTaps view() const { return {begin.data(), tap.data(), source.data()}; }
  std::int64_t size() const { return static_cast<std::int64_t>(begin.size()) - 1; }
  std::int64_t count(std::int64_t o) const { return begin[o + 1] - begin[o]; }
  void add(std::int64_t t, std::int64_t s);
  void close();  // ends the current output coordinate
};

// Output o reads source o * stride - pad + tap * dilation, where that lies in [0, sources).
TapTable window_taps(std::int64_t outputs, std::int64_t sources, std::int64_t kernel,
                     std::int64_t stride, std::int64_t dilation, std::int64_t pad);
// The same relation read from the other side: for every source, the outputs it feeds.
TapTable transposed(const TapTable& table, std::int64_t sources);
// Output o of `outputs` reads sources [floor(o S / O), ceil((o + 1) S / O)), as torch's adaptive
// pooling does.
TapTable adaptive_taps(std::int64_t outputs, std::int64_t sources);
TapTable identity_taps(std::int64_t size);

// The shift s of every tap, if each output o reads source o + s wherever that is one: any kernel of
// stride 1, from either side. Empty otherwise, and if a tap is never inside.
std::vector<std::int32_t> tap_shifts(const TapTable& table, std::int64_t kernel,
                                     std::int64_t sources);

// The base b of every source, if it reaches output b + t through each tap t for which that is one,
// bases in ascending order: any kernel without dilation, seen from its outputs. Empty otherwise.
std::vector<std::int32_t> tap_bases(const TapTable& table, std::int64_t kernel,
                                    std::int64_t sources);

// Shifts for outputs in phases: output q * period + r reads source q + shift[r * kernel + t]
// through tap t, wherever that is one, or nothing where the shift is kNoShift. A kernel of stride 1
// has period 1, one of stride s has period s from the other side. Empty where no period up to 4
// fits.
struct PhaseShifts {
  std::int64_t period = 1, most = 0;  // most: the largest |shift|
  std::vector<std::int32_t> shift;
};
PhaseShifts phase_shifts(const TapTable& table, std::int64_t kernel, std::int64_t sources);

// Sources [first, end) that outputs [o0, o1) read.
struct SourceSpan {
  std::int64_t first, end;
};
SourceSpan source_span(const TapTable& table, std::int64_t o0, std::int64_t o1);
// Of tiles of `step` outputs, the most sources that one spans.
std::int64_t widest_span(const TapTable& table, std::int64_t step);

// Outputs that a kernel can take together. alike[o]: for every r < period, outputs o + r + p *
// period, p < count, read through the same taps, from sources that move by the same step each time.
struct AlikeOutputs {
  std::int64_t period = 1;
  std::vector<std::uint8_t> alike;
};
// With the period of 1 to 4 for which most outputs are alike.
AlikeOutputs alike_outputs(const TapTable& table, std::int64_t count);

// [t * size + o]: what output o reads through tap t, times `stride`; -1 where that is nothing.
std::vector<std::int64_t> tap_sources(const TapTable& table, std::int64_t kernel,
                                      std::int64_t stride);

// Output o reads sources o + offset + {0, 1, 2}, where they exist, through the same three taps
// everywhere: a 3-wide kernel of stride 1, from either side.
struct SlidingColumns {
  bool valid = false;
  std::int64_t offset = 0;
  std::int32_t tap[3] = {0, 1, 2};  // that reads source o + offset + its index
};
SlidingColumns sliding_columns(const TapTable& table, std::int64_t kernel, std::int64_t sources);
// The same table with taps numbered as they slide.
TapTable in_sliding_order(TapTable table, const SlidingColumns& sliding);

}  // namespace relprop
