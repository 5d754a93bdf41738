/* hash: SHA-256 by OpenSSL's libcrypto (hardware instructions where the machine has them). */
#include <openssl/evp.h>

#include "pare/base.h"

bool pare_sha256_bytes(pare_sha256 *hash, const void *bytes, size_t n, pare_error *error) {
    unsigned char digest[32];
    unsigned length = 0;
    if (EVP_Digest(bytes, n, digest, &length, EVP_sha256(), NULL) != 1 || length != sizeof digest)
        return pare_fail(error, PARE_ERROR_IO, "SHA-256 is not to be had from libcrypto");
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof digest; i++) {
        hash->hex[2 * i] = digits[digest[i] >> 4];
        hash->hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hash->hex[64] = '\0';
    return true;
}
