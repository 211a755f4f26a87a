/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a whole store as commands show them: a name, a tab and a number a line, or one object.
 */
#ifndef GRAVITON_CLI_FIGURES_H
#define GRAVITON_CLI_FIGURES_H

#include "cli/output.h"

/* One figure. */
typedef struct cli_figure {
    const char *name;
    uint64_t value;
} cli_figure;

/* Prints figures, in order; with --json they are added to `object`, which is taken (NULL: memory
 * ran out) and in text left out. */
grv_status cli_figures_print(cli_output *output, json_t *object, const cli_figure figures[],
                             size_t count, grv_error *error);

#endif
