/* Products with float32 matrices. Every output is one running sum of fused multiplications and
 * additions, from its bias over the inputs in their order, however many rows are computed. */

#include "functions.h"
#include "kernels.h"
#include "vectors.h"

#if REGISTERS == 32
#define ROWS 6 /* sums of 6 rows and 4 vectors, an input of each row, a vector of weights */
#else
#define ROWS 3
#endif

/* Of so many rows and inputs at a time, all that is read again and again stays in a near cache: a
 * panel's weights for every ROWS rows, the rows for every panel. */
#define MANY_ROWS 192
#define MANY_INPUTS 512

/* Goes on with the sums (rows, PANEL) of `rows` (a constant to the compiler) rows over the next
 * inputs. They have names, as those in an array would not stay in registers. */
always_inline void tile(
    const int rows, const float *x, long x_stride, long inputs, const float *panel, float *sums
) {
#define SUM(r, v) rows > r ? load_floats(sums + r * PANEL + v * LANES) : broadcast_float(0.0f)
#define BEGIN(r)                                                                                  \
    Floats s##r##0 = SUM(r, 0), s##r##1 = SUM(r, 1), s##r##2 = SUM(r, 2), s##r##3 = SUM(r, 3)
#define INPUT(r) Floats x##r = broadcast_float(rows > r ? x[r * x_stride + at] : 0.0f)
#define ADD(r, v)                                                                                 \
    if (rows > r) s##r##v = multiply_add(x##r, w, s##r##v)
#define VECTOR(v)                                                                                 \
    {                                                                                             \
        Floats w = load_floats(panel + at * PANEL + v * LANES);                                   \
        __asm__("" : "+v"(w)); /* else it is loaded for every row */                              \
        ADD(0, v); ADD(1, v); ADD(2, v); ADD(3, v); ADD(4, v); ADD(5, v);                         \
    }
#define END(r)                                                                                    \
    if (rows > r) {                                                                               \
        store_floats(sums + r * PANEL, s##r##0);                                                  \
        store_floats(sums + r * PANEL + LANES, s##r##1);                                          \
        store_floats(sums + r * PANEL + 2 * LANES, s##r##2);                                      \
        store_floats(sums + r * PANEL + 3 * LANES, s##r##3);                                      \
    }
    BEGIN(0); BEGIN(1); BEGIN(2); BEGIN(3); BEGIN(4); BEGIN(5);
    for (long at = 0; at < inputs; at++) {
        INPUT(0); INPUT(1); INPUT(2); INPUT(3); INPUT(4); INPUT(5);
        VECTOR(0) VECTOR(1) VECTOR(2) VECTOR(3)
    }
    END(0) END(1) END(2) END(3) END(4) END(5)
}

/* At most MANY_ROWS rows with one panel. */
static void rows_with_panel(
    const Matrix *matrix, const float *x, long rows, long x_stride, long first, float *y
) {
    long inputs = matrix->inputs, outputs = matrix->outputs;
    const float *panel = (const float *)matrix->weights + first * inputs;
    long width = outputs - first < PANEL ? outputs - first : PANEL;
    float sums[MANY_ROWS * PANEL] __attribute__((aligned(64)));
    for (long row = 0; row < rows; row++)
        memcpy(sums + row * PANEL, matrix->bias + first, sizeof(float) * PANEL);
    for (long at = 0; at < inputs; at += MANY_INPUTS) {
        long next = inputs - at < MANY_INPUTS ? inputs - at : MANY_INPUTS;
        for (long row = 0; row < rows; row += ROWS) {
#define TILE(count)                                                                               \
    tile(                                                                                         \
        count, x + row * x_stride + at, x_stride, next, panel + at * PANEL, sums + row * PANEL    \
    )
            switch (rows - row) {
            case 1: TILE(1); break;
            case 2: TILE(2); break;
#if ROWS > 3
            case 3: TILE(3); break;
            case 4: TILE(4); break;
            case 5: TILE(5); break;
#endif
            default: TILE(ROWS);
            }
        }
    }
    for (long row = 0; row < rows; row++) {
        float *sum = sums + row * PANEL;
        if (matrix->activate) {
#pragma omp simd
            for (int i = 0; i < PANEL; i++) sum[i] = gelu(sum[i]);
        }
        memcpy(y + row * outputs + first, sum, sizeof(float) * width);
    }
}

int float32_product(const Matrix *matrix, const float *x, long rows, long x_stride, float *y) {
    /* One thread may be held up by others on its core. */
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (long row = 0; row < rows; row += MANY_ROWS)
        for (long first = 0; first < matrix->outputs; first += PANEL) {
            long many = rows - row < MANY_ROWS ? rows - row : MANY_ROWS;
            const float *from = x + row * x_stride;
            rows_with_panel(matrix, from, many, x_stride, first, y + row * matrix->outputs);
        }
    return 0;
}
