/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion: the script that teaches a shell this command line. The build installs what this
 * prints, so there is one text; a test compares it with the options there are.
 */
#include "cli/cli.h"

#include <string.h>

static const char completion_bash[] =
    "# bash completion for graviton; load it with: source <(graviton completion bash)\n"
    "_graviton()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev='' command='' word i\n"
    "    local commands='put get stat ls manifest rm verify stats gc scrub backup cp object'\n"
    "    commands+=' migrate serve token help version completion'\n"
    "    local common='--store --blocks --meta --hash --chunker --threads --reserve --cache "
    "--token-file --json --quiet'\n"
    "    common+=' --help --version'\n"
    "    local valued=' --store --blocks --meta --hash --chunker --threads --reserve --cache'\n"
    "    valued+=' --token-file --to-token-file'\n"
    "    valued+=' --name --type --output -o --range --limit --root --after --rate --scope "
    "--append'\n"
    "    valued+=' --listen --tls-cert --tls-key --tokens --max-body --connections'\n"
    "    valued+=' --client-connections --client-rate --event-threads --streams'\n"
    "    valued+=' --queue --idle-timeout --rate-min --store-timeout --drain'\n"
    "    valued+=' --memory --log --backup-dir --gc-every --scrub-every'\n"
    "    valued+=' --scrub-rate'\n"
    "    valued+=' --from --from-blocks --from-meta --to --to-blocks --to-meta '\n"
    "    local own='' wants_value= verb=''\n"
    "    COMPREPLY=()\n"
    "    ((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ -n $wants_value ]]; then\n"
    "            wants_value=\n"
    "        elif [[ $valued == *\" $word \"* ]]; then\n"
    "            wants_value=1\n"
    "        elif [[ $word != -* && -z $command ]]; then\n"
    "            command=$word\n"
    "        elif [[ $word != -* && $command == object && -z $verb ]]; then\n"
    "            verb=$word\n"
    "        fi\n"
    "    done\n"
    "    case $prev in\n"
    "    --log)\n"
    "        COMPREPLY=($(compgen -W 'logfmt json' -- \"$cur\"))\n"
    "        return\n"
    "        ;;\n"
    "    --hash)\n"
    "        COMPREPLY=($(compgen -W 'blake3 sha256' -- \"$cur\"))\n"
    "        return\n"
    "        ;;\n"
    "    --scope)\n"
    "        COMPREPLY=($(compgen -W 'read write delete admin' -- \"$cur\"))\n"
    "        return\n"
    "        ;;\n"
    "    --store | --from | --to | --backup-dir)\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
    "        return\n"
    "        ;;\n"
    "    -o | --output | --tls-cert | --tls-key | --tokens | --append | \\\n"
    "        --token-file | --to-token-file)\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "        return\n"
    "        ;;\n"
    "    esac\n"
    "    [[ -n $wants_value ]] && return\n"
    "    case $command in\n"
    "    put) own='--recursive --name --type' ;;\n"
    "    get) own='--output --range' ;;\n"
    "    ls) own='--newest --long --limit' ;;\n"
    "    verify) own='--all' ;;\n"
    "    gc) own='--dry-run' ;;\n"
    "    backup) own='--copy' ;;\n"
    "    migrate) own='--dry-run --status' ;;\n"
    "    cp)\n"
    "        own='--from --from-blocks --from-meta --to --to-blocks --to-meta --to-token-file'\n"
    "        own+=' --all --dry-run'\n"
    "        ;;\n"
    "    object) own='--root --output --range --if-absent --limit --after' ;;\n"
    "    scrub) own='--rate --restart' ;;\n"
    "    serve)\n"
    "        own+=' --insecure --metrics-scope --listen --tls-cert --tls-key'\n"
    "        own+=' --tokens --max-body --connections --client-connections'\n"
    "        own+=' --client-rate --event-threads --streams --queue --idle-timeout'\n"
    "        own+=' --rate-min --store-timeout --drain --memory --log --backup-dir'\n"
    "        own+=' --gc-every --scrub-every --scrub-rate'\n"
    "        ;;\n"
    "    token) own='--scope --append' ;;\n"
    "    esac\n"
    "    if [[ $cur == -* ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$own $common\" -- \"$cur\"))\n"
    "    elif [[ -z $command || $command == help ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))\n"
    "    elif [[ $command == completion ]]; then\n"
    "        COMPREPLY=($(compgen -W 'bash' -- \"$cur\"))\n"
    "    elif [[ $command == backup ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
    "    elif [[ $command == object && -z $verb ]]; then\n"
    "        COMPREPLY=($(compgen -W 'ls head get put rm cp' -- \"$cur\"))\n"
    "    elif [[ $command == put || $verb == put ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "    fi\n"
    "}\n"
    "complete -F _graviton graviton\n";

static int completion_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    if (strcmp(cli->options.operands[0], "bash") != 0) {
        grv_error_set(&error, GRV_INVALID_ARGUMENT, "completion",
                      "no completion for \"%.60s\"; there is one for bash",
                      cli->options.operands[0]);
        return cli_fail(cli, &error);
    }
    grv_bytes script = grv_bytes_of(completion_bash, sizeof completion_bash - 1);
    return cli_output_write(&cli->output, script, &error) ? cli_fail(cli, &error) : CLI_EXIT_OK;
}

const cli_command cli_command_completion = {
    .name = "completion",
    .summary = "print a completion script",
    .help = "usage: graviton completion bash\n"
            "\n"
            "Prints a script that completes commands and options.\n"
            "\n"
            "examples:\n"
            "  source <(graviton completion bash)\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = completion_execute,
};
