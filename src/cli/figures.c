/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a whole store. */
#include "cli/figures.h"

#include "cli/text.h"

#include <inttypes.h>

grv_status cli_figures_print(cli_output *output, json_t *object, const cli_figure figures[],
                             size_t count, grv_error *error)
{
    grv_status status = GRV_OK;
    bool whole = object != NULL;
    for (size_t i = 0; i < count && !status; i++) {
        if (!output->json) {
            status = cli_output_text(output, error, "%s\t%" PRIu64 "\n", figures[i].name,
                                     figures[i].value);
        } else {
            json_t *number = json_integer(cli_json_integer(figures[i].value));
            whole = whole && json_object_set_new(object, figures[i].name, number) == 0;
        }
    }
    if (output->json && whole) {
        return cli_output_json(output, object, error);
    }
    json_decref(object);
    return output->json ? cli_output_json(output, NULL, error) : status;
}
