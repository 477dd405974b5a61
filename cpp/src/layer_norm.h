#pragma once

#include "plan_impl.h"

namespace relprop {

// Rows of layer.size values, one after the other in memory:
//   y_j = a_j (x_j - mean) + b_j,   a_j = w_j / sqrt(variance + eps)
void forward_layer_norm(const Execution& run, const CompiledStep& step);

// With the a_j taken as constants the layer is linear, and Norm is
//   R_i = x_i (a_i s_i - mean_j(a_j s_j)),   s_j = R_j / st(y_j)
// (Ali et al. 2022, "XAI for Transformers"). Pass hands R on as it is; the gradient is exact.
void back_layer_norm(const Execution& run, const CompiledStep& step, const float* r, float* r_in,
                     bool accumulate);

// The outputs of one row before they are rounded, without the bias where it is not absorbed.
void layer_norm_outputs(const LayerNorm& layer, bool absorb_bias, const float* x, double* z);

}  // namespace relprop
