/* Attention of neighbouring positions: of prompts being read, up to a block at a time.
 *
 * A position's result depends on itself and on what stands before it, in an order that is the same
 * whichever of its neighbours are computed with it. */

#include "kernels.h"
#include "tiles.h"

#define KEYS PANEL /* scored together */
#define BLOCK_MOST 64

/* 8 rows of 8 numbers become columns. */
always_inline void transpose_8(const float *from, long stride, float *to, long to_stride) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from + i * stride);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

/* Keys (count, head_width) as columns (head_width, KEYS); what is left of these is not written. */
static void transpose(const float *keys, long count, long head_width, float *columns) {
    for (long t = 0; t < count; t += 8)
        for (long i = 0; i < head_width; i += 8)
            if (t + 8 <= count && i + 8 <= head_width)
                transpose_8(keys + t * head_width + i, head_width, columns + i * KEYS + t, KEYS);
            else
                for (long u = t; u < t + 8 && u < count; u++)
                    for (long j = i; j < i + 8 && j < head_width; j++)
                        columns[j * KEYS + u] = keys[u * head_width + j];
}

/* Values (count, head_width) with gaps, so that whole vectors of them can be read. */
static const float *filled_up(
    const float *values, long count, long head_width, long stride, float *to
) {
    if (stride == head_width) return values;
    for (long t = 0; t < count; t++) {
        memcpy(to + t * stride, values + t * head_width, sizeof(float) * head_width);
        memset(to + t * stride + head_width, 0, sizeof(float) * (stride - head_width));
    }
    return to;
}

/* Scores of a row become weights relative to the largest so far, 0 for the `held - seen` keys that
 * stand behind it; what was weighed before fades by the result. */
always_inline float weigh(
    float *scores, long seen, long held, float scale, float *largest, float *total
) {
    float most = *largest, added = 0.0f;
#pragma omp simd reduction(max : most)
    for (long t = 0; t < seen; t++) {
        scores[t] *= scale;
        most = scores[t] > most ? scores[t] : most;
    }
    float faded = exponential(*largest - most);
#pragma omp simd reduction(+ : added)
    for (long t = 0; t < seen; t++) {
        scores[t] = exponential(scores[t] - most);
        added += scores[t];
    }
    for (long t = seen > 0 ? seen : 0; t < held; t++) scores[t] = 0.0f;
    *total = *total * faded + added;
    *largest = most;
    return faded;
}

/* One head of neighbouring positions, the first at `place` in the last chunk, where their keys and
 * values are already. */
static void attend_block(
    const float *query, long query_stride, long rows, float *const *chunks, long count, long place,
    long chunk, long keys, long values, long head_width, float scale, float *out, long out_stride
) {
    long stride = (head_width + LANES - 1) / LANES * LANES;
    long groups = (stride + PANEL - 1) / PANEL; /* of columns of values, a panel each */
    float columns[head_width * KEYS] __attribute__((aligned(64)));
    float gaps[stride == head_width ? 1 : KEYS * stride] __attribute__((aligned(64)));
    float scores[BLOCK_MOST * PANEL] __attribute__((aligned(64)));
    float sums[groups * BLOCK_MOST * PANEL] __attribute__((aligned(64)));
    float largest[BLOCK_MOST], total[BLOCK_MOST];
    for (long row = 0; row < rows; row++) {
        largest[row] = -3.4e38f;
        total[row] = 0.0f;
    }
    for (long g = 0; g < groups; g++)
        memset(sums + g * BLOCK_MOST * PANEL, 0, sizeof(float) * rows * PANEL);
    for (long c = 0; c < count; c++) {
        long there = c == count - 1 ? place + rows : chunk;
        for (long start = 0; start < there; start += KEYS) {
            long held = there - start < KEYS ? there - start : KEYS;
            transpose(chunks[c] + keys + start * head_width, held, head_width, columns);
            memset(scores, 0, sizeof(float) * rows * PANEL);
            tiles(VECTORS, rows, query, query_stride, head_width, columns, KEYS, scores);
            for (long row = 0; row < rows; row++) {
                long seen = c == count - 1 ? place + row + 1 - start : held;
                seen = seen < held ? seen : held;
                float *of = scores + row * PANEL;
                float faded = weigh(of, seen, held, scale, largest + row, total + row);
                if (faded == 1.0f) continue;
                for (long g = 0; g < groups; g++) {
                    float *sum = sums + (g * BLOCK_MOST + row) * PANEL;
#pragma omp simd
                    for (int i = 0; i < PANEL; i++) sum[i] *= faded;
                }
            }
            const float *from = chunks[c] + values + start * head_width;
            from = filled_up(from, held, head_width, stride, gaps);
            for (long g = 0; g < groups; g++) {
#define TILES(vectors)                                                                            \
    tiles(                                                                                        \
        vectors, rows, scores, PANEL, held, from + g * PANEL, stride,                             \
        sums + g * BLOCK_MOST * PANEL                                                             \
    )
                switch ((stride - g * PANEL) / LANES) {
                case 1: TILES(1); break;
                case 2: TILES(2); break;
                case 3: TILES(3); break;
                default: TILES(4);
                }
#undef TILES
            }
        }
    }
    for (long row = 0; row < rows; row++) {
        float share = 1.0f / total[row];
        for (long i = 0; i < head_width; i++)
            out[row * out_stride + i] =
                sums[(i / PANEL * BLOCK_MOST + row) * PANEL + i % PANEL] * share;
    }
}

void attend_blocks(
    const float *query, const float *key, const float *value, const int64_t *strides, float *out,
    const Piece *blocks, long count, float *const *chunks, long layer, long heads, long chunk,
    long head_width, float scale
) {
    size_t size = sizeof(float) * head_width;
#pragma omp parallel
    {
        /* All first: a sequence's later blocks attend to its earlier ones. */
#pragma omp for collapse(2) schedule(static)
        for (long n = 0; n < count; n++)
            for (long head = 0; head < heads; head++) {
                const Piece *at = blocks + n;
                float *keys = chunks[at->begin + at->chunks - 1] +
                              (((2 * layer) * heads + head) * chunk + at->place) * head_width;
                float *values = keys + heads * chunk * head_width;
                for (long row = 0; row < at->tokens; row++) {
                    long token = at->token + row;
                    memcpy(
                        keys + row * head_width, key + token * strides[2] + head * strides[3], size
                    );
                    memcpy(
                        values + row * head_width, value + token * strides[4] + head * strides[5],
                        size
                    );
                }
            }
#pragma omp for collapse(2) schedule(dynamic, 1)
        for (long n = 0; n < count; n++)
            for (long head = 0; head < heads; head++) {
                const Piece *at = blocks + n;
                long keys = ((2 * layer) * heads + head) * chunk * head_width;
                attend_block(
                    query + at->token * strides[0] + head * strides[1], strides[0], at->tokens,
                    chunks + at->begin, at->chunks, at->place, chunk, keys, keys + heads * chunk * head_width,
                    head_width, scale, out + (at->token * heads + head) * head_width,
                    heads * head_width
                );
            }
    }
}
