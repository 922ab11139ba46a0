/* What a model computes most, for x86-64. Compiled for the processor it runs on (build.py); without a
 * compiler, or on other processors, PyTorch's own operations do the same work.
 *
 * Every row and every position is computed by one thread, in an order that depends on nothing but
 * itself: results are the same to the last bit whatever else is computed, on any number of threads.
 */

#pragma once

#include <stdint.h>

/* A linear layer, packed for one of the kernels; filled in by linear.py. Outputs stand in panels, and
 * the last one is filled up: in the weights, and in what there is for each output. */
typedef struct Matrix Matrix;

/* y = activation(x W' + b) for x (rows, inputs) with `x_stride` numbers from row to row and y (rows,
 * outputs) without gaps. Returns 0, or 1 if there is no memory. */
typedef int Product(const Matrix *matrix, const float *x, long rows, long x_stride, float *y);

struct Matrix {
    Product *product;
    const void *weights; /* as `product` takes them, aligned to 64 bytes */
    const float *bias;
    const float *scale;  /* in 8 bits: of each output's weights */
    const int32_t *zero; /* in 8 bits: 128 times the sum of each output's weights */
    long inputs, outputs;
    int activate; /* 1 for GELU */
};

Product int8_product;    /* weights (panels, inputs / 4, PANEL, 4), filled up with zeros */
Product float32_product; /* weights (panels, inputs, PANEL) */

/* Neighbouring positions of a sequence, within one chunk: the first one's token, how many, their
 * sequence's first place in `chunks`, how many chunks up to theirs, the first one's place in it. */
typedef struct {
    int64_t token, tokens, begin, chunks, place;
} Piece;

/* Single positions of many sequences in one layer.
 *
 * query, key, value: numbers from token to token and from head to head in `strides` (token, head,
 * of each). out (tokens, heads, head_width) without gaps. Each chunk is (layers, 2, heads, chunk,
 * head_width): keys, then values.
 */
void attend_positions(
    const float *query, const float *key, const float *value, const int64_t *strides, float *out,
    const Piece *positions, long count, float *const *chunks, long layer, long heads, long chunk,
    long head_width, float scale
);

/* The same for up to 64 neighbouring positions each. */
void attend_blocks(
    const float *query, const float *key, const float *value, const int64_t *strides, float *out,
    const Piece *blocks, long count, float *const *chunks, long layer, long heads, long chunk,
    long head_width, float scale
);

/* LayerNorm of rows. */
void layer_norm(
    const float *x, long rows, long width, long x_stride, const float *weight, const float *bias,
    float epsilon, float *y
);
