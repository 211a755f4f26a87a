/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest repositories that the suite runs over. A new one is one entry in the table. */
#ifndef GRV_TESTS_MANIFEST_REPO_FIXTURES_H
#define GRV_TESTS_MANIFEST_REPO_FIXTURES_H

#include <graviton/port/manifest_repo.h>

/* An implementation under test. */
typedef struct manifest_fixture {
    const char *name;
    uint64_t blocks_max; /* most blocks of one blob that a test may store, at least 3000 */
    /*
     * Opens the repository that lies in directory `dir` (empty at first). *context is NULL at the
     * first open of a test and kept by the suite between opens.
     */
    grv_status (*open)(const char *dir, void **context, grv_manifest_repo **ret_repo,
                       grv_error *error);
    /* Closes the repository; at the `last` close of a test *context is freed too. */
    void (*close)(grv_manifest_repo *repo, void **context, bool last);
    /* Leaves behind what a put leaves that is killed, `sequence` given out to it, and where the
     * order of commits is kept apart an entry of it that leads to no blob. Adds what a sweep is to
     * find. */
    grv_status (*leave)(void *context, uint64_t sequence, grv_manifest_sweep *found,
                        grv_error *error);
    bool postgres; /* it needs a server */
} manifest_fixture;

extern const manifest_fixture manifest_fixtures[];
extern const size_t manifest_fixture_count;

#endif
