/* SPDX-License-Identifier: Apache-2.0 */
/* The file of tokens: any bytes are tokens or an error that shows nothing of them; and a header. */
#include "fuzz/fuzz.h"
#include "http/auth.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    http_auth *auth;
    const char *name = NULL;
    grv_status status = http_auth_parse(grv_bytes_of(data, size), "tokens", &auth, &error);
    if (status) {
        fuzz_check(status == GRV_INVALID_ARGUMENT || status == GRV_LIMIT_EXCEEDED);
        fuzz_check(strncmp(error.message, "tokens, line ", 13) == 0);
        return 0;
    }
    char *header = malloc(size + 1);
    if (!header) {
        abort();
    }
    memcpy(header, data, size);
    header[size] = '\0';
    fuzz_check(http_auth_check(auth, header, HTTP_SCOPE_READ, &name) != HTTP_AUTH_OK);
    fuzz_check(!name);
    free(header);
    http_auth_free(auth);
    return 0;
}
