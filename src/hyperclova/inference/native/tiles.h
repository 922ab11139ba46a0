/* Products of float32 rows with a few vectors of columns. Every sum is one running sum of fused
 * multiplications and additions over the inputs in their order, however many rows are computed. */

#pragma once

#include "functions.h"
#include "vectors.h"

#if REGISTERS == 32
#define TILE_ROWS 6 /* sums of 6 rows and 4 vectors, an input of each row, a vector of weights */
#else
#define TILE_ROWS 3
#endif

/* Goes on with the sums (rows, PANEL) of `rows` rows, `x_stride` numbers from row to row, over the
 * next inputs, in the first `vectors` vectors of columns (inputs, `stride` from input to input). Both
 * counts are constants to the compiler. The sums have names, as those in an array would not stay in
 * registers. */
always_inline void tile(
    const int rows, const int vectors, const float *x, long x_stride, long inputs,
    const float *columns, long stride, float *sums
) {
#define SUM(r, v)                                                                                 \
    rows > r && vectors > v ? load_floats(sums + r * PANEL + v * LANES) : broadcast_float(0.0f)
#define BEGIN(r)                                                                                  \
    Floats s##r##0 = SUM(r, 0), s##r##1 = SUM(r, 1), s##r##2 = SUM(r, 2), s##r##3 = SUM(r, 3)
#define INPUT(r) Floats x##r = broadcast_float(rows > r ? x[r * x_stride + at] : 0.0f)
#define ADD(r, v)                                                                                 \
    if (rows > r) s##r##v = multiply_add(x##r, w, s##r##v)
#define VECTOR(v)                                                                                 \
    if (vectors > v) {                                                                            \
        Floats w = load_floats(columns + at * stride + v * LANES);                                \
        __asm__("" : "+v"(w)); /* else it is loaded for every row */                              \
        ADD(0, v); ADD(1, v); ADD(2, v); ADD(3, v); ADD(4, v); ADD(5, v);                         \
    }
#define END(r, v)                                                                                 \
    if (rows > r && vectors > v) store_floats(sums + r * PANEL + v * LANES, s##r##v)
#define END_ROW(r)                                                                                \
    END(r, 0); END(r, 1); END(r, 2); END(r, 3)
    BEGIN(0); BEGIN(1); BEGIN(2); BEGIN(3); BEGIN(4); BEGIN(5);
    for (long at = 0; at < inputs; at++) {
        INPUT(0); INPUT(1); INPUT(2); INPUT(3); INPUT(4); INPUT(5);
        VECTOR(0) VECTOR(1) VECTOR(2) VECTOR(3)
    }
    END_ROW(0); END_ROW(1); END_ROW(2); END_ROW(3); END_ROW(4); END_ROW(5);
#undef SUM
#undef BEGIN
#undef INPUT
#undef ADD
#undef VECTOR
#undef END
#undef END_ROW
}

/* The same for any number of rows. */
always_inline void tiles(
    const int vectors, long rows, const float *x, long x_stride, long inputs, const float *columns,
    long stride, float *sums
) {
    for (long row = 0; row < rows; row += TILE_ROWS) {
#define TILE(count)                                                                               \
    tile(                                                                                         \
        count, vectors, x + row * x_stride, x_stride, inputs, columns, stride, sums + row * PANEL \
    )
        switch (rows - row) {
        case 1: TILE(1); break;
        case 2: TILE(2); break;
#if TILE_ROWS > 3
        case 3: TILE(3); break;
        case 4: TILE(4); break;
        case 5: TILE(5); break;
#endif
        default: TILE(TILE_ROWS);
        }
#undef TILE
    }
}
