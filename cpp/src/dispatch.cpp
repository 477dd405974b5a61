#include "dispatch.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>

#include "cpu.h"
#include "relprop/error.h"

namespace relprop {
namespace {

struct Entry {
  Isa isa;
  const Kernels* kernels;
  bool runs;
};

#if defined(RELPROP_HAS_AMX)
const Kernels& amx_kernels() {
  static const Kernels kernels = [] {
    Kernels k = avx512::kernels;
    k.name = "amx";
    k.matrix_below = amx::kernels.skip_below;
    std::copy(std::begin(amx::kernels.matrix), std::end(amx::kernels.matrix), k.matrix);
    return k;
  }();
  return kernels;
}
#endif

// In order of preference, best last.
std::vector<Entry> entries() {
  // cpuid traps in virtual machines, at 0.1 ms a call.
  [[maybe_unused]] static const CpuFeatures features = cpu_features();
  std::vector<Entry> list = {{Isa::reference, &reference::kernels, true},
                             {Isa::baseline, &baseline::kernels, true}};
#if defined(RELPROP_HAS_AVX2)
  list.push_back({Isa::avx2, &avx2::kernels, features.avx2_fma});
#endif
#if defined(RELPROP_HAS_AVX512)
  list.push_back({Isa::avx512, &avx512::kernels, features.avx512});
#endif
#if defined(RELPROP_HAS_AMX)
  list.push_back({Isa::amx, &amx_kernels(), features.amx});
#endif
#if defined(RELPROP_HAS_NEON)
  list.push_back({Isa::neon, &neon::kernels, true});
#endif
  return list;
}

std::string names_of(const std::vector<Isa>& isas) {
  std::string names;
  for (Isa isa : isas) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::reference: return "reference";
    case Isa::baseline: return "baseline";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::neon: return "neon";
    case Isa::amx: return "amx";
  }
  return "unknown";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (const Entry& entry : entries())
    if (entry.runs) isas.push_back(entry.isa);
  return isas;
}

Isa default_isa() {
  const std::vector<Isa> isas = available_isas();
  const char* wanted = std::getenv("RELPROP_ISA");
  if (wanted == nullptr || *wanted == '\0') return isas.back();
  for (Isa isa : isas)
    if (std::string(wanted) == isa_name(isa)) return isa;
  throw Error(ErrorCode::invalid_argument, "RELPROP_ISA=" + std::string(wanted) +
                                               " cannot run here; available: " + names_of(isas));
}

const Kernels& kernels_for(Isa isa) {
  for (const Entry& entry : entries())
    if (entry.isa == isa && entry.runs) return *entry.kernels;
  throw Error(ErrorCode::invalid_argument,
              "instruction set " + std::string(isa_name(isa)) +
                  " cannot run here; available: " + names_of(available_isas()));
}

}  // namespace relprop
