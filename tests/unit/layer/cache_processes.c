/* SPDX-License-Identifier: Apache-2.0 */
/* Layer cache: threads and processes that share one directory, and those that are killed. */
#include "cache_rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Three of four reads are of the first WANTED blocks. */
enum { BLOCKS = 600, WANTED = 40, THREADS = 4 };

/* Blocks of 1 byte to 16 KiB, several times what the cache holds, some more wanted than others. */
static uint32_t size_of(uint64_t number)
{
    return 1 + (uint32_t)(number * 2654435761u % 16384);
}

typedef struct reader {
    cache_rig *rig;
    uint64_t random;
    int reads;
    bool good;
} reader;

static void *read_at_random(void *context)
{
    reader *r = context;
    r->good = true;
    for (int i = 0; i < r->reads && r->good; i++) {
        uint64_t draw = test_random(&r->random);
        uint64_t number = (draw >> 8) % (draw & 3 ? WANTED : BLOCKS);
        r->good = rig_reads(r->rig, NULL, number, size_of(number));
    }
    return NULL;
}

/* Reads from several threads; whether all was right. */
static bool read_in_threads(cache_rig *rig, uint64_t seed, int reads)
{
    reader readers[THREADS];
    pthread_t threads[THREADS];
    bool good = true;
    for (size_t i = 0; i < THREADS; i++) {
        readers[i] = (reader){.rig = rig, .random = seed * 100 + i, .reads = reads};
        if (pthread_create(&threads[i], NULL, read_at_random, &readers[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        good = good && readers[i].good;
    }
    return good;
}

static void begin(cache_rig *rig)
{
    rig_begin(rig);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        rig_store(rig, i, size_of(i));
    }
}

static void threads_share_a_cache(void **state)
{
    (void)state;
    cache_rig rig;
    begin(&rig);
    assert_true(read_in_threads(&rig, 1, 2000));
    grv_cache_figures figures = rig_figures(&rig);
    assert_int_equal(figures.hits + figures.misses, 2000 * THREADS);
    assert_true(figures.hits > figures.misses);
    assert_true(figures.evictions > 5);
    assert_int_equal(figures.failures, 0);
    rig_assert_bound(&rig, RIG_SIZE);
    rig_end(&rig);
}

enum { CHILD_GOOD = 0, CHILD_BAD = 1, CHILD_SKIPPED = 2 };

/* Starts a process of its own that uses the directory, with a store below of its own. It ends with
 * CHILD_SKIPPED where all was right, but a block was not kept since the lock was held for longer
 * than a read waits for it: on a busy machine, while its holder is not run. */
static pid_t process_start(const cache_rig *rig, uint64_t seed, int reads)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    cache_rig own = {.kv = rig->kv};
    memcpy(own.dir, rig->dir, sizeof own.dir);
    rig_open(&own);
    bool good = read_in_threads(&own, seed, reads);
    grv_cache_figures figures = rig_figures(&own);
    rig_close(&own);
    if (!good || figures.failures > 0) {
        _exit(CHILD_BAD);
    }
    _exit(figures.skipped > 0 ? CHILD_SKIPPED : CHILD_GOOD);
}

static void processes_share_a_directory(void **state)
{
    (void)state;
    enum { PROCESSES = 3 };
    cache_rig rig;
    pid_t pids[PROCESSES];
    bool skipped = false;
    begin(&rig);
    rig_close(&rig);
    for (size_t i = 0; i < PROCESSES; i++) {
        pids[i] = process_start(&rig, 10 + i, 1500);
    }
    for (size_t i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != CHILD_BAD);
        skipped = skipped || WEXITSTATUS(status) == CHILD_SKIPPED;
        rig_assert_bound(&rig, RIG_SIZE);
    }
    rig_open(&rig);
    size_t hits = 0;
    for (uint64_t i = 0; i < WANTED; i++) {
        hits += rig_hits(&rig, i, size_of(i));
    }
    assert_true(skipped || hits >= WANTED - 5); /* what all of them wanted most */
    for (uint64_t i = 0; i < WANTED; i++) {
        assert_true(rig_hits(&rig, i, size_of(i)));
    }
    rig_end(&rig);
}

static void a_killed_process_leaves_a_cache_that_works(void **state)
{
    (void)state;
    cache_rig rig;
    begin(&rig);
    rig_close(&rig);
    for (uint64_t i = 0; i < 12; i++) {
        if (i % 4 == 0) { /* also while the file is being made */
            char path[512];
            rig_path(&rig, GRV_CACHE_FILE, path);
            unlink(path);
        }
        pid_t pid = process_start(&rig, 100 + i, 1000000);
        usleep((useconds_t)(i % 4 == 0 ? 300 * i : 5000 * (i + 1)));
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        rig_open(&rig);
        for (uint64_t k = 0; k < BLOCKS; k++) {
            rig_read(&rig, k, size_of(k));
        }
        rig_read(&rig, 0, size_of(0));
        assert_true(rig_hits(&rig, 0, size_of(0)));
        assert_int_equal(rig_figures(&rig).failures, 0);
        rig_close(&rig);
        rig_assert_bound(&rig, RIG_SIZE);
    }
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_a_cache),
        cmocka_unit_test(processes_share_a_directory),
        cmocka_unit_test(a_killed_process_leaves_a_cache_that_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
