#define RELPROP_ISA neon
// clang-format off: kernels.inl is written over the Vec of the first
#include "vec_neon.h"
#include "kernels.inl"
