/* Attention of single positions: of tokens being written, each the next one of its sequence. */

#include "functions.h"
#include "kernels.h"

#define CHUNK_MOST 1024
#define HEAD_MOST 512

/* One head of one position: keeps its key and value, attends to all that stands before it and to
 * itself, chunk by chunk with a running maximum. */
static void attend_one(
    const float *query, const float *key, const float *value, float *const *chunks, long count,
    long place, long chunk, long keys, long values, long head_width, float scale, float *out
) {
    float scores[CHUNK_MOST], sum[HEAD_MOST];
    float largest = -3.4e38f, total = 0.0f;
    memcpy(chunks[count - 1] + keys + place * head_width, key, sizeof(float) * head_width);
    memcpy(chunks[count - 1] + values + place * head_width, value, sizeof(float) * head_width);
    for (long i = 0; i < head_width; i++) sum[i] = 0.0f;
    for (long c = 0; c < count; c++) {
        const float *k = chunks[c] + keys, *v = chunks[c] + values;
        long held = c == count - 1 ? place + 1 : chunk;
        float most = largest;
        for (long t = 0; t < held; t++) {
            float score = 0.0f;
#pragma omp simd reduction(+ : score)
            for (long i = 0; i < head_width; i++) score += query[i] * k[t * head_width + i];
            score *= scale;
            scores[t] = score;
            most = score > most ? score : most;
        }
        float faded = exponential(largest - most), added = 0.0f;
#pragma omp simd reduction(+ : added)
        for (long t = 0; t < held; t++) {
            scores[t] = exponential(scores[t] - most);
            added += scores[t];
        }
        total = total * faded + added;
        largest = most;
        for (long i = 0; i < head_width; i++) sum[i] *= faded;
        long t = 0;
        for (; t + 4 <= held; t += 4) {
            const float *first = v + t * head_width;
            float a = scores[t], b = scores[t + 1], c_ = scores[t + 2], d = scores[t + 3];
#pragma omp simd
            for (long i = 0; i < head_width; i++)
                sum[i] += a * first[i] + b * first[i + head_width] +
                          c_ * first[i + 2 * head_width] + d * first[i + 3 * head_width];
        }
        for (; t < held; t++)
#pragma omp simd
            for (long i = 0; i < head_width; i++) sum[i] += scores[t] * v[t * head_width + i];
    }
    float share = 1.0f / total;
    for (long i = 0; i < head_width; i++) out[i] = sum[i] * share;
}

void attend_positions(
    const float *query, const float *key, const float *value, const int64_t *strides, float *out,
    const Piece *positions, long count, float *const *chunks, long layer, long heads, long chunk,
    long head_width, float scale
) {
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (long n = 0; n < count; n++)
        for (long head = 0; head < heads; head++) {
            const Piece *at = positions + n;
            long keys = ((2 * layer) * heads + head) * chunk * head_width;
            attend_one(
                query + at->token * strides[0] + head * strides[1],
                key + at->token * strides[2] + head * strides[3],
                value + at->token * strides[4] + head * strides[5], chunks + at->begin, at->chunks,
                at->place, chunk, keys, keys + heads * chunk * head_width, head_width, scale,
                out + (at->token * heads + head) * head_width
            );
        }
}
