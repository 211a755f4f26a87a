/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's words: long options with or without "=", short ones alone or in a bunch, in
 * any order with the operands, and "--" that ends them. Which options there are is in tables: one
 * for all commands, and one a command.
 */
#ifndef GRAVITON_CLI_OPTIONS_H
#define GRAVITON_CLI_OPTIONS_H

#include <graviton/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The texts of an option that may be given several times, in order. */
typedef struct cli_texts {
    const char **items; /* malloc'ed by parse; NULL where there are none */
    size_t count;
} cli_texts;

/* What was given. Texts are borrowed from argv; NULL where the option is absent. */
typedef struct cli_options {
    /* for every command */
    const char *store;
    const char *blocks;
    const char *meta;
    const char *hash;
    const char *chunker;
    const char *threads;
    const char *reserve;
    const char *cache;
    const char *token_file;
    bool json;
    bool quiet;
    bool help;
    bool version;
    /* put */
    bool recursive;
    const char *name;
    const char *type;
    /* get */
    const char *output;
    const char *range;
    /* ls */
    bool newest;
    bool detailed;
    const char *limit;
    /* verify, cp */
    bool all;
    /* gc, cp, migrate */
    bool dry_run;
    /* migrate */
    bool status;
    /* backup */
    bool copy;
    /* cp */
    const char *from;
    const char *from_blocks;
    const char *from_meta;
    const char *to;
    const char *to_blocks;
    const char *to_meta;
    const char *to_token_file;
    /* object */
    cli_texts roots;
    const char *after;
    bool if_absent;
    /* scrub */
    const char *rate;
    bool restart;
    /* serve */
    const char *listen;
    const char *tls_cert;
    const char *tls_key;
    const char *tokens;
    bool insecure;
    bool metrics_scope;
    const char *max_body;
    const char *connections;
    const char *client_connections;
    const char *client_rate;
    const char *event_threads;
    const char *streams;
    const char *queue;
    const char *idle_timeout;
    const char *rate_min;
    const char *store_timeout;
    const char *drain;
    const char *memory;
    const char *log;
    const char *backup_dir;
    const char *gc_every;
    const char *scrub_every;
    const char *scrub_rate;
    /* token */
    const char *scope;
    const char *append;
    /* what is not an option */
    char **operands;
    size_t operand_count;
} cli_options;

typedef enum cli_option_kind {
    CLI_OPTION_FLAG = 0,
    CLI_OPTION_TEXT = 1,
    CLI_OPTION_TEXTS = 2 /* may be given several times */
} cli_option_kind;

/* One option. A table ends with one whose name is NULL. */
typedef struct cli_option {
    const char *name;     /* long name without the dashes */
    char letter;          /* short name, or 0 */
    cli_option_kind kind; /* a flag, or one that takes a text */
    size_t field;         /* offset in cli_options of a bool, const char * or cli_texts */
} cli_option;

/* The options of every command. */
extern const cli_option cli_options_common[];

/*
 * Parses argv[1..argc). The first operand is the command's name: `find_table` maps it to the table
 * of that command's own options (NULL: there are none), and `operands` holds what follows it;
 * *ret_command is NULL where there is no operand. operands is malloc'ed: cli_options_done frees
 * it. GRV_INVALID_ARGUMENT names the option that is unknown or lacks its value.
 */
grv_status cli_options_parse(int argc, char **argv,
                             const cli_option *(*find_table)(const char *command),
                             cli_options *ret_options, const char **ret_command, grv_error *error);

/* Frees what parse took. */
void cli_options_done(cli_options *options);

/* True if "--json" stands before any "--": how errors are shown before options are parsed. */
bool cli_options_ask_json(int argc, char **argv);

/* Parses a decimal number from `min` to `max`; `what` names it in the message. */
grv_status cli_number_parse(const char *text, const char *what, uint64_t min, uint64_t max,
                            uint64_t *ret_number, grv_error *error);

/* As cli_number_parse, for bytes: K, M or G may follow, for 2^10, 2^20 or 2^30. */
grv_status cli_size_parse(const char *text, const char *what, uint64_t min, uint64_t max,
                          uint64_t *ret_size, grv_error *error);

/* As cli_number_parse, for a time, at least a second and at most a year: seconds, or with s, m, h
 * or d after it. *ret_duration_ns is nanoseconds. */
grv_status cli_duration_parse(const char *text, const char *what, uint64_t *ret_duration_ns,
                              grv_error *error);

#endif
