// What the machine can do at best, as JSON: multiply-adds of an instruction set, and reading from a
// buffer of a given size and from one that no cache holds, by some threads together.
//
//   bench_machine isa threads bytes

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "fma_peak.h"

using namespace relprop;

namespace {

constexpr std::size_t kMemoryBytes = std::size_t{1} << 30;
constexpr int kRepetitions = 12;
constexpr double kShortest = 0.05;  // seconds that a repetition takes at least

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// f(thread) on all threads at once.
void together(int threads, const std::function<void(int)>& f) {
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(f, t);
  f(0);
  for (std::thread& other : others) other.join();
}

// The best rate of work(thread) in units per second; units: of one call on all threads.
double best_rate(int threads, double units, const std::function<void(int)>& work) {
  const double start = seconds();
  together(threads, work);
  const int calls = 1 + static_cast<int>(kShortest / (seconds() - start));
  double best = 0;
  for (int r = 0; r < kRepetitions; ++r) {
    const double begin = seconds();
    together(threads, [&](int t) {
      for (int i = 0; i < calls; ++i) work(t);
    });
    best = std::max(best, calls * units / (seconds() - begin));
  }
  return best;
}

volatile std::uint64_t sum_sink;

// Wider registers only help out of the caches near the core.
#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
std::uint64_t sum_of(const std::uint64_t* data, std::size_t count) {
  std::uint64_t sums[64] = {};
  for (std::size_t i = 0; i + 64 <= count; i += 64)
    for (int k = 0; k < 64; ++k) sums[k] += data[i + k];
  std::uint64_t sum = 0;
  for (std::uint64_t s : sums) sum += s;
  return sum;
}

// Bytes per second that the threads read together, each its own part of the buffer.
double read_rate(int threads, std::size_t bytes) {
  const std::size_t count = std::max<std::size_t>(bytes / sizeof(std::uint64_t) / threads, 64);
  std::vector<std::vector<std::uint64_t>> parts(threads);
  together(threads, [&](int t) { parts[t].assign(count, 1); });
  const double total = static_cast<double>(count * sizeof(std::uint64_t)) * threads;
  return best_rate(threads, total, [&](int t) { sum_sink = sum_of(parts[t].data(), count); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench_machine isa threads bytes\n");
    return 2;
  }
  Isa isa = Isa::reference;
  for (Isa candidate : available_isas())
    if (std::strcmp(argv[1], isa_name(candidate)) == 0) isa = candidate;
  const int threads = std::max(std::atoi(argv[2]), 1);
  const double operations = test::fma_chain(isa) * threads;
  const double peak =
      operations > 0 ? best_rate(threads, operations, [&](int) { test::fma_chain(isa); }) : 0;
  std::printf("{\"fma_gflops\": %.2f, \"read_gbs\": %.2f, \"memory_gbs\": %.2f}\n", peak / 1e9,
              read_rate(threads, std::strtoull(argv[3], nullptr, 10)) / 1e9,
              read_rate(threads, kMemoryBytes) / 1e9);
  return 0;
}
