#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "relprop/prior.h"

namespace relprop {

// What an expert needs between calls of one caller.
struct TermScratch {
  Workspace workspace;
  std::vector<float> x, output, start, gradient;
};

// n rows on their way through one expert. log_p is `stride` values from row to row; the gradient
// is added to.
struct TermBatch {
  const float* x;
  std::int64_t n, size;
  double weight;
  double* log_p;
  std::int64_t stride;
  float* gradient;
  int threads;
};

// One expert, compiled.
class Term {
 public:
  virtual ~Term() = default;
  virtual void add(const TermBatch& batch, TermScratch& scratch) const = 0;
};

struct Prior::Impl {
  struct Entry {
    std::unique_ptr<const Term> term;
    double weight;
  };
  Shape shape;
  Isa isa;
  std::vector<Entry> entries;

  // As Prior::evaluate; scratch is kept between calls.
  void evaluate(const float* x, std::int64_t n, double* log_p, float* gradient, int threads,
                std::vector<TermScratch>& scratch) const;
};

// Throw Error naming the expert, the parameter, what was given and what is accepted.
[[noreturn]] void refuse_expert(const char* expert, const std::string& message);
void check_nonnegative(const char* expert, const char* name, double value);
void check_finite(const char* expert, const char* name, const std::vector<float>& values,
                  std::int64_t count, bool may_be_empty);
void check_positive(const char* expert, const char* name, const std::vector<float>& values);

// terms.cpp, dense_terms.cpp: check the expert for inputs of this shape and compile it.
std::unique_ptr<const Term> make_term(const L2& expert, const Shape& shape, Isa isa);
std::unique_ptr<const Term> make_term(const TotalVariation& expert, const Shape& shape, Isa isa);
std::unique_ptr<const Term> make_term(const Gaussian& expert, const Shape& shape, Isa isa);
std::unique_ptr<const Term> make_term(const GaussianRbm& expert, const Shape& shape, Isa isa);
std::unique_ptr<const Term> make_term(const LogDensity& expert, const Shape& shape, Isa isa);
std::unique_ptr<const Term> make_diagonal(const Gaussian& expert, const Shape& shape);

}  // namespace relprop
