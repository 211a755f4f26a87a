/* SPDX-License-Identifier: Apache-2.0 */
/* The option parser: a walk over argv against two tables. */
#include "cli/options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FLAG(name, letter, field)                                                                  \
    {                                                                                              \
        name, letter, CLI_OPTION_FLAG, offsetof(cli_options, field)                                \
    }
#define TEXT(name, letter, field)                                                                  \
    {                                                                                              \
        name, letter, CLI_OPTION_TEXT, offsetof(cli_options, field)                                \
    }

const cli_option cli_options_common[] = {
    TEXT("store", 0, store),     TEXT("blocks", 0, blocks),
    TEXT("meta", 0, meta),       TEXT("hash", 0, hash),
    TEXT("chunker", 0, chunker), TEXT("threads", 0, threads),
    TEXT("reserve", 0, reserve), TEXT("cache", 0, cache),
    FLAG("json", 0, json),       TEXT("token-file", 0, token_file),
    FLAG("quiet", 'q', quiet),   FLAG("help", 'h', help),
    FLAG("version", 0, version), {NULL, 0, CLI_OPTION_FLAG, 0},
};

typedef struct options_parser {
    char **argv;
    int argc;
    int index; /* the next word */
    const cli_option *own;
    const char *command;
    cli_options *options;
} options_parser;

static const cli_option *table_find(const cli_option *table, const char *name, size_t name_size)
{
    for (; table && table->name; table++) {
        if (strlen(table->name) == name_size && memcmp(table->name, name, name_size) == 0) {
            return table;
        }
    }
    return NULL;
}

static const cli_option *table_find_letter(const cli_option *table, char letter)
{
    for (; table && table->name; table++) {
        if (table->letter == letter) {
            return table;
        }
    }
    return NULL;
}

static grv_status option_unknown(const options_parser *parser, const char *word, grv_error *error)
{
    if (parser->command) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                             "unknown option %s; see graviton %s --help", word, parser->command);
    }
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                         "unknown option %s before the command; see graviton --help", word);
}

static grv_status texts_add(cli_texts *texts, const char *value, grv_error *error)
{
    const char **items = reallocarray(texts->items, texts->count + 1, sizeof *items);
    if (!items) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "options", "no memory for the options");
    }
    texts->items = items;
    texts->items[texts->count++] = value;
    return GRV_OK;
}

/* Stores an option; `value` is what stood in the same word, or NULL: then the next word is it. */
static grv_status option_apply(options_parser *parser, const cli_option *option, const char *value,
                               grv_error *error)
{
    char *field = (char *)parser->options + option->field;
    if (option->kind == CLI_OPTION_FLAG) {
        if (value) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                                 "option --%s takes no value", option->name);
        }
        *(bool *)field = true;
        return GRV_OK;
    }
    if (!value) {
        if (parser->index >= parser->argc) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                                 "option --%s needs a value", option->name);
        }
        value = parser->argv[parser->index++];
    }
    if (!*value) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "options", "option --%s is empty",
                             option->name);
    }
    if (option->kind == CLI_OPTION_TEXTS) {
        return texts_add((cli_texts *)(void *)field, value, error);
    }
    *(const char **)(void *)field = value;
    return GRV_OK;
}

static grv_status long_parse(options_parser *parser, const char *word, grv_error *error)
{
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    size_t name_size = equals ? (size_t)(equals - name) : strlen(name);
    const cli_option *option = table_find(parser->own, name, name_size);
    if (!option) {
        option = table_find(cli_options_common, name, name_size);
    }
    if (!option) {
        return option_unknown(parser, word, error);
    }
    return option_apply(parser, option, equals ? equals + 1 : NULL, error);
}

static grv_status short_parse(options_parser *parser, const char *word, grv_error *error)
{
    for (const char *at = word + 1; *at; at++) {
        const cli_option *option = table_find_letter(parser->own, *at);
        if (!option) {
            option = table_find_letter(cli_options_common, *at);
        }
        if (!option) {
            return option_unknown(parser, word, error);
        }
        bool takes_rest = option->kind != CLI_OPTION_FLAG;
        const char *rest = takes_rest && at[1] ? at + 1 : NULL;
        grv_status status = option_apply(parser, option, rest, error);
        if (status || takes_rest) {
            return status;
        }
    }
    return GRV_OK;
}

grv_status cli_options_parse(int argc, char **argv,
                             const cli_option *(*find_table)(const char *command),
                             cli_options *ret_options, const char **ret_command, grv_error *error)
{
    cli_options options = {0};
    options_parser parser = {.argv = argv, .argc = argc, .index = 1, .options = &options};
    options.operands = calloc(argc > 0 ? (size_t)argc : 1, sizeof *options.operands);
    if (!options.operands) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "options", "no memory for the operands");
    }
    bool ended = false;
    grv_status status = GRV_OK;
    while (!status && parser.index < argc) {
        char *word = argv[parser.index++];
        if (!ended && strcmp(word, "--") == 0) {
            ended = true;
        } else if (!ended && word[0] == '-' && word[1] == '-') {
            status = long_parse(&parser, word, error);
        } else if (!ended && word[0] == '-' && word[1]) {
            status = short_parse(&parser, word, error);
        } else if (!parser.command) {
            parser.command = word;
            parser.own = find_table(word);
        } else {
            options.operands[options.operand_count++] = word;
        }
    }
    if (status) {
        cli_options_done(&options);
        return status;
    }
    *ret_options = options;
    *ret_command = parser.command;
    return GRV_OK;
}

void cli_options_done(cli_options *options)
{
    free(options->operands);
    options->operands = NULL;
    options->operand_count = 0;
    free(options->roots.items);
    options->roots = (cli_texts){0};
}

bool cli_options_ask_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

grv_status cli_number_parse(const char *text, const char *what, uint64_t min, uint64_t max,
                            uint64_t *ret_number, grv_error *error)
{
    uint64_t number = 0;
    bool good = *text != '\0';
    for (const char *at = text; good && *at; at++) {
        good = *at >= '0' && *at <= '9' && !__builtin_mul_overflow(number, 10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(*at - '0'), &number);
    }
    if (!good || number < min || number > max) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                             "bad %s \"%s\": want a number from %" PRIu64 " to %" PRIu64, what,
                             text, min, max);
    }
    *ret_number = number;
    return GRV_OK;
}

grv_status cli_size_parse(const char *text, const char *what, uint64_t min, uint64_t max,
                          uint64_t *ret_size, grv_error *error)
{
    static const char units[] = "KMG";
    uint64_t size = 0;
    size_t digits = strspn(text, "0123456789");
    const char *unit = digits > 0 && text[digits] ? strchr(units, text[digits]) : NULL;
    bool good = digits > 0 && (!text[digits] || (unit && !text[digits + 1]));
    for (size_t i = 0; good && i < digits; i++) {
        good = !__builtin_mul_overflow(size, 10, &size) &&
               !__builtin_add_overflow(size, (uint64_t)(text[i] - '0'), &size);
    }
    if (good && unit) {
        good = !__builtin_mul_overflow(size, UINT64_C(1) << (10 * (unit - units + 1)), &size);
    }
    if (!good || size < min || size > max) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                             "bad %s \"%s\": want bytes from %" PRIu64 " to %" PRIu64
                             ", with K, M or G after them or without",
                             what, text, min, max);
    }
    *ret_size = size;
    return GRV_OK;
}

grv_status cli_duration_parse(const char *text, const char *what, uint64_t *ret_duration_ns,
                              grv_error *error)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const uint64_t year = UINT64_C(366) * 86400;
    size_t digits = strspn(text, "0123456789");
    bool good = digits > 0 && digits < 10 && (!text[digits] || !text[digits + 1]);
    uint64_t number = good ? strtoull(text, NULL, 10) : 0;
    uint64_t seconds = 0;
    for (size_t i = 0; good && i < sizeof units / sizeof *units; i++) {
        seconds = text[digits] == units[i].letter ? number * units[i].seconds : seconds;
    }
    if (seconds < 1 || seconds > year) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "options",
                             "bad %s \"%s\": want a time such as 30s, 5m, 12h or 7d", what, text);
    }
    *ret_duration_ns = seconds * 1000000000u;
    return GRV_OK;
}
