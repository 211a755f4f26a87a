/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a bucket's lifecycle would remove objects that somebody counts on. */
#include "backend/s3/client.h"

#include <string.h>

/* The rule being read. */
typedef struct rule {
    char name[GRV_S3_RULE_SIZE];
    char prefix[GRV_S3_KEY_MAX + 1];
    bool enabled;
    bool tagged; /* our objects have no tags */
    bool expires;
} rule;

typedef struct lifecycle {
    const char *prefix;
    rule rule;
    bool found;
    char found_name[GRV_S3_RULE_SIZE];
} lifecycle;

static bool is(const char *const names[], unsigned depth, unsigned level, const char *name)
{
    return level < depth && strcmp(names[level], name) == 0;
}

/* Whether the rule's objects and ours meet: either prefix begins with the other. */
static bool meets(const char *rule_prefix, const char *prefix)
{
    size_t size = strlen(rule_prefix) < strlen(prefix) ? strlen(rule_prefix) : strlen(prefix);
    return strncmp(rule_prefix, prefix, size) == 0;
}

static void rule_ends(lifecycle *all)
{
    const rule *one = &all->rule;
    if (!all->found && one->enabled && one->expires && !one->tagged &&
        meets(one->prefix, all->prefix)) {
        const char *name = *one->name ? one->name : one->prefix;
        all->found = true;
        grv_s3_text_copy(all->found_name, sizeof all->found_name, name, strlen(name));
    }
    all->rule = (rule){0};
}

static grv_status element_ends(void *context, const char *const names[], unsigned depth, char *text,
                               grv_error *error)
{
    (void)error;
    lifecycle *all = context;
    const char *name = names[depth - 1];
    if (!is(names, depth, 1, "Rule")) {
        return GRV_OK;
    }
    if (depth == 2) {
        rule_ends(all);
    } else if (depth == 3 && strcmp(name, "ID") == 0) {
        grv_s3_text_copy(all->rule.name, sizeof all->rule.name, text, strlen(text));
    } else if (depth == 3 && strcmp(name, "Status") == 0) {
        all->rule.enabled = strcmp(text, "Enabled") == 0;
    } else if (depth == 4 && is(names, depth, 2, "Expiration")) {
        all->rule.expires =
            all->rule.expires || strcmp(name, "Days") == 0 || strcmp(name, "Date") == 0;
    } else if (strcmp(name, "Prefix") == 0 && strlen(text) < sizeof all->rule.prefix) {
        memcpy(all->rule.prefix, text, strlen(text) + 1);
    } else if (strcmp(name, "Tag") == 0) {
        all->rule.tagged = true;
    }
    return GRV_OK;
}

grv_status grv_s3_lifecycle_check(const grv_call *call, grv_s3 *s3, const char *bucket,
                                  const char *prefix, bool *ret_expires,
                                  char ret_rule[GRV_S3_RULE_SIZE], grv_error *error)
{
    static const grv_s3_pair query = {"lifecycle", ""};
    grv_buffer out;
    grv_buffer_init(&out, GRV_S3_XML_MAX);
    grv_s3_request request = {
        .method = GRV_S3_GET,
        .bucket = bucket,
        .query = &query,
        .query_count = 1,
        .out = &out,
    };
    lifecycle all = {.prefix = prefix};
    grv_status status = grv_s3_run(call, s3, &request, 1, error);
    if (!status) {
        const grv_s3_xml_walk walk = {.context = &all, .end = element_ends};
        status = grv_s3_xml_walk_run(&walk, grv_buffer_bytes(&out), error);
    } else if (strcmp(request.answer.code, "NoSuchLifecycleConfiguration") == 0) {
        status = GRV_OK;
    }
    grv_buffer_done(&out);
    if (status) {
        return status;
    }
    *ret_expires = all.found;
    if (all.found) {
        memcpy(ret_rule, all.found_name, sizeof all.found_name);
    }
    return GRV_OK;
}
