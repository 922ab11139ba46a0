/* The whole of a decoding step. */

#include <stdlib.h>

#include "kernels.h"

typedef struct {
    const float *attention_norm[2], *mlp_norm[2]; /* weight, bias */
    const Matrix *query_key_value, *output, *expand, *contract;
} Layer;

static int multiply(const Matrix *matrix, const float *x, long rows, float *y) {
    return matrix->product(matrix, x, rows, matrix->inputs, y);
}

/* The states after one more token of each of `count` sequences, (count, width), by the same
 * functions in the same order as layer by layer, so with the same bits.
 *
 * ids, places: of each token, and its place in its sequence. tokens, learned: embeddings of tokens
 * and places. final_norm: weight, bias. scale: of attention's scores. positions, chunks: as for
 * attend_positions. Returns 0, or 1 if there is no memory.
 */
int decode(
    const Layer *layers, long depth, long width, long heads, float scale, float epsilon,
    const float *tokens, const float *learned, const float *const *final_norm, const int64_t *ids,
    const int64_t *places, const Piece *positions, long count, float *const *chunks, long chunk,
    float *out
) {
    long size = count * width, head_width = width / heads;
    float *x = malloc(sizeof(float) * size * 10);
    if (!x) return 1;
    float *normed = x + size, *part = normed + size, *packed = part + size, *inner = packed + 3 * size;
    const int64_t strides[6] = {3 * width, 3 * head_width, 3 * width, 3 * head_width, 3 * width,
                                3 * head_width};
    int failed = 0;
    for (long row = 0; row < count; row++)
        for (long i = 0; i < width; i++)
            x[row * width + i] = tokens[ids[row] * width + i] + learned[places[row] * width + i];
    for (long n = 0; n < depth && !failed; n++) {
        const Layer *layer = layers + n;
        const float *const *norm = layer->attention_norm;
        layer_norm(x, count, width, width, norm[0], norm[1], epsilon, normed);
        failed |= multiply(layer->query_key_value, normed, count, packed);
        attend_positions(
            packed, packed + head_width, packed + 2 * head_width, strides, normed, positions, count,
            chunks, n, heads, chunk, head_width, scale
        );
        failed |= multiply(layer->output, normed, count, part);
        for (long i = 0; i < size; i++) x[i] += part[i];
        norm = layer->mlp_norm;
        layer_norm(x, count, width, width, norm[0], norm[1], epsilon, normed);
        failed |= multiply(layer->expand, normed, count, inner);
        failed |= multiply(layer->contract, inner, count, part);
        for (long i = 0; i < size; i++) x[i] += part[i];
    }
    layer_norm(x, count, width, width, final_norm[0], final_norm[1], epsilon, out);
    free(x);
    return failed;
}
