#pragma once

#include <cstdint>
#include <utility>

// The only door to threads. OpenMP is seen by parallel.cpp alone.

namespace relprop {

// n_threads as requested, 0: default_thread_count(); 1 in a forked child of a process that has
// already run a parallel region (libgomp cannot restart its team there) and inside other regions.
int effective_threads(int n_threads);

namespace detail {
void parallel_run(int n_threads, std::int64_t n, void (*call)(void*, std::int64_t, int), void* f);
}

// Calls f(item, thread) for every item in [0, n), thread in [0, n_threads). Items are handed out
// dynamically, so f must compute the same bits for an item whoever runs it. f must not throw.
template <class F>
void parallel_for(int n_threads, std::int64_t n, F&& f) {
  if (n_threads <= 1 || n <= 1) {
    for (std::int64_t i = 0; i < n; ++i) f(i, 0);
    return;
  }
  auto call = [](void* object, std::int64_t item, int thread) {
    (*static_cast<std::remove_reference_t<F>*>(object))(item, thread);
  };
  detail::parallel_run(n_threads, n, call, &f);
}

}  // namespace relprop
