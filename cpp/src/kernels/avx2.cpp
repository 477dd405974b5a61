#define RELPROP_ISA avx2
// clang-format off: kernels.inl is written over the Vec of the first
#include "vec_avx2.h"
#include "kernels.inl"
