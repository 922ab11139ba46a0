/* LayerNorm. */

#include "kernels.h"

void layer_norm(
    const float *x, long rows, long width, long x_stride, const float *weight, const float *bias,
    float epsilon, float *y
) {
#pragma omp parallel for if (rows * width > 65536) /* fewer take less time than waking threads */
    for (long row = 0; row < rows; row++) {
        const float *from = x + row * x_stride;
        float *to = y + row * width, sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (long i = 0; i < width; i++) sum += from[i];
        float mean = sum / width;
#pragma omp simd reduction(+ : squares)
        for (long i = 0; i < width; i++) squares += (from[i] - mean) * (from[i] - mean);
        float scale = 1.0f / __builtin_sqrtf(squares / width + epsilon);
#pragma omp simd
        for (long i = 0; i < width; i++) to[i] = (from[i] - mean) * scale * weight[i] + bias[i];
    }
}
