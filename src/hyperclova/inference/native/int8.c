/* Products with 8-bit matrices, on processors' integer instructions: 32-bit sums, which are exact. */

#include <stdlib.h>

#include "functions.h"
#include "kernels.h"
#include "vectors.h"

#if REGISTERS == 32
#define ROWS 6 /* accumulators of 6 rows and 4 vectors, and the weights */
#else
#define ROWS 2
#endif

int panel_outputs(void) { return PANEL; }
int weight_limit(void) { return WEIGHT_LIMIT; }

/* One row in 8 bits, 128 for zero, and the scale that undoes it. Rows without any magnitude to
 * speak of become zeros; of those with a number that is not finite, the scale is not a number. */
static void quantise(const float *x, long inputs, long padded, uint8_t *to, float *scale) {
    float largest = 1e-35f, nothing = 0.0f;
#pragma omp simd reduction(max : largest) reduction(+ : nothing)
    for (long i = 0; i < inputs; i++) {
        float magnitude = x[i] < 0 ? -x[i] : x[i];
        largest = magnitude > largest ? magnitude : largest;
        nothing += x[i] * 0.0f;
    }
    float inverse = 127.0f / largest;
#pragma omp simd
    for (long i = 0; i < inputs; i++) {
        /* Rounds to the nearest, halves to even; the low byte of the sum is 128 + the number. */
        float shifted = x[i] * inverse + (12582912.0f + 128.0f);
        int32_t bits;
        memcpy(&bits, &shifted, 4);
        to[i] = (uint8_t)bits;
    }
    for (long i = inputs; i < padded; i++) to[i] = 128;
    *scale = largest / 127.0f + nothing;
}

/* A row's sums become outputs. */
always_inline void finish(
    Integers sum0, Integers sum1, Integers sum2, Integers sum3, const int32_t *zero,
    const float *weight_scale, float row_scale, const float *bias, int activate, long width,
    float *y
) {
    Integers sums[VECTORS] = {sum0, sum1, sum2, sum3};
    float part[PANEL];
    Floats scale = broadcast_float(row_scale);
    for (int v = 0; v < VECTORS; v++) {
        Integers sum = subtract(sums[v], load_integers(zero + v * LANES));
        Floats product = multiply(as_floats(sum), load_floats(weight_scale + v * LANES));
        product = multiply_add(product, scale, load_floats(bias + v * LANES));
        store_floats(part + v * LANES, product);
    }
    if (activate) {
#pragma omp simd
        for (int i = 0; i < PANEL; i++) part[i] = gelu(part[i]);
    }
    memcpy(y, part, sizeof(float) * width);
}

/* `rows` (a constant to the compiler) rows with one panel of weights. The sums have names, as those
 * in an array would not stay in registers. */
always_inline void tile(
    const int rows, const uint8_t *x, long padded, const int8_t *panel, const int32_t *zero,
    const float *weight_scale, const float *row_scale, const float *bias, int activate, long width,
    float *y, long outputs
) {
#define BEGIN(r) Integers s##r##0 = zeros(), s##r##1 = zeros(), s##r##2 = zeros(), s##r##3 = zeros()
#define ADD(r)                                                                                    \
    if (rows > r) {                                                                               \
        int32_t four;                                                                             \
        memcpy(&four, x + r * padded + at, 4);                                                    \
        Integers inputs = broadcast(four);                                                        \
        s##r##0 = dot(s##r##0, inputs, w0);                                                       \
        s##r##1 = dot(s##r##1, inputs, w1);                                                       \
        s##r##2 = dot(s##r##2, inputs, w2);                                                       \
        s##r##3 = dot(s##r##3, inputs, w3);                                                       \
    }
#define END(r)                                                                                    \
    if (rows > r)                                                                                 \
    finish(                                                                                       \
        s##r##0, s##r##1, s##r##2, s##r##3, zero, weight_scale, row_scale[r], bias, activate,     \
        width, y + r * outputs                                                                    \
    )
    BEGIN(0); BEGIN(1); BEGIN(2); BEGIN(3); BEGIN(4); BEGIN(5);
    for (long at = 0; at < padded; at += 4) {
        const int8_t *four_inputs = panel + at * PANEL;
        Integers w0 = load(four_inputs), w1 = load(four_inputs + 4 * LANES);
        Integers w2 = load(four_inputs + 8 * LANES), w3 = load(four_inputs + 12 * LANES);
        ADD(0) ADD(1) ADD(2) ADD(3) ADD(4) ADD(5)
    }
    END(0); END(1); END(2); END(3); END(4); END(5);
}

int int8_product(const Matrix *matrix, const float *x, long rows, long x_stride, float *y) {
    long inputs = matrix->inputs, outputs = matrix->outputs;
    long padded = (inputs + 3) / 4 * 4;
    long panels = (outputs + PANEL - 1) / PANEL;
    uint8_t *quantised = malloc(rows * padded + rows * sizeof(float) + 64);
    if (!quantised) return 1;
    float *row_scale = (float *)(((uintptr_t)quantised + rows * padded + 3) & ~(uintptr_t)3);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (long row = 0; row < rows; row++)
            quantise(
                x + row * x_stride, inputs, padded, quantised + row * padded, row_scale + row
            );
        /* One thread may be held up by others on its core. */
#pragma omp for schedule(dynamic, 1)
        for (long p = 0; p < panels; p++) {
            const int8_t *panel = (const int8_t *)matrix->weights + p * padded * PANEL;
            long first = p * PANEL;
            long width = outputs - first < PANEL ? outputs - first : PANEL;
            for (long row = 0; row < rows; row += ROWS) {
#define TILE(count)                                                                               \
    tile(                                                                                         \
        count, quantised + row * padded, padded, panel, matrix->zero + first,                     \
        matrix->scale + first, row_scale + row, matrix->bias + first, matrix->activate, width,    \
        y + row * outputs + first, outputs                                                        \
    )
                switch (rows - row) {
                case 1: TILE(1); break;
#if ROWS > 2
                case 2: TILE(2); break;
                case 3: TILE(3); break;
                case 4: TILE(4); break;
                case 5: TILE(5); break;
#endif
                default: TILE(ROWS);
                }
            }
        }
    }
    free(quantised);
    return 0;
}
