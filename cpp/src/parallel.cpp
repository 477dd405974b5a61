#include "parallel.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "relprop/plan.h"

namespace relprop {
namespace {

std::atomic<bool> region_started{false};
std::atomic<bool> serial_after_fork{false};

#if defined(__linux__)
void in_forked_child() {
  if (region_started.load()) serial_after_fork.store(true);
}

int affinity_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

// CPU bandwidth limit of a container: cgroup v2, then v1. 0 if there is none.
int cgroup_quota() {
  std::string quota;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period) {
    if (quota == "max" || period <= 0) return 0;
    return static_cast<int>(std::strtod(quota.c_str(), nullptr) / period + 0.999);
  }
  double microseconds = 0;
  std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (q >> microseconds && p >> period && microseconds > 0 && period > 0)
    return static_cast<int>(microseconds / period + 0.999);
  return 0;
}
#else
int affinity_count() { return 0; }
int cgroup_quota() { return 0; }
#endif

int usable_cores() {
  int cores = affinity_count();
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  const int quota = cgroup_quota();
  if (quota > 0 && quota < cores) cores = quota;
  return cores > 0 ? cores : 1;
}

}  // namespace

int default_thread_count() {
  static const int cores = usable_cores();
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int wanted = std::atoi(text);
    if (wanted > 0) return wanted;
  }
  return cores;
}

int effective_threads(int n_threads) {
#if defined(_OPENMP)
  if (serial_after_fork.load(std::memory_order_relaxed) || omp_in_parallel()) return 1;
  return n_threads > 0 ? n_threads : default_thread_count();
#else
  (void)n_threads;
  return 1;
#endif
}

void detail::parallel_run(int n_threads, std::int64_t n, void (*call)(void*, std::int64_t, int),
                          void* f) {
#if defined(_OPENMP)
  if (!region_started.exchange(true)) {
#if defined(__linux__)
    pthread_atfork(nullptr, nullptr, in_forked_child);
#endif
  }
#pragma omp parallel num_threads(n_threads)
  {
    const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t i = 0; i < n; ++i) call(f, i, thread);
  }
#else
  (void)n_threads;
  for (std::int64_t i = 0; i < n; ++i) call(f, i, 0);
#endif
}

}  // namespace relprop
