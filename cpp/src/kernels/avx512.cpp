#define RELPROP_ISA avx512
// clang-format off: kernels.inl is written over the Vec of the first
#include "vec_avx512.h"
#include "kernels.inl"
