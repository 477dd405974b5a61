#define RELPROP_ISA baseline
// clang-format off: kernels.inl is written over the Vec of the first
#include "vec_baseline.h"
#include "kernels.inl"
