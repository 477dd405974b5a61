#pragma once

#include "contraction.h"

namespace relprop {

// Path::phases: behind a stride, outputs that lie a stride apart read through the same taps. Each
// such phase is a product of its own, of a window of stride 1.

// Steps between the outputs of a phase; 0 where there are no phases or they do not pay.
PhaseSteps phase_steps(const ContractionShape& s, double density, const Kernels& kernels);

Phases make_phases(const ContractionShape& shape, const WeightView& weight, Mode mode,
                   SourceFacts source, const Kernels& kernels, const PhaseSteps& step);
std::int64_t phases_scratch(const Contraction& c, const Kernels& kernels);
void run_phases(const Contraction& c, const Kernels& kernels, const ContractionSource& source,
                std::int64_t n, float* scratch, std::int64_t scratch_stride, int n_threads,
                const FinishTile& finish);

}  // namespace relprop
