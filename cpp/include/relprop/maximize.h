#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "relprop/export.h"
#include "relprop/model.h"
#include "relprop/plan.h"
#include "relprop/prior.h"

namespace relprop {

// What a prototype is to make large, of a network's output or a layer's f.
enum class ObjectiveKind {
  log_probability,  // f_c - log sum exp f: the logarithm of the softmax
  neuron,           // f_k
  channel,          // mean of f over all positions of channel k
  layer,            // mean of f^2 over the whole layer
};

struct Objective {
  // Made with RuleKind::gradient for every node, for the layer that is meant. Behind it must be no
  // softmax: the output is what logits_node() names.
  const Plan* plan = nullptr;
  ObjectiveKind kind = ObjectiveKind::log_probability;
  std::int64_t index = 0;  // class, row-major position or channel
};

// How x changes by the gradient g in step t, with rate = rate decay^floor(t / decay_steps).
enum class UpdateKind {
  ascent,      // x += rate g
  momentum,    // v = momentum v + g, x += rate v
  adam,        // Kingma & Ba 2015, algorithm 1, upwards
  normalized,  // x += rate g / rms(g)
};
struct Update {
  UpdateKind kind = UpdateKind::adam;
  double rate = 0.05;
  double momentum = 0.9;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double decay = 1;
  std::int64_t decay_steps = 100;
};

// For images, (C, H, W). The network sees x through a random view in every step, the prior sees x.
struct View {
  std::int64_t jitter = 0;  // rolled by up to this many pixels, each way along each axis
  double scaling = 1;       // then resized about the centre by a factor in [1 / scaling, scaling]
  double blur = 0;  // standard deviation in pixels of the Gaussian that x is blurred with ...
  std::int64_t blur_steps = 4;  // ... after every so many steps
};

struct Progress {
  std::int64_t step = 0, steps = 0;
  std::int64_t climbing = 0;   // rows that have not stopped
  std::vector<double> values;  // per objective: objective and prior of the best restart
};

struct MaximizeRequest {
  std::vector<Objective> objectives;
  std::int64_t restarts = 1;
  std::int64_t steps = 200;
  std::uint64_t seed = 0;
  const Prior* prior = nullptr;
  // The start is initial + noise N(0, I). initial: empty (0), one x, or one per (objective,
  // restart).
  std::vector<float> initial;
  double noise = 0;
  std::vector<float> low, high;  // bounds of x: empty, or one per value
  Update update;
  View view;
  // A row stops when its value has not grown by tolerance * max(1, |value|) for `patience` steps.
  double tolerance = 0;
  std::int64_t patience = 0;  // 0: never
  // Called before every step on the calling thread; false cancels. May throw.
  std::function<bool(const Progress&)> progress;
  int n_threads = 0;  // 0: default_thread_count()
};

enum class Stop {
  steps,     // all steps are done
  stalled,   // the value no longer grew
  diverged,  // the next x or the value at x was not finite
};

// The best restart of one objective.
struct Prototype {
  std::vector<float> x;
  double probability = 0;  // softmax of the output at the index; NaN for channel and layer
  std::int64_t restart = 0;
  Stop stop = Stop::steps;
  // (steps + 1, 1 + experts): the objective and every expert before each step and at the end. At
  // the end the network sees x itself.
  std::vector<double> history;
};

// Activation maximization: all steps of all (objective, restart) rows. A row's result depends on
// its objective, its restart and the seed, not on what else is in the request or on the threads.
// Throws Error for a wrong request; returns nothing if cancelled.
RELPROP_API std::vector<Prototype> maximize(const MaximizeRequest& request);

// The node whose value is the logits of this output: the input of a softmax, or the node itself.
RELPROP_API int logits_node(const Model& model, int output);

// Adds the nodes of tail behind node `at`, which takes the place of tail's input; their names get
// the prefix. Returns the index that tail's node `output` has now. Throws Error where the shapes do
// not fit.
RELPROP_API int append(Model& model, int at, const Model& tail, int output,
                       const std::string& prefix = "");

}  // namespace relprop
