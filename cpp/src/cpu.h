#pragma once

namespace relprop {

// What processor and operating system can run together.
struct CpuFeatures {
  bool avx2_fma = false;
  bool avx512 = false;  // f, bw, dq, vl
};
CpuFeatures cpu_features();

}  // namespace relprop
