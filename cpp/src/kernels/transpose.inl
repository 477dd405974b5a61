// Transposition of square blocks in registers; lane <-> row.

// Row r of a block of `rows` x `columns` (at most kWidth each) comes from from(r), row c of its
// transpose goes to to(c).
template <class From, class To>
RELPROP_INLINE void transpose_block(std::int64_t rows, std::int64_t columns, From from, To to) {
  Vec v[Vec::kWidth];
  if (rows == Vec::kWidth && columns == Vec::kWidth) {
    unrolled<Vec::kWidth>([&](auto r) RELPROP_INLINED { v[r] = Vec::load(from(r)); });
    transpose_vectors(v);
    unrolled<Vec::kWidth>([&](auto c) RELPROP_INLINED { v[c].store(to(c)); });
    return;
  }
  unrolled<Vec::kWidth>([&](auto r) RELPROP_INLINED {
    v[r] = r < rows ? Vec::load(from(r), columns) : Vec::broadcast(0);
  });
  transpose_vectors(v);
  unrolled<Vec::kWidth>([&](auto c) RELPROP_INLINED {
    if (c < columns) v[c].store(to(c), rows);
  });
}

// Tiles of one cache line's worth of columns, so that every line read is used up before it leaves
// L1.
void transpose(const TransposeArgs& args) noexcept {
  if (args.rows == 1 || args.columns == 1) {
    for_vectors(args.rows * args.columns,
                [&](std::int64_t i, auto mem) { mem(mem(args.x + i), args.y + i); });
    return;
  }
  constexpr std::int64_t kTile = 64;
  for (std::int64_t c0 = 0; c0 < args.columns; c0 += kTile) {
    const std::int64_t c1 = c0 + kTile < args.columns ? c0 + kTile : args.columns;
    for (std::int64_t r = 0; r < args.rows; r += Vec::kWidth)
      for (std::int64_t c = c0; c < c1; c += Vec::kWidth)
        transpose_block(
            block_extent(r, args.rows), block_extent(c, c1),
            [&](std::int64_t i) { return args.x + (r + i) * args.columns + c; },
            [&](std::int64_t i) { return args.y + (c + i) * args.rows + r; });
  }
}
