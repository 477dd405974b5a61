#define RELPROP_ISA baseline
#include "vec_baseline.h"

#include "kernels.inl"
