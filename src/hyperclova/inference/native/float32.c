/* Products with float32 matrices. */

#include "kernels.h"
#include "tiles.h"

/* Of so many rows and inputs at a time, all that is read again and again stays in a near cache: a
 * panel's weights for every TILE_ROWS rows, the rows for every panel. */
#define MANY_ROWS 192
#define MANY_INPUTS 512

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
        tiles(VECTORS, rows, x + at, x_stride, next, panel + at * PANEL, PANEL, sums);
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
