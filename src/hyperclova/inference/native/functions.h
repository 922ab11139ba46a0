/* Functions of one number, written so that the compiler makes vectors of them. */

#pragma once

#include <stdint.h>
#include <string.h>

#define always_inline static inline __attribute__((always_inline))

/* e^x for x <= 88, within 2e-7 of it; 0 below -87: 2^n times a polynomial of the rest (Cephes). */
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
