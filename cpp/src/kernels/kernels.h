#pragma once

#include <cstdint>

// The seam between planning and arithmetic: one table of functions per instruction set. Kernels get
// pointers and sizes, everything else was decided and checked before. They never allocate, throw,
// start threads or look at global state.
//
// Memory: a value is "channels last": (pixels, channels) per sample. A windowed layer, forward or
// backward, is written as a gather: each output pixel reads, per tap, one source pixel. Stride,
// padding, dilation and transposition are only different tap tables.

namespace relprop {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return ceil_div(n, multiple) * multiple;
}

// Taps of every output coordinate along one axis: those of coordinate o are
// tap[begin[o] .. begin[o + 1]), reading source coordinate source[...].
struct AxisTaps {
  const std::int32_t* begin;
  const std::int32_t* tap;
  const std::int32_t* source;
};

// What a contraction sums over the inputs k of an output m. a, b are source values, w the weight.
//   plain          first  = sum w a
//   split_product  first  = sum max(w a, 0)           second = sum min(w a, 0)
//   split_weight   first  = sum max(w, 0) a           second = sum min(w, 0) a
//   blend          first  = sum w (w >= 0 ? a : b)
//   blend_both     first  as blend                    second = sum w (w >= 0 ? b : a)
// split_product also gives sum = first + second, the layer's plain product, where it is wanted. It
// is added up block by block: first and second grow with the number of inputs and cancel, so their
// final difference would carry ten times the rounding error of a plain sum over 512 3x3 channels.
// Forward products that feed a rule are split_product; the backward product of a rule is blend with
// a = s+, b = s- where the layer's input is known to be non-negative, blend_both otherwise.
enum class Mode { plain, split_product, split_weight, blend, blend_both };
inline constexpr int kModes = 5;
constexpr bool has_second(Mode mode) {
  return mode == Mode::split_product || mode == Mode::split_weight || mode == Mode::blend_both;
}
constexpr bool has_sum(Mode mode) { return mode == Mode::split_product; }
constexpr bool reads_b(Mode mode) { return mode == Mode::blend || mode == Mode::blend_both; }
// Packed weights of the zero-skipping and depthwise products: w alone, or max(w, 0) and min(w, 0).
constexpr int weight_halves(Mode mode) { return mode == Mode::plain ? 1 : 2; }

// Channels per list block: a block of weights (3 taps of one row x 32 x two halves x 32 lanes)
// stays in L1.
inline constexpr int kListBlock = 32;

// Lists the non-zero entries of a row of `width` points: an entry is kept where a != 0 or (b given
// and) b != 0. Block after block of kListBlock channels, group after group, and in each block point
// after point without gaps, so that whoever walks along the row reads memory in order. Block q (of
// groups * ceil(channels / kListBlock)) has its entries from width * (channels in front of it), and
// those of point x are begin[q * (width * kinds + 1) + x * kinds] up to the next point's.
// by_sign gives every point two kinds of entries: those with a > 0, then those with a < 0
// (split_product); otherwise kinds is 1. In pairs, a point is two neighbouring pixels and an entry
// has the values of both, (a, a') or (a, b, a', b'), where one of them is not zero.
struct ListArgs {
  const float* a;       // (pixels, groups * channels)
  const float* b;       // the same or null
  std::int64_t pixels;  // x1 - x0; in pairs twice that, or one less
  bool pairs;
  std::int64_t width;
  std::int64_t x0, x1;  // points to list; the calls of a row come in order, the first from 0
  std::int64_t groups;
  std::int64_t channels;  // per group
  bool by_sign;
  float* value;         // room for width * groups * channels entries
  std::uint8_t* index;  // the same: channel within the block
  std::uint32_t* begin;
};

// Zero-skipping contraction of one sample and one group, lanes over output channels.
// Computes output rows [y0, y1), columns [x0, x1), and writes (not adds) first and second.
struct SkipArgs {
  // The sample's lists, one after the other for every source row, at the group's first block.
  const float* value;
  const std::uint8_t* index;
  const std::uint32_t* begin;
  std::int64_t row_entries;  // room of a row: points * groups * channels
  std::int64_t row_begins;   // begins of a row, all groups
  std::int64_t points;       // of a row: source_width, or half of it (rounded up) in pairs
  int kinds;                 // 2: listed by sign
  std::int64_t channels;     // source channels of the group
  std::int64_t source_width;
  std::int64_t kernel_height, kernel_width;
  AxisTaps y, x;  // x.begin null: pointwise, output pixel (y, x) reads source pixel (y, x)
  // Output column x reads source columns x + sliding_offset + {0, 1, 2}, where they exist, through
  // the packed taps 0, 1, 2 of a kernel row: a 3-wide kernel of stride 1. Lists of one kind only.
  bool sliding;
  bool pairs;  // sliding, with lists in pairs
  std::int64_t sliding_offset;
  std::int64_t y0, y1, x0, x1;
  const float* weight;   // packed: see pack_skip in src/pack.h; at output channel 0 of the group
  bool whole;            // weights are packed as w even where the mode has two halves
  std::int64_t lanes;    // outputs per block of the packed weights, at most lane_block
  std::int64_t outputs;  // output channels of the group
  std::int64_t m0, m1;   // output channels to compute: multiples of lanes, or all
  std::int64_t k0, k1;   // source channels to sum: multiples of kListBlock, or all
  // Output pixel (y, x) of the call, relative to (y0, x0), channel m:
  //   first[((y - y0) * (x1 - x0) + (x - x0)) * out_stride + m]
  // in whole vectors: out_stride is at least m1 - m0, rounded up to the vector width.
  float* first;
  float* second;  // has_second(mode); may be null
  float* sum;     // split_product: first + second; may be null
  std::int64_t out_stride;
};

// Sums over taps, behind a pointwise product whose outputs are (tap, output) pairs. Output pixel
// (y, x), rows [y0, y1): out[((y - y0) * out_width + x) * outputs + m] = sum over its taps t of
//   taps[((source y - row0) * source_width + source x) * stride + t * outputs + m]
struct FoldArgs {
  const float* taps;  // of one sample and one group, source rows [row0, row1)
  std::int64_t row0, row1, source_width, stride;
  std::int64_t outputs, kernel_height, kernel_width;
  AxisTaps y, x;
  std::int64_t out_width, y0, y1;
  float* out;
  // Column q * period + r reads source column q + shift[r * kernel_width + t] through tap t of a
  // kernel row, none where that is kNoShift; other shifts are at most plane_margin. Null: not so.
  const std::int32_t* shift;
  std::int64_t period;
  std::int64_t plane_margin, plane_width;
  float* planes;  // scratch: (row1 - row0) * kernel_height * kernel_width * outputs * plane_width
};
inline constexpr std::int32_t kNoShift = INT32_MIN;
// Columns 0 .. ceil(out_width / period) - 1 are read in whole vectors, shifted by up to margin.
constexpr std::int64_t fold_plane_width(std::int64_t source_width, std::int64_t out_width,
                                        std::int64_t period, std::int64_t margin,
                                        std::int64_t vector_width) {
  const std::int64_t columns = ceil_div(out_width, period);
  return (source_width > columns ? source_width : columns) + 2 * margin + 2 * vector_width;
}

// Zero-skipping contraction of one sample of a layer without groups onto few outputs of a window,
// lanes over (kernel column, sum, output): every source value adds a run of weights to the outputs
// it reaches. Output rows [y0, y1), all columns; source row y reaches row_base[y] + kernel row.
struct ScatterArgs {
  const float *a, *b;       // the sample, channels last
  std::int64_t source_row;  // values of a source row
  // Source rows that reach the call's, in order of their bases, which do not descend.
  std::int64_t source_y0, source_y1;
  const std::int32_t* row_base;
  std::int64_t kernel_height;  // at most kMostScatterRows
  // Of every value of a source row: where its run begins in a row of the ring, which copy it is in
  // included, and where its channel's weights begin.
  const std::int32_t* column;
  const std::int32_t* weight_at;
  const float* weight;  // packed: see pack_scatter in src/pack.h
  std::int64_t run;     // kernel_width * sums * outputs, at most kMostScatterVectors vectors
  std::int64_t copies, copy_floats;  // of a ring row; copy_floats: whole vectors
  std::int64_t first_column;         // where output column 0 is in a copy
  std::int64_t out_width, outputs;
  std::int64_t y0, y1;
  float* first;  // first[((y - y0) * out_width + x) * outputs + m]
  float* second;
  float* scratch;  // scatter_scratch(...) floats
};
inline constexpr int kMostScatterRows = 16, kMostScatterVectors = 4;
// The ring, and a row of two sums side by side.
constexpr std::int64_t scatter_scratch(std::int64_t kernel_height, std::int64_t ring_floats,
                                       std::int64_t out_width, std::int64_t outputs) {
  return kernel_height * ring_floats + 2 * out_width * outputs;
}

// Output pixels that the dot products and the depthwise product take together.
inline constexpr int kAlikePixels = 4;

// A tap of a pixel, where its source and its weights are, in floats.
struct PixelTap {
  std::int64_t source, weight;
};
// Floats of scratch for so many.
constexpr std::int64_t tap_scratch(std::int64_t taps) {
  return taps * static_cast<std::int64_t>(sizeof(PixelTap) / sizeof(float));
}

// Contraction onto few output channels of one sample and one group, lanes over source channels: a
// dot product per output. Computes output rows [y0, y1) of all columns.
struct NarrowArgs {
  const float* a;  // the sample, channels last, at the group's first channel
  const float* b;
  std::int64_t source_stride;  // channels of a source pixel, all groups
  std::int64_t source_width;
  std::int64_t channels;  // of the group
  std::int64_t kernel_width;
  AxisTaps y, x;
  std::int64_t out_width;
  std::int64_t y0, y1;
  const float* weight;  // (taps, outputs, channels)
  std::int64_t outputs;
  float* first;  // first[((y - y0) * out_width + x) * outputs + m]
  float* second;
  float* sum;                 // as in SkipArgs
  const std::uint8_t* alike;  // this and the rest as in DepthwiseArgs
  std::int64_t period;
  PixelTap* tap;
};

// Sign-partitioned contraction of one sample and one group, lanes over output pixels. Output pixels
// [p0, p0 + count) in row-major order, count <= Kernels::panel_lanes, and output channels
// [m0, m0 + outputs), m0 being even. Writes first[(p - p0) * out_stride + m - m0].
struct PartitionArgs {
  const float* a;              // the sample, channels last, at the group's first channel
  const float* b;              // blend modes
  std::int64_t source_stride;  // channels of a source pixel, all groups
  std::int64_t channels;       // of the group
  bool nonnegative;            // split_product: a >= 0 everywhere; otherwise a is split by sign too
  std::int64_t kernel_height, kernel_width;
  // Where the source row that output row y sees through kernel row t begins, in floats:
  // row_source[t * out_height + y], and a column in it: column_source[t * out_width + x]; -1 in the
  // padding. Null: pointwise.
  const std::int64_t* row_source;
  const std::int64_t* column_source;
  std::int64_t out_height, out_width;
  std::int64_t p0, count;
  // Rows r = tap * channels + channel in blocks of panel_rows. For every block and pair of
  // outputs (m, m + 1): rows sorted by the signs of the two weights in the order (+,+) (+,-) (-,-)
  // (-,+); group g of pair q in block k is [group[(k * pairs + q) * 5 + g], group[... + g + 1]) in
  // row (index within the block) and weight (two per entry). Rows whose two weights are both zero
  // are not stored; zero counts as positive. An odd last output is paired with zero weights.
  const std::uint16_t* row;
  const float* weight;
  const std::int32_t* group;
  std::int64_t pairs;  // of all outputs
  std::int64_t m0, outputs;
  float* first;
  float* second;
  float* sum;  // as in SkipArgs
  std::int64_t out_stride;
  float* scratch;  // partition_scratch(outputs, panel_lanes) floats, 64-byte aligned
};
// One panel of 128 rows or two of 64 (a and b, or a+ and a-): 32 KB with 64 lanes. Longer groups
// hide more of the loop exits (74 % of the peak, 66 % with 64 rows), two panels of 128 rows leave
// L1 (51 % instead of 63
// %).
constexpr int panel_rows(Mode mode, bool nonnegative) {
  return reads_b(mode) || (mode == Mode::split_product && !nonnegative) ? 64 : 128;
}
inline constexpr int kMostPanelRows = 128;
inline constexpr std::int64_t kPairArrays = 3;  // z+, z- and their sum
// Two panels (a and b, or a+ and a-) and three accumulator rows per output, outputs rounded up
// to 2.
constexpr std::int64_t partition_scratch(std::int64_t outputs, std::int64_t panel_lanes) {
  return (2 * kMostPanelRows + kPairArrays * round_up(outputs, 2)) * panel_lanes;
}

// The same for a window of stride 1 and few outputs, lanes over the output pixels of rows
// [y0, y0 + rows), all columns. Writes first[((y - y0) * out_width + x) * out_stride + m].
//
// Every source channel and kernel column t has a plane of plane_rows rows, which begin at source
// row row0, and plane_width columns (a multiple of vector_width, at least out_width). Column x of
// it is source column x + column_shift[t]; what is not in the source is zero.
struct PlanarArgs {
  const float *a, *b;  // as in PartitionArgs
  std::int64_t source_stride, channels;
  bool nonnegative;
  std::int64_t source_height, source_width;
  std::int64_t row0;
  const std::int32_t* column_shift;
  std::int64_t kernel_width;
  std::int64_t plane_rows, plane_width;
  std::int64_t plane_floats;  // between planes, a multiple of plane_width
  std::int64_t rows, out_width;
  // As row, weight and group of PartitionArgs, all rows being one block. An entry of channel c and
  // kernel column t, output pixel (y, x), reads plane c * kernel_width + t at row (y - y0) + r:
  // its offset is that plane's begin plus r * plane_width.
  const std::int32_t* offset;
  const float* weight;
  const std::int32_t* group;
  std::int64_t outputs;
  float *first, *second, *sum;
  std::int64_t out_stride;
  float* scratch;  // planar_scratch(...) floats, 64-byte aligned
};
// Two sets of planes, the sums of a tile of lanes, and a row of the source between margins of
// kernel_reach - 1 columns together.
constexpr std::int64_t planar_scratch(std::int64_t channels, std::int64_t kernel_width,
                                      std::int64_t kernel_reach, std::int64_t plane_width,
                                      std::int64_t plane_floats, std::int64_t outputs,
                                      std::int64_t panel_lanes) {
  return 2 * channels * kernel_width * plane_floats +
         kPairArrays * round_up(outputs, 2) * panel_lanes +
         channels * (plane_width + kernel_reach - 1);
}

// Plain contraction of one sample and one group, lanes over output channels; of a pointwise layer,
// of any number of samples. Output pixels [p0, p0 + count) in row-major order, output channels
// [m0, m1): out[(p - p0) * out_stride + m], in whole vectors.
struct DenseArgs {
  const float* a;  // as in PartitionArgs
  std::int64_t source_stride, channels;
  std::int64_t rows;  // taps * channels
  std::int64_t kernel_width;
  const std::int64_t* row_source;
  const std::int64_t* column_source;
  std::int64_t out_height, out_width;
  std::int64_t p0, count;
  const float* weight;  // packed: see pack_dense in src/pack.h
  std::int64_t m0, m1;  // multiples of dense_lanes, or all
  float* out;
  std::int64_t out_stride;
};

// The same, and sums by sign, by a matrix unit: output pixels [p0, p0 + count) in row-major order,
// counted over all samples, and output channels [m0, m0 + outputs), m0 being a multiple of
// kMatrixPair. Writes first[(p - p0) * out_stride + m - m0] in whole tiles: outputs and pixels are
// rounded up to kMatrixSide, outputs in front of the group's last kMatrixPair to that.
struct MatrixArgs {
  const float* a;              // the first sample, channels last, at the group's first channel
  const float* b;              // blend modes
  std::int64_t image_stride;   // floats between samples
  std::int64_t source_stride;  // channels of a source pixel, all groups
  std::int64_t channels;       // of the group
  bool nonnegative;            // split_product: a >= 0 everywhere; otherwise a is split by sign too
  std::int64_t rows;           // taps * channels
  std::int64_t kernel_width;
  const std::int64_t* row_source;  // as in PartitionArgs
  const std::int64_t* column_source;
  std::int64_t out_height, out_width;
  std::int64_t p0, count;       // at most kMatrixPixels
  const std::uint16_t* weight;  // packed: see pack_matrix in src/pack.h
  std::int64_t all_outputs;     // of the group
  std::int64_t m0, outputs;
  float* first;
  float* second;
  float* sum;  // as in SkipArgs
  std::int64_t out_stride;
  float* scratch;  // matrix_scratch() floats, 64-byte aligned
};
// Pixels and outputs of a tile, rows of a product of two tiles.
inline constexpr int kMatrixSide = 16, kMatrixDepth = 32;
// Two tiles of outputs go together.
inline constexpr int kMatrixPair = 2 * kMatrixSide;
// Pixels of a call. Panels and the sums of 256 outputs take 0.5 to 1 MB, of L2.
inline constexpr std::int64_t kMatrixPixels = 256;
// Rows of a block: its weights take 24 KB, in halves twice that (256 rows: 1.1 times as long where
// there are no halves, the same where there are).
inline constexpr std::int64_t kMatrixRows = 128;
// Two panels and a block of weights by sign, three numbers of 16 bits for a float; four blocks of
// sums.
constexpr std::int64_t matrix_scratch() {
  return 2 * kMatrixRows * (kMatrixPixels + kMatrixPair) * 3 / 2 + 4 * kMatrixPair * kMatrixPair;
}

// Depthwise contraction: output channel c reads source channel c only. Lanes over channels.
struct DepthwiseArgs {
  const float* a;  // one sample, (pixels, channels)
  const float* b;
  std::int64_t channels;
  bool nonnegative;  // split_product: a >= 0 everywhere
  std::int64_t source_width;
  std::int64_t kernel_width, taps;
  AxisTaps y, x;
  // alike[x]: columns x + r + p * period, p < kAlikePixels, read alike for every r < period:
  // through the same taps, sources that move by the same step each time.
  const std::uint8_t* alike;
  std::int64_t period;
  std::int64_t out_width;
  std::int64_t y0, y1;  // rows to compute; first[((y - y0) * out_width + x) * channels + c]
  const float* weight;  // packed: see pack_depthwise in src/pack.h
  float* first;
  float* second;
  float* sum;     // as in SkipArgs
  PixelTap* tap;  // scratch, `taps` of them
};
// Activations that are cheap enough to ride on the end of a product.
enum class Tail { none, relu, leaky_relu, clip };

// End of a forward product. For every (pixel, channel) with P = first, M = second (0 if null) and
// S = sum (P + M if null):
//   y  = tail(S + bias), total = total_tail(y + other)
//   z  = S + bias_z, zp = P + bias_p, zn = M + bias_n          (where the pointer is not null)
// Null biases are zero. first, second and sum alias nothing and their pixels lie sum_stride apart;
// the results' pixels lie `stride` apart, so that a tile of some channels goes where it belongs.
struct FinishArgs {
  const float* first;
  const float* second;
  const float* sum;
  std::int64_t pixels, channels;
  const float *bias, *bias_z, *bias_p, *bias_n;  // per channel
  Tail tail;
  float tail_a, tail_b;  // leaky_relu: slope; clip: bounds
  float *y, *z, *zp, *zn;
  std::int64_t sum_stride, stride;
  bool far;  // z, zp, zn and a y with a total are too large for the caches: written past them
  const float* other = nullptr;
  float* total = nullptr;
  Tail total_tail = Tail::none;  // or relu
};

// R and denominators -> s+ and s-; st(z) = z + eps sign(z), sign(0) = +1.
enum class Map {
  gradient,    // s+ = R
  epsilon,     // s+ = R / st(z)                                       also norm, w^2, flat, z^B
  z_plus,      // s+ = R / st(zp),          s- = 0
  alpha_beta,  // s+ = alpha R / st(zp),    s- = -beta R / st(zn)
  gamma,       // z > 0: D = st(z + g zp): s+ = (1 + g) R / D, s- = R / D
               // z < 0: D = st(z + g zn): s+ = R / D, s- = (1 + g) R / D;   z = 0: both 0
};
struct MapArgs {
  Map map;
  const float *r, *z, *zp, *zn;
  float alpha, beta, gamma, eps;
  float* s_plus;
  float* s_minus;  // null where the map has none
  std::int64_t n;
  const float* x = nullptr;  // R is x r; null: r
};

// End of a backward product: (P, M) -> R at the layer's input, elementwise.
enum class Tie {
  copy,     // R = P                                     gradient, w^2, flat
  times_x,  // R = x P                                   epsilon, blend with x >= 0
  by_sign,  // R = max(x, 0) P + min(x, 0) M             blend_both
  box,      // R = (x - low) P + (x - high) M            z^B
};
struct TieArgs {
  Tie tie;
  const float *first, *second, *x, *low, *high;
  bool accumulate;  // r += instead of r =
  float* r;
  std::int64_t n;
  // Rows of first and second lie sum_stride apart, those of all others `stride`.
  std::int64_t rows = 1, sum_stride = 0, stride = 0;
};

// Derivative of a tail, from its output y: g *= tail'(.); relu: y > 0; leaky_relu: y > 0 ? 1 : a;
// clip: a < y < b. g_out may alias g_in.
struct TailGradientArgs {
  Tail tail;
  float a, b;
  const float* y;
  const float* g_in;
  float* g_out;
  std::int64_t n;
};

// Pooling of one sample, channels last; rows [y0, y1) of the output. Max: the first maximum in
// row-major order wins, NaN wins over everything; winner holds its source pixel, -1 for a window
// that lies in the padding only (y = -infinity is then never read by anyone: the plan refuses it).
struct PoolArgs {
  const float* x;
  std::int64_t channels, source_width, out_width, y0, y1;
  AxisTaps y_taps, x_taps;
  const float* inverse_count;  // average: per output pixel (whole sample, index y * out_width + x)
  float* y;                    // rows relative to y0
  std::int32_t* winner;        // max; rows relative to y0
};
// Backward of max pooling, written as a gather over the windows that hold an input pixel p:
// r_in(p) = sum over taps of (winner[source] == p ? r_out[source] : 0); rows [y0, y1) of the
// layer's input.
struct UnpoolArgs {
  const float* r_out;
  const std::int32_t* winner;
  std::int64_t channels, source_width, out_width, y0, y1;  // source: the layer's output
  AxisTaps y_taps, x_taps;
  bool accumulate;  // r_in += instead of r_in =
  float* r_in;      // the whole sample
};
// Backward of average pooling written as a gather over the output pixels of each input pixel:
// out(p) = sum over taps of s[source] * inverse_count[source]; rows [y0, y1) of the layer's input.
struct UnpoolAverageArgs {
  const float* s;
  std::int64_t channels, source_width, out_width, y0, y1;
  AxisTaps y_taps, x_taps;
  const float* inverse_count;  // per source pixel
  float* out;                  // rows relative to y0
};

// y = a + b, n values. y may alias a or b.
struct AddArgs {
  const float *a, *b;
  float* y;
  std::int64_t n;
};
// y = x * scale + shift per channel, over (pixels, channels). scale or shift null: 1 or 0.
struct ScaleShiftArgs {
  const float *x, *scale, *shift;
  float* y;
  std::int64_t pixels, channels;
};
// (rows, columns) -> (columns, rows): between the caller's channels-first and our channels-last.
struct TransposeArgs {
  const float* x;
  float* y;
  std::int64_t rows, columns;
};

struct Kernels {
  const char* name;
  int vector_width;  // floats
  // Output channels that one zero-skipping block holds, at most, and for sliding windows with split
  // weights; multiples of vector_width.
  int lane_block, sliding_lanes;
  int dense_lanes;  // output channels of a block of the dense product
  int panel_lanes;  // output pixels of one sign-partitioned call; a multiple of vector_width
  // By Mode: the share of non-zero sources below which the zero-skipping product is the faster one,
  // on VGG-16's layers. It makes a product of what it does not skip, two where there are two sums;
  // the others (dense for plain sums, sign-partitioned for the rest) make one of everything.
  const float* skip_below;
  bool lists_pairs;  // list and skip take pairs of pixels
  bool short_lists;  // lists of one tap may pay, see choose_path
  void (*list)(const ListArgs&) noexcept;
  void (*skip[kModes])(const SkipArgs&) noexcept;  // indexed by Mode
  void (*fold)(const FoldArgs&) noexcept;
  void (*scatter[kModes])(const ScatterArgs&) noexcept;  // null where has_sum(mode)
  void (*narrow[kModes])(const NarrowArgs&) noexcept;
  void (*partition[kModes])(const PartitionArgs&) noexcept;
  void (*planar[kModes])(const PlanarArgs&) noexcept;
  void (*dense)(const DenseArgs&) noexcept;
  void (*depthwise[kModes])(const DepthwiseArgs&) noexcept;
  void (*finish)(const FinishArgs&) noexcept;
  void (*map)(const MapArgs&) noexcept;
  void (*tie)(const TieArgs&) noexcept;
  void (*tail_gradient)(const TailGradientArgs&) noexcept;
  void (*max_pool)(const PoolArgs&) noexcept;
  void (*average_pool)(const PoolArgs&) noexcept;
  void (*unpool_max)(const UnpoolArgs&) noexcept;
  void (*unpool_average)(const UnpoolAverageArgs&) noexcept;
  void (*add)(const AddArgs&) noexcept;
  void (*scale_shift)(const ScaleShiftArgs&) noexcept;
  void (*transpose)(const TransposeArgs&) noexcept;
  void (*matrix[kModes])(const MatrixArgs&) noexcept;  // null where there is no matrix unit
  const float* matrix_below;                           // as skip_below, beside the matrix unit
};

// What a matrix unit adds to the table of another instruction set.
struct MatrixKernels {
  void (*matrix[kModes])(const MatrixArgs&) noexcept;
  float skip_below[kModes];
};

// One table per translation unit in this folder; null where the build's target has no such ISA.
namespace reference { extern const Kernels kernels; }
namespace baseline { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }
namespace amx { extern const MatrixKernels kernels; }
namespace neon { extern const Kernels kernels; }

}  // namespace relprop
