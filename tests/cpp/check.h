#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

// The least that a test needs: named cases, checks that say what they were about, an exit code.

namespace check {

inline int failures = 0;
inline std::string context;  // what is being tested: printed with a failure, enough to repeat it

inline void fail(const char* file, int line, const std::string& what) {
  if (++failures <= 20)
    std::fprintf(stderr, "%s:%d: %s [%s]\n", file, line, what.c_str(), context.c_str());
}

inline int finish(const char* name) {
  if (failures != 0) std::fprintf(stderr, "%s: %d failures\n", name, failures);
  return failures != 0;
}

// Index of the first value whose bits differ, or -1. A NaN equals any NaN: which of several NaN
// operands an instruction hands on is not part of any promise. +0 equals -0.
inline long first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i] || (a[i] != a[i] && b[i] != b[i]))) return static_cast<long>(i);
  return -1;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline std::string show(const std::vector<float>& got, const std::vector<float>& wanted) {
  const long at = first_difference(got, wanted);
  if (at < 0) return "equal";
  char text[120];
  std::snprintf(text, sizeof text, "value %ld of %zu is %.9g, expected %.9g", at, got.size(),
                got[static_cast<std::size_t>(at)], wanted[static_cast<std::size_t>(at)]);
  return text;
}

}  // namespace check

#define CHECK(condition) \
  ((condition) ? void() : check::fail(__FILE__, __LINE__, "failed: " #condition))
#define CHECK_EQUAL(got, wanted)            \
  (check::first_difference(got, wanted) < 0 \
       ? void()                             \
       : check::fail(__FILE__, __LINE__, #got ": " + check::show(got, wanted)))
