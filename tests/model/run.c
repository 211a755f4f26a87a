/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a seed. Operations are done by a process of their own, which a crash may end; the next
 * one takes up where it was killed, and begins by comparing all that is there. The process that
 * starts them opens no store itself: threads, RocksDB's above all, do not survive a fork.
 */
#include "model.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

/* LeakSanitizer's, where the build has it. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static void check_leaks(model_run *run)
{
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()) {
        model_fail(run, "memory was leaked");
    }
}

/* Opens what an earlier process left, and compares all of it. */
static void take_up(model_run *run, uint64_t *state)
{
    model_shared *shared = run->shared;
    uint64_t kill_at = shared->kill_at_open;
    shared->kill_at_open = 0;
    model_kill_arm(run, kill_at, model_pick(state, 2));
    model_open(run, !shared->made);
    model_settle(run);
    model_backup_settle(run, state);
    if (!kill_at || model_pick(state, 2)) {
        model_kill_arm(run, 0, false);
    }
    model_check_all(run, state);
}

/* The process: goes on with the operations to their end. */
_Noreturn static void process_run(model_run *run)
{
    const model_world *world = run->world;
    model_shared *shared = run->shared;
    uint64_t state = world->seed + shared->next;
    alarm(MODEL_LOOP_SECONDS);
    take_up(run, &state);
    while (shared->next < world->op_count) {
        size_t at = shared->next++;
        if (!world->skipped[at]) {
            shared->current = at;
            model_step(run, &world->ops[at]);
        }
    }
    model_kill_arm(run, 0, false);
    model_check_all(run, &state);
    if (world->pair->lasts) {
        model_close(run);
        model_open(run, false);
        model_check_all(run, &state);
    }
    model_close(run);
    check_leaks(run);
    _exit(0);
}

/* What a process's end means: true where the run goes on or is over, false for a failure. */
static bool process_judge(model_shared *shared, int ended, bool *ret_over)
{
    *ret_over = WIFEXITED(ended) && WEXITSTATUS(ended) == 0;
    if (*ret_over || (WIFEXITED(ended) && WEXITSTATUS(ended) == MODEL_EXIT_UNCLOSED) ||
        (WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL && shared->kill_planned)) {
        shared->crashes += !*ret_over;
        return true;
    }
    if (!shared->failure[0] && WIFSIGNALED(ended)) {
        snprintf(shared->failure, sizeof shared->failure, "%s (%s)",
                 WTERMSIG(ended) == SIGALRM ? "the process hung" : "the process died",
                 strsignal(WTERMSIG(ended)));
    } else if (!shared->failure[0]) {
        snprintf(shared->failure, sizeof shared->failure, "the process ended with code %d",
                 WEXITSTATUS(ended));
    }
    return false;
}

/* Starts a process for what is left of the operations, and waits for its end. */
static int process_start(model_run *run)
{
    int ended;
    run->shared->kill_planned = false;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        abort();
    }
    if (pid == 0) {
        process_run(run);
    }
    while (waitpid(pid, &ended, 0) < 0) {
        if (errno != EINTR) {
            perror("waitpid");
            abort();
        }
    }
    return ended;
}

static void shared_reset(const model_world *world, model_shared *shared)
{
    memset(shared, 0, offsetof(model_shared, block_states));
    memset(shared->block_states, 0, world->block_count);
    atomic_flag_clear(&shared->failing);
    shared->kill_at_open = world->pair->lasts ? world->first_kill_at : 0;
}

bool model_run_seed(model_world *world, model_shared *shared)
{
    model_run run = {.world = world, .shared = shared};
    bool good = true;
    bool over = false;
    shared_reset(world, shared);
    test_temp_make(run.root);
    while (good && !over) {
        good = process_judge(shared, process_start(&run), &over);
    }
    test_temp_remove(run.root);
    return good;
}
