#include <cmath>
#include <vector>

#include "check.h"
#include "density.h"
#include "random.h"
#include "relprop/relprop.h"

// The shares of non-zero values that a plan expects before it has seen any input.

using namespace relprop;

namespace {

using Floats = std::vector<float>;

constexpr std::int64_t kChannels = 64;

Window window(std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
  return {{kernel, kernel}, {stride, stride}, {1, 1}, {pad, pad}, {pad, pad}};
}

Activation relu() { return {Function::relu, 0, 0}; }

// Weights with a mean that is not zero, so that densities differ from a half.
Conv conv(std::int64_t in, std::int64_t out, Window w, std::uint64_t key, double mean) {
  const std::int64_t n = in * out * w.kernel[0] * w.kernel[1];
  Conv c{in, out, 1, w, Floats(static_cast<std::size_t>(n)), Floats(static_cast<std::size_t>(out))};
  const double scale = 1 / std::sqrt(static_cast<double>(n / out));
  Random(key).normal(0, nullptr, scale, c.weight.data(), n);
  for (float& v : c.weight) v += static_cast<float>(mean * scale);
  Random(key).normal(1, nullptr, 0.3, c.bias.data(), out);
  return c;
}

const Step& step_of(const Lowered& lowered, const Model& model, const char* name) {
  const int node = model.find(name);
  return lowered.steps[static_cast<std::size_t>(lowered.step_of[static_cast<std::size_t>(node)])];
}

double share_of_nonzero(const Model& model, const char* name, const Floats& x, std::int64_t n) {
  PlanOptions options;
  options.output = model.find(name);
  options.forward_only = true;
  const Plan plan(model, {}, options);
  Workspace workspace;
  Floats y(static_cast<std::size_t>(n * size_of(plan.output_shape())));
  plan.forward(x.data(), n, y.data(), workspace);
  double nonzero = 0;
  for (float v : y) nonzero += v != 0;
  return nonzero / static_cast<double>(y.size());
}

// Normal inputs of independent channels are what the estimate assumes, so there it has to be right.
void test_agrees_with_samples() {
  Model model({kChannels, 1, 1});
  int x = model.add("conv1", {0}, conv(kChannels, kChannels, window(1, 1, 0), 1, 0.1));
  x = model.add("relu1", {x}, relu());
  x = model.add("conv2", {x}, conv(kChannels, kChannels, window(1, 1, 0), 2, -0.2));
  x = model.add("relu2", {x}, relu());
  x = model.add("conv3", {x}, conv(kChannels, kChannels, window(1, 1, 0), 3, 0.3));
  x = model.add("relu3", {x}, relu());
  model.add_output("y", x);
  constexpr std::int64_t kSamples = 2000;
  Floats samples(static_cast<std::size_t>(kSamples * kChannels));
  Random(4).normal(0, nullptr, 1, samples.data(), kSamples * kChannels);
  const Lowered lowered = lower(model, x);
  for (const char* name : {"relu1", "relu2", "relu3"}) {
    check::context = std::string("samples, ") + name;
    const double expected = step_of(lowered, model, name).density;
    CHECK(std::fabs(expected - share_of_nonzero(model, name, samples, kSamples)) < 0.02);
  }
}

void test_bias_decides() {
  for (const double bias : {-9.0, 0.0, 9.0}) {
    check::context = "bias " + std::to_string(bias);
    Conv c = conv(3, 8, window(3, 1, 1), 5, 0);
    c.bias.assign(8, static_cast<float>(bias));
    Model model({3, 8, 8});
    const int y = model.add("relu", {model.add("conv", {0}, c)}, relu());
    model.add_output("y", y);
    const double density = step_of(lower(model, y), model, "relu").density;
    CHECK(std::fabs(density - (bias < 0 ? 0 : bias > 0 ? 1 : 0.5)) < 0.01);
  }
}

// What is no ReLU has no zeros; behind something unknown a ReLU leaves half.
void test_what_is_not_known() {
  check::context = "not known";
  Model model({3, 8, 8});
  int x = model.add("tanh", {0}, Activation{Function::tanh, 0, 0});
  x = model.add("conv", {x}, conv(3, 8, window(3, 1, 1), 6, 0));
  x = model.add("relu", {x}, relu());
  model.add_output("y", x);
  const Lowered lowered = lower(model, x);
  CHECK(step_of(lowered, model, "tanh").density == 1);
  CHECK(step_of(lowered, model, "relu").density == 0.5);
}

// A pooling window's relevance goes to one of its values, a target's to its field of view.
void test_relevance() {
  check::context = "relevance";
  Model model({3, 32, 32});
  const int first = model.add("conv1", {0}, conv(3, 8, window(3, 1, 1), 7, 0));
  const int pooled = model.add("pool", {first}, MaxPool{window(2, 2, 0), false});
  const int deep = model.add("conv2", {pooled}, conv(8, 8, window(3, 1, 1), 8, 0));
  const int flat = model.add("flat", {deep}, Reshape{{8 * 16 * 16}});
  const int y = model.add("dense", {flat}, Dense{8 * 16 * 16, 2, Floats(2 * 8 * 16 * 16, 1), {}});
  model.add_output("y", y);
  model.add_output("map", deep);
  const Lowered whole = lower(model, y), map = lower(model, deep);
  CHECK(step_of(whole, model, "pool").relevance_density == 1);
  CHECK(step_of(whole, model, "conv1").relevance_density == 0.25);
  // 1 of 16 x 16, then 3 x 3 of them, then 6 x 6 of 32 x 32, of which a quarter are the largest.
  CHECK(step_of(map, model, "conv2").relevance_density < 0.01);
  CHECK(step_of(map, model, "pool").relevance_density == 9.0 / 256);
  CHECK(step_of(map, model, "conv1").relevance_density == 36.0 / 1024 * 0.25);
}

// In front of a mean over pixels a class has one channel, and its relevance no other.
void test_class_has_its_channel() {
  check::context = "one channel";
  Model model({3, 8, 8});
  int x = model.add("conv1", {0}, conv(3, 8, window(3, 1, 1), 9, 0));
  x = model.add("conv2", {x}, conv(8, 10, window(1, 1, 0), 10, 0));
  x = model.add("mean", {x}, AdaptiveAveragePool{});
  const int y = model.add("flat", {x}, Reshape{{10}});
  model.add_output("y", y);
  const Lowered lowered = lower(model, y);
  CHECK(step_of(lowered, model, "conv2").relevance_density == 0.1);
  CHECK(step_of(lowered, model, "conv1").relevance_density == 1);
}

}  // namespace

int main() {
  test_agrees_with_samples();
  test_bias_decides();
  test_what_is_not_known();
  test_relevance();
  test_class_has_its_channel();
  return check::finish("density");
}
