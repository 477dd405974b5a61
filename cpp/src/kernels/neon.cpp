#define RELPROP_ISA neon
#include "vec_neon.h"

#include "kernels.inl"
