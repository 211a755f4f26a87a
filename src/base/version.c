/* SPDX-License-Identifier: Apache-2.0 */
/* The library's version, from the build's one place for it. */
#include <graviton/graviton.h>

const char *grv_version(void)
{
    return GRV_VERSION;
}
