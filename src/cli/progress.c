/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line: counted by any thread, drawn by the main one, about five times a second. */
#include "cli/progress.h"

#include <graviton/call.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_INTERVAL_NS UINT64_C(200000000)
#define PROGRESS_LINE_SIZE   160

void cli_size_print(uint64_t size_bytes, char ret_text[CLI_SIZE_TEXT_SIZE])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (size_bytes < 1024) {
        snprintf(ret_text, CLI_SIZE_TEXT_SIZE, "%" PRIu64 " B", size_bytes);
        return;
    }
    double size = (double)size_bytes / 1024;
    size_t unit = 0;
    while (size >= 1023.95 && unit + 1 < sizeof units / sizeof *units) {
        size /= 1024;
        unit++;
    }
    snprintf(ret_text, CLI_SIZE_TEXT_SIZE, "%.1f %s", size, units[unit]);
}

void cli_progress_start(cli_progress *progress, const char *noun, bool quiet)
{
    *progress = (cli_progress){.noun = noun, .started_ns = grv_now_ns()};
    progress->enabled = !quiet && isatty(STDERR_FILENO) == 1;
    progress->drawn_ns = progress->started_ns;
}

void cli_progress_add(cli_progress *progress, uint64_t bytes)
{
    __atomic_fetch_add(&progress->bytes, bytes, __ATOMIC_RELAXED);
}

void cli_progress_settle(cli_progress *progress, uint64_t bytes, uint64_t duplicate_bytes)
{
    __atomic_fetch_add(&progress->settled_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&progress->duplicate_bytes, duplicate_bytes, __ATOMIC_RELEASE);
}

void cli_progress_done(cli_progress *progress)
{
    progress->things++;
}

/* Where a line of PROGRESS_LINE_SIZE bytes goes on, and the room there. */
static char *line_end(char *line, size_t *ret_room)
{
    size_t used = strlen(line);
    *ret_room = PROGRESS_LINE_SIZE - used;
    return line + used;
}

/* Appends to a line; what does not fit is cut. */
#define line_add(line, ...)                                                                        \
    do {                                                                                           \
        size_t line_room;                                                                          \
        char *line_at = line_end((line), &line_room);                                              \
        snprintf(line_at, line_room, __VA_ARGS__);                                                 \
    } while (0)

static void line_add_remaining(char *line, uint64_t bytes, uint64_t total, double rate)
{
    if (total <= bytes || rate < 1) {
        return;
    }
    double seconds = (double)(total - bytes) / rate;
    if (seconds > 359999) {
        return;
    }
    unsigned whole = (unsigned)seconds;
    if (whole >= 3600) {
        line_add(line, "  ETA %u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        line_add(line, "  ETA %u:%02u", whole / 60, whole % 60);
    }
}

static void progress_draw(cli_progress *progress, uint64_t now)
{
    uint64_t bytes = __atomic_load_n(&progress->bytes, __ATOMIC_RELAXED);
    double seconds = (double)(now - progress->started_ns) / 1e9;
    double rate = seconds > 0 ? (double)bytes / seconds : 0;
    char done[CLI_SIZE_TEXT_SIZE];
    char speed[CLI_SIZE_TEXT_SIZE];
    char line[PROGRESS_LINE_SIZE] = "\r";
    cli_size_print(bytes, done);
    cli_size_print((uint64_t)rate, speed);
    line_add(line, "%s", done);
    if (progress->total_bytes > 0) {
        char total[CLI_SIZE_TEXT_SIZE];
        cli_size_print(progress->total_bytes, total);
        line_add(line, " of %s", total);
    }
    line_add(line, "  %s/s", speed);
    line_add_remaining(line, bytes, progress->total_bytes, rate);
    if (progress->things > 0) {
        line_add(line, "  %" PRIu64 " %s%s", progress->things, progress->noun,
                 progress->things == 1 ? "" : "s");
    }
    /* Read in this order: what is counted between the two can't make the share more than all. */
    uint64_t duplicate = __atomic_load_n(&progress->duplicate_bytes, __ATOMIC_ACQUIRE);
    uint64_t settled = __atomic_load_n(&progress->settled_bytes, __ATOMIC_RELAXED);
    if (duplicate > 0) {
        line_add(line, "  dedup %.0f %%", 100.0 * (double)duplicate / (double)settled);
    }
    int columns = (int)strlen(line) - 1;
    int padding = progress->shown > columns ? progress->shown - columns : 0;
    fprintf(stderr, "%s%*s", line, padding, "");
    fflush(stderr);
    progress->shown = columns;
    progress->drawn_ns = now;
}

void cli_progress_tick(cli_progress *progress)
{
    if (!progress->enabled) {
        return;
    }
    uint64_t now = grv_now_ns();
    if (now - progress->drawn_ns >= PROGRESS_INTERVAL_NS) {
        progress_draw(progress, now);
    }
}

void cli_progress_clear(cli_progress *progress)
{
    if (progress->shown > 0) {
        fprintf(stderr, "\r%*s\r", progress->shown, "");
        fflush(stderr);
        progress->shown = 0;
    }
}
