/* Vectors of the processor that the kernels are compiled for. */

#pragma once

#include <immintrin.h>
#include <stdint.h>

#if defined(__AVX512VNNI__) && defined(__AVX512F__)

#define LANES 16
#define REGISTERS 32
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
#define REGISTERS 16
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
