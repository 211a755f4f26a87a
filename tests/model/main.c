/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model test's program: runs seeds over pairs of backends, each pair one line of TAP, and
 * prints the seeds a minute. Seeds are dealt out to as many processes as --jobs says.
 */
#include "model.h"

#include <errno.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const char usage[] =
    "model [--seeds N] [--first S] [--pair NAME] [--seconds T] [--jobs J]\n"
    "model --seed S --pair NAME [--skip LIST] [--no-shrink]\n"
    "\n"
    "Runs random operations, drawn from a seed, on a store and on a model of one, and compares.\n"
    "  --seeds N    so many seeds a pair (1000; with --seconds: no limit)\n"
    "  --first S    the first seed (0: one from the clock)\n"
    "  --pair NAME  one pair of backends: memory, kv+memory, kv+rocks, fs+rocks,\n"
    "               fs+rocks+cache; all without\n"
    "  --seconds T  so long a pair at most\n"
    "  --jobs J     so many processes (1)\n"
    "  --seed S     this seed alone\n"
    "  --skip LIST  without these operations, such as 0-4,7\n"
    "  --no-shrink  a failure is printed as it is\n";

typedef struct options {
    uint64_t seeds;
    uint64_t first;
    uint64_t seconds;
    unsigned jobs;
    const model_pair *pair;
    const char *skip;
    bool one;
    bool shrink;
} options;

/* What the processes of a pair tell. */
typedef struct tally {
    atomic_ullong seeds;
    atomic_ullong failures;
    atomic_ullong crashes;
} tally;

static _Noreturn void usage_fail(const char *what, const char *text)
{
    fprintf(stderr, "model: %s%s\n%s", what, text, usage);
    exit(2);
}

static uint64_t parse_number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno || end == text || *end) {
        usage_fail("not a number: ", text);
    }
    return value;
}

static const model_pair *parse_pair(const char *name)
{
    for (size_t i = 0; i < model_pair_count; i++) {
        if (strcmp(model_pairs[i].name, name) == 0) {
            return &model_pairs[i];
        }
    }
    usage_fail("no such pair: ", name);
}

/* Marks the operations of a list such as 0-4,7. */
static void parse_skip(const char *text, bool skipped[MODEL_OPS_MAX])
{
    while (text && *text) {
        char *end;
        unsigned long first = strtoul(text, &end, 10);
        unsigned long last = first;
        if (*end == '-') {
            last = strtoul(end + 1, &end, 10);
        }
        if (end == text || (*end && *end != ',') || last >= MODEL_OPS_MAX) {
            usage_fail("not a list of operations: ", text);
        }
        while (first <= last) {
            skipped[first++] = true;
        }
        text = *end ? end + 1 : end;
    }
}

static void parse_option(options *it, int option)
{
    switch (option) {
    case 'n':
        it->seeds = parse_number(optarg);
        break;
    case 'f':
        it->first = parse_number(optarg);
        break;
    case 'p':
        it->pair = parse_pair(optarg);
        break;
    case 't':
        it->seconds = parse_number(optarg);
        break;
    case 'j':
        it->jobs = (unsigned)parse_number(optarg);
        break;
    case 's':
        it->first = parse_number(optarg);
        it->seeds = 1;
        it->one = true;
        break;
    case 'k':
        it->skip = optarg;
        break;
    case 'w':
        it->shrink = false;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        usage_fail("", "");
    }
}

static options parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"seeds", required_argument, NULL, 'n'}, {"first", required_argument, NULL, 'f'},
        {"pair", required_argument, NULL, 'p'},  {"seconds", required_argument, NULL, 't'},
        {"jobs", required_argument, NULL, 'j'},  {"seed", required_argument, NULL, 's'},
        {"skip", required_argument, NULL, 'k'},  {"no-shrink", no_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    options it = {.jobs = 1, .shrink = true};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        parse_option(&it, option);
    }
    if (optind < argc) {
        usage_fail("takes no ", argv[optind]);
    }
    if (it.skip && (!it.one || !it.pair)) {
        usage_fail("--skip goes with --seed and --pair", "");
    }
    if (it.jobs < 1 || it.jobs > 64) {
        usage_fail("--jobs is 1 to 64", "");
    }
    if (it.seconds && getenv("GRAVITON_TEST_BOUNDED")) {
        it.seconds = 1;
    }
    it.seeds = it.seeds ? it.seeds : it.seconds ? UINT64_MAX : 1000;
    if (!it.first && !it.one) {
        it.first = (grv_now_ns() ^ (uint64_t)getpid() << 40) % 1000000000000;
    }
    return it;
}

static void *share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    return memory;
}

/* Runs every `jobs`th seed of a pair, until one fails. */
static void worker_run(const options *it, const model_pair *pair, unsigned number, tally *count)
{
    model_shared *shared = share(sizeof *shared);
    uint64_t end_ns = it->seconds ? grv_now_ns() + it->seconds * UINT64_C(1000000000) : UINT64_MAX;
    for (uint64_t i = number; i < it->seeds && grv_now_ns() < end_ns; i += it->jobs) {
        model_world world;
        model_world_init(&world, pair, it->first + i);
        parse_skip(it->skip, world.skipped);
        bool good = model_run_seed(&world, shared);
        atomic_fetch_add(&count->seeds, 1);
        atomic_fetch_add(&count->crashes, shared->crashes);
        if (!good) {
            atomic_fetch_add(&count->failures, 1);
            model_report(&world, shared, it->shrink);
        }
        model_world_done(&world);
        if (!good) {
            break;
        }
    }
    munmap(shared, sizeof *shared);
}

static void workers_run(const options *it, const model_pair *pair, tally *count)
{
    fflush(NULL);
    for (unsigned i = 1; i < it->jobs; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            abort();
        }
        if (pid == 0) {
            worker_run(it, pair, i, count);
            fflush(NULL);
            _exit(0);
        }
    }
    worker_run(it, pair, 0, count);
    int ended;
    while (wait(&ended) > 0) {
        if (ended) {
            atomic_fetch_add(&count->failures, 1);
        }
    }
}

static bool pair_run(const options *it, const model_pair *pair, size_t number)
{
    tally *count = share(sizeof *count);
    uint64_t start_ns = grv_now_ns();
    workers_run(it, pair, count);
    double minutes = (double)(grv_now_ns() - start_ns) / 60e9;
    unsigned long long seeds = atomic_load(&count->seeds);
    bool good = atomic_load(&count->failures) == 0;
    printf("%sok %zu - %s: %llu seeds from %llu, %llu crashes, %.0f seeds a minute\n",
           good ? "" : "not ", number, pair->name, seeds, (unsigned long long)it->first,
           (unsigned long long)atomic_load(&count->crashes), (double)seeds / minutes);
    fflush(stdout);
    munmap(count, sizeof *count);
    return good;
}

int main(int argc, char **argv)
{
    options it = parse_options(argc, argv);
    bool good = true;
    size_t number = 0;
    printf("1..%zu\n", it.pair ? 1 : model_pair_count);
    for (size_t i = 0; i < model_pair_count; i++) {
        if (!it.pair || it.pair == &model_pairs[i]) {
            good = pair_run(&it, &model_pairs[i], ++number) && good;
        }
    }
    return good ? 0 : 1;
}
