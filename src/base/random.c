/* random: Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 * 1, 2, 3" (SC'11). Ten rounds of two 32x32->64 multiplications; constants as in the paper's section 4. */
#include <string.h>

#include "pare/base.h"

static void philox_rounds(uint32_t out[4], const uint32_t counter[4], const uint32_t key_in[2]) {
    uint32_t c[4], key[2] = {key_in[0], key_in[1]};
    memcpy(c, counter, sizeof c);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ key[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ key[1], (uint32_t)a};
        memcpy(c, next, sizeof c);
        key[0] += 0x9E3779B9u; /* Weyl sequence: golden ratio, sqrt(3) - 1 */
        key[1] += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

/* 64-bit FNV-1a, to turn a purpose into a number. */
static uint64_t purpose_number(const char *purpose) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *purpose; purpose++)
        h = (h ^ (uint8_t)*purpose) * 0x100000001b3u;
    return h;
}

/* Counter words: 0 runs, 1 is the purpose's low half mixed into the step's, 2 and 3 are the step and the purpose. */
void pare_random_init(pare_random *random, uint64_t seed, const char *purpose, uint64_t step) {
    uint64_t p = purpose_number(purpose);
    *random = (pare_random){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, (uint32_t)p ^ (uint32_t)(step >> 32), (uint32_t)step, (uint32_t)(p >> 32)},
        .used = 4,
    };
}

uint32_t pare_random_u32(pare_random *random) {
    if (random->used == 4) {
        philox_rounds(random->block, random->counter, random->key);
        random->counter[0]++;
        random->used = 0;
    }
    return random->block[random->used++];
}

/* Lemire's multiplication with rejection (ACM TOMACS 29(1), 2019): unbiased. */
uint32_t pare_random_below(pare_random *random, uint32_t bound) {
    uint32_t threshold = (uint32_t)(-bound) % bound;
    for (;;) {
        uint64_t product = (uint64_t)pare_random_u32(random) * bound;
        if ((uint32_t)product >= threshold)
            return (uint32_t)(product >> 32);
    }
}

double pare_random_unit(pare_random *random) {
    uint64_t high = pare_random_u32(random), low = pare_random_u32(random);
    return (double)((high << 21) ^ (low >> 11)) * 0x1p-53;
}
