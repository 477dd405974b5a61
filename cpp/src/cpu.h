#pragma once

namespace relprop {

// What processor and operating system can run together.
struct CpuFeatures {
  bool avx2_fma = false;
  bool avx512 = false;  // f, bw, dq, vl
  bool amx = false;     // tiles of bfloat16, and AVX-512
};
CpuFeatures cpu_features();

}  // namespace relprop
