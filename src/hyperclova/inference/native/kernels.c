/* What a decoding step does most, for x86-64: products with 8-bit matrices, and attention of single
 * positions. Compiled for the processor it runs on (build.py); without a compiler, or on other
 * processors, PyTorch's own operations do the same work.
 *
 * Every row and every position is computed by one thread, in an order that depends on nothing but
 * itself: results are the same to the last bit whatever else is computed, on any number of threads.
 */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* -- vectors ------------------------------------------------------------------------------------ */

#if defined(__AVX512VNNI__) && defined(__AVX512F__)

#define LANES 16
#define ROWS 6 /* accumulators of 6 rows and 4 vectors fill the 32 registers */
typedef __m512i Integers;
typedef __m512 Floats;
#define zeros() _mm512_setzero_si512()
#define load(from) _mm512_load_si512((const void *)(from))
#define broadcast(number) _mm512_set1_epi32(number)
/* In assembly, as compilers copy the sums of the intrinsic to and fro. */
static inline Integers dot(Integers sum, Integers unsigned_, Integers signed_) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_), "v"(signed_));
    return sum;
}
#define subtract(left, right) _mm512_sub_epi32(left, right)
#define load_integers(from) _mm512_loadu_si512((const void *)(from))
#define as_floats(numbers) _mm512_cvtepi32_ps(numbers)
#define load_floats(from) _mm512_loadu_ps(from)
#define store_floats(to, numbers) _mm512_storeu_ps(to, numbers)
#define broadcast_float(number) _mm512_set1_ps(number)
#define multiply(left, right) _mm512_mul_ps(left, right)
#define multiply_add(left, right, sum) _mm512_fmadd_ps(left, right, sum)
#define WEIGHT_LIMIT 127

#elif defined(__AVX2__) && defined(__FMA__)

#define LANES 8
#define ROWS 2 /* there are 16 registers */
typedef __m256i Integers;
typedef __m256 Floats;
#define zeros() _mm256_setzero_si256()
#define load(from) _mm256_load_si256((const __m256i *)(from))
#define broadcast(number) _mm256_set1_epi32(number)
#define subtract(left, right) _mm256_sub_epi32(left, right)
#define load_integers(from) _mm256_loadu_si256((const __m256i *)(from))
#define as_floats(numbers) _mm256_cvtepi32_ps(numbers)
#define load_floats(from) _mm256_loadu_ps(from)
#define store_floats(to, numbers) _mm256_storeu_ps(to, numbers)
#define broadcast_float(number) _mm256_set1_ps(number)
#define multiply(left, right) _mm256_mul_ps(left, right)
#define multiply_add(left, right, sum) _mm256_fmadd_ps(left, right, sum)
#if defined(__AVXVNNI__)
#define dot(sum, unsigned_, signed_) _mm256_dpbusd_avx_epi32(sum, unsigned_, signed_)
#define WEIGHT_LIMIT 127
#else
/* Pairs of products are added in 16 bits, which hold 255 * 63 * 2 but not 255 * 127 * 2. */
static inline Integers dot(Integers sum, Integers unsigned_, Integers signed_) {
    Integers pairs = _mm256_maddubs_epi16(unsigned_, signed_);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#define WEIGHT_LIMIT 63
#endif

#else
#error "needs AVX2 with FMA, or AVX-512 with VNNI"
#endif

#define VECTORS 4 /* as `tile` has them by name */
#define PANEL (VECTORS * LANES) /* outputs computed together */
#define always_inline static inline __attribute__((always_inline))

int panel_outputs(void) { return PANEL; }
int weight_limit(void) { return WEIGHT_LIMIT; }

/* -- functions ---------------------------------------------------------------------------------- */

/* e^x for x <= 88, within 2e-7 of it; 0 below -87. Written so that the compiler makes vectors of
 * it: 2^n times a polynomial of the rest (Cephes). */
always_inline float exponential(float x) {
    float clamped = x < -87.0f ? -87.0f : x;
    float shifted = clamped * 1.44269504088896341f + 12582912.0f; /* rounds to a whole number */
    float whole = shifted - 12582912.0f;
    float rest = clamped - whole * 0.693359375f + whole * 2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    bits = (bits << 23) + 0x3f800000; /* the low bits of `shifted` are the whole number */
    float power;
    memcpy(&power, &bits, 4);
    return x < -87.0f ? 0.0f : sum * power;
}

/* GELU in its tanh form: x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3). */
always_inline float gelu(float x) {
    float twice = 1.59576912160573f * (x + 0.044715f * x * x * x);
    float below = -twice > 87.0f ? 87.0f : -twice;
    return x / (1.0f + exponential(below));
}

/* -- products with 8-bit matrices --------------------------------------------------------------- */

/* One row in 8 bits, 128 for zero, and the scale that undoes it. Rows without any magnitude to
 * speak of become zeros. */
static void quantise(const float *x, long inputs, long padded, uint8_t *to, float *scale) {
    float largest = 1e-35f;
#pragma omp simd reduction(max : largest)
    for (long i = 0; i < inputs; i++) {
        float magnitude = x[i] < 0 ? -x[i] : x[i];
        largest = magnitude > largest ? magnitude : largest;
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
    *scale = largest / 127.0f;
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

/* y = activation(x W' + b).
 *
 * x (rows, inputs) with `x_stride` numbers from row to row; y (rows, outputs) without gaps;
 * weights (panels, padded / 4, PANEL, 4), aligned to 64 bytes; zero (128 times the sum of each
 * output's weights), weight_scale and bias (panels * PANEL). Returns 0, or 1 if there is no memory.
 */
int int8_linear(
    const float *x, long rows, long inputs, long x_stride, const int8_t *weights,
    const int32_t *zero, const float *weight_scale, const float *bias, int activate, long outputs,
    float *y
) {
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
            const int8_t *panel = weights + p * padded * PANEL;
            long first = p * PANEL;
            long width = outputs - first < PANEL ? outputs - first : PANEL;
            for (long row = 0; row < rows; row += ROWS) {
#define TILE(count)                                                                               \
    tile(                                                                                         \
        count, quantised + row * padded, padded, panel, zero + first, weight_scale + first,       \
        row_scale + row, bias + first, activate, width, y + row * outputs + first, outputs        \
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

/* -- attention of single positions -------------------------------------------------------------- */

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

/* Single positions of many sequences in one layer.
 *
 * query, key, value: numbers from token to token and from head to head in `strides` (token, head,
 * of each). out (tokens, heads, head_width) without gaps. positions (count, 4): token, its
 * sequence's first place in `chunks`, how many chunks, its place in the last. Each chunk is
 * (layers, 2, heads, chunk, head_width): keys, then values.
 */
void attend_positions(
    const float *query, const float *key, const float *value, const int64_t *strides, float *out,
    const int64_t *positions, long count, float *const *chunks, long layer, long heads, long chunk,
    long head_width, float scale
) {
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (long n = 0; n < count; n++)
        for (long head = 0; head < heads; head++) {
            const int64_t *at = positions + 4 * n;
            long keys = ((2 * layer) * heads + head) * chunk * head_width;
            attend_one(
                query + at[0] * strides[0] + head * strides[1],
                key + at[0] * strides[2] + head * strides[3],
                value + at[0] * strides[4] + head * strides[5], chunks + at[1], at[2], at[3],
                chunk, keys, keys + heads * chunk * head_width, head_width, scale,
                out + (at[0] * heads + head) * head_width
            );
        }
}

/* -- the whole of a decoding step --------------------------------------------------------------- */

/* LayerNorm of rows. */
void layer_norm(
    const float *x, long rows, long width, long x_stride, const float *weight, const float *bias,
    float epsilon, float *y
) {
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

typedef struct {
    const int8_t *weights;
    const int32_t *zero;
    const float *scale, *bias;
} Matrix;

typedef struct {
    const float *attention_norm[2], *mlp_norm[2]; /* weight, bias */
    Matrix query_key_value, output, expand, contract;
} Layer;

static int multiply_rows(
    const float *x, long rows, long inputs, Matrix matrix, int activate, long outputs, float *y
) {
    return int8_linear(
        x, rows, inputs, inputs, matrix.weights, matrix.zero, matrix.scale, matrix.bias, activate,
        outputs, y
    );
}

/* The states after one more token of each of `count` sequences, (count, width), by the same
 * functions in the same order as layer by layer, so with the same bits.
 *
 * ids, places: of each token, and its place in its sequence. tokens, learned: embeddings of tokens
 * and places. final_norm: weight, bias. scale: of attention's scores. positions, chunks: as for attend_positions. Returns 0, or 1
 * if there is no memory.
 */
int decode(
    const Layer *layers, long depth, long width, long heads, float scale, float epsilon,
    const float *tokens, const float *learned, const float *const *final_norm, const int64_t *ids,
    const int64_t *places, const int64_t *positions, long count, float *const *chunks, long chunk,
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
        failed |= multiply_rows(normed, count, width, layer->query_key_value, 0, 3 * width, packed);
        attend_positions(
            packed, packed + head_width, packed + 2 * head_width, strides, normed, positions, count,
            chunks, n, heads, chunk, head_width, scale
        );
        failed |= multiply_rows(normed, count, width, layer->output, 0, width, part);
        for (long i = 0; i < size; i++) x[i] += part[i];
        norm = layer->mlp_norm;
        layer_norm(x, count, width, width, norm[0], norm[1], epsilon, normed);
        failed |= multiply_rows(normed, count, width, layer->expand, 1, 4 * width, inner);
        failed |= multiply_rows(inner, count, 4 * width, layer->contract, 0, width, part);
        for (long i = 0; i < size; i++) x[i] += part[i];
    }
    layer_norm(x, count, width, width, final_norm[0], final_norm[1], epsilon, out);
    free(x);
    return failed;
}
