/* hash: SHA-256 by OpenSSL's libcrypto (hardware instructions where the machine has them).
 *
 * libcrypto starts itself at its first use, and crashes when there is no memory for that. So it is started once, early
 * (pare_hash_start), its configuration files are left aside, and the digest is fetched once and checked. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "pare/base.h"

static EVP_MD *digest_of; /* NULL: libcrypto did not start */

static void start(void) {
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL) == 1)
        digest_of = EVP_MD_fetch(NULL, "SHA256", NULL);
}

bool pare_hash_start(pare_error *error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return (pthread_once(&once, start) == 0 && digest_of) ||
           pare_fail(error, PARE_ERROR_MEMORY, "libcrypto did not start: SHA-256 is not to be had (no memory?)");
}

bool pare_sha256_bytes(pare_sha256 *hash, const void *bytes, size_t n, pare_error *error) {
    unsigned char digest[32];
    unsigned length = 0;
    if (!pare_hash_start(error))
        return false;
    if (EVP_Digest(bytes, n, digest, &length, digest_of, NULL) != 1 || length != sizeof digest)
        return pare_fail(error, PARE_ERROR_MEMORY, "libcrypto computes no SHA-256 (no memory?)");
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof digest; i++) {
        hash->hex[2 * i] = digits[digest[i] >> 4];
        hash->hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hash->hex[64] = '\0';
    return true;
}
