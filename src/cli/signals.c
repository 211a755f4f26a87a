/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal handlers: they set a number, raise the flag and write to a pipe, all of it allowed in a
 * handler. The pipe closes the gap between asking the flag and blocking in a read.
 */
#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static grv_cancel signals_cancel;
static volatile sig_atomic_t signals_first;
static int signals_pipe[2] = {-1, -1};

static void signals_handle(int number)
{
    int saved = errno;
    if (!signals_first) {
        signals_first = number;
    }
    grv_cancel_raise(&signals_cancel);
    /* A full pipe is readable already, so the result does not matter. */
    ssize_t written = write(signals_pipe[1], "", 1);
    (void)written;
    errno = saved;
}

grv_status cli_signals_init(grv_error *error)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    if (pipe2(signals_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        return grv_error_set_errno(error, errno, "signals", "cannot make a pipe");
    }
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) < 0) {
        return grv_error_set_errno(error, errno, "signals", "cannot ignore SIGPIPE");
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        /* The handler goes with the first signal: the second has the system's own effect. */
        struct sigaction handle = {.sa_handler = signals_handle, .sa_flags = (int)SA_RESETHAND};
        if (sigaction(numbers[i], NULL, &before) < 0) {
            return grv_error_set_errno(error, errno, "signals", "cannot ask for signal %d",
                                       numbers[i]);
        }
        /* What the parent had us ignore (nohup, a job in the background) stays ignored. */
        if (before.sa_handler != SIG_IGN && sigaction(numbers[i], &handle, NULL) < 0) {
            return grv_error_set_errno(error, errno, "signals", "cannot catch signal %d",
                                       numbers[i]);
        }
    }
    return GRV_OK;
}

const grv_cancel *cli_signals_cancel(void)
{
    return &signals_cancel;
}

int cli_signals_raised(void)
{
    return signals_first;
}

int cli_signals_fd(void)
{
    return signals_pipe[0];
}
