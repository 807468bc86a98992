/* Texts and key stream that is at hand already, xored in vectors of either width. */
#include "engine.h"

#if defined(__x86_64__)

#include <immintrin.h>

__attribute__((target("avx2"))) void sp_xor_avx2(const struct sp_xor *xors, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *out = xors[i].out;
        const uint8_t *in = xors[i].in, *stream = xors[i].stream;
        uint32_t len = xors[i].len;

        for (; len >= 32; len -= 32, out += 32, in += 32, stream += 32) {
            __m256i text = _mm256_loadu_si256((const __m256i *)(const void *)in);
            __m256i key = _mm256_loadu_si256((const __m256i *)(const void *)stream);
            _mm256_storeu_si256((__m256i *)(void *)out, _mm256_xor_si256(text, key));
        }
        for (; len >= 8; len -= 8, out += 8, in += 8, stream += 8) {
            uint64_t text, key;
            memcpy(&text, in, 8);
            memcpy(&key, stream, 8);
            text ^= key;
            memcpy(out, &text, 8);
        }
        for (uint32_t at = 0; at < len; at++)
            out[at] = in[at] ^ stream[at];
    }
    _mm256_zeroupper();
}

__attribute__((target("avx512f,avx512bw"))) void sp_xor_avx512(const struct sp_xor *xors, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct sp_xor *job = &xors[i];
        for (uint32_t at = 0; at < job->len; at += SP_BLOCK_BYTES) {
            uint32_t left = job->len - at;
            __mmask64 mask = left >= SP_BLOCK_BYTES ? ~(__mmask64)0 : ~(~(__mmask64)0 << left);
            __m512i text = _mm512_maskz_loadu_epi8(mask, job->in + at);
            __m512i stream = _mm512_maskz_loadu_epi8(mask, job->stream + at);
            _mm512_mask_storeu_epi8(job->out + at, mask, _mm512_xor_si512(text, stream));
        }
    }
    _mm256_zeroupper();
}

#endif
