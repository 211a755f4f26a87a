/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault-flip [--fs|--kv] DIRECTORY SEED SAMPLE SHARD SHARDS: changes the bytes of a store's files,
 * one at a time, and reads the whole store after each. SAMPLE 0 takes every byte; else so many of
 * each file. Each trial is a process of its own, so that a crash is seen, and the next one starts
 * without anything that RocksDB has in memory. The bytes are put back.
 *
 * Invariant: what is read back is either exactly what an undamaged store gives, or the failure is
 * told as damage; and reading writes nothing. What each trial came to is one of the words in
 * `verdicts`; alike ones are counted together, and printed at the end as lines of verdict, count,
 * file, first offset, mask and message, with tabs between them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <graviton/graviton.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOBS_MAX   16
#define CONTENT_MAX (4u << 20)
#define FILES_MAX   512
#define KINDS_MAX   1024
#define PATH_SIZE   384
#define NOTE_SIZE   600
/* Seconds that a trial may take. */
#define TRIAL_MAX 60

/* What a trial came to. */
typedef enum verdict {
    HARMLESS, /* all as it was */
    FOUND,    /* told as damage; what was given out nevertheless was right */
    REFUSED,  /* the store would not open, for another reason than damage */
    WRONG,    /* given out wrong, or missed without a word, or told as something else */
    WROTE,    /* reading changed a file */
    CRASHED,
    HUNG
} verdict;

static const char *const verdicts[] = {"harmless", "found",   "refused", "wrong",
                                       "wrote",    "crashed", "hung"};

/* A blob as the undamaged store gives it. */
typedef struct known_blob {
    grv_blob_info info;
    size_t offset; /* of its bytes in `content` */
    size_t attributes_size;
    uint8_t attributes[1024];
} known_blob;

/* What parent and trials share. */
typedef struct shared {
    size_t count;
    known_blob blobs[BLOBS_MAX];
    size_t content_size;
    uint8_t content[CONTENT_MAX];
    grv_store_stats counted;
    verdict outcome;
    char note[NOTE_SIZE];
} shared;

/* A file of the store and what it was like. */
typedef struct store_file {
    char path[PATH_SIZE];
    struct stat info;
} store_file;

typedef struct file_list {
    size_t count;
    store_file files[FILES_MAX];
} file_list;

/* Trials that came to the same. */
typedef struct trial_kind {
    verdict outcome;
    char file[PATH_SIZE];
    char note[NOTE_SIZE];  /* the first one's */
    char shape[NOTE_SIZE]; /* what all their notes have in common */
    uint64_t count;
    off_t offset;
    uint8_t mask;
} trial_kind;

static shared *common;
static bool over_rocks;
static const char *directory;
static trial_kind kinds[KINDS_MAX];
static size_t kind_count;

static void give_up(const char *what)
{
    perror(what);
    exit(2);
}

/* ---- One trial ---- */

static void note(verdict outcome, const char *format, ...)
{
    if (outcome <= common->outcome) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(common->note, sizeof common->note, format, arguments);
    va_end(arguments);
    common->outcome = outcome;
}

/* A failure is damage and says so, or it is wrong. */
static void note_failure(const char *doing, const grv_error *error)
{
    note(error->status == GRV_CORRUPT ? FOUND : WRONG, "%s: %s: %s", doing,
         grv_status_name(error->status), error->message);
}

static size_t find_known(const grv_blob_key *key)
{
    for (size_t i = 0; i < common->count; i++) {
        if (grv_blob_key_compare(&common->blobs[i].info.key, key) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool info_equal(const grv_blob_info *a, const grv_blob_info *b)
{
    return grv_blob_key_compare(&a->key, &b->key) == 0 && a->block_count == b->block_count &&
           a->block_hash == b->block_hash && a->created_ns == b->created_ns &&
           a->sequence == b->sequence && grv_chunker_spec_equal(&a->chunker, &b->chunker);
}

/* A list that ends well without a failure has shown every blob, as it was. */
static void check_list(grv_blob_store *blobs, grv_list_order order)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_list list = {.order = order};
    grv_blob_cursor *cursor = NULL;
    if (grv_blob_store_open_list(NULL, blobs, &list, &cursor, &error)) {
        note_failure("list", &error);
        return;
    }
    size_t seen = 0;
    bool failed = false;
    for (unsigned calls = 0;; calls++) {
        grv_blob_info info;
        size_t count = 0;
        grv_status status = grv_blob_cursor_next(NULL, cursor, &info, 1, &count, &error);
        if (status == GRV_CORRUPT && calls < 4 * BLOBS_MAX) {
            failed = true;
            note_failure("list", &error);
        } else if (status) {
            /* A list that a failure has ended says so when it is asked again. */
            if (!failed || status != GRV_INVALID_ARGUMENT) {
                note_failure("list", &error);
            }
            failed = true;
            break;
        } else if (count == 0) {
            break;
        } else {
            size_t i = find_known(&info.key);
            if (i == SIZE_MAX || !info_equal(&info, &common->blobs[i].info)) {
                note(WRONG, "the list shows a blob that was never put, or another record of it");
            }
            seen++;
        }
    }
    grv_blob_cursor_free(cursor);
    if (!failed && seen != common->count) {
        note(WRONG, "the list shows %zu of %zu blobs and no failure", seen, common->count);
    }
}

/* Reads a whole blob; what comes out is a prefix of its bytes, and all of them if it ends well. */
static void check_content(grv_blob_store *blobs, const known_blob *known)
{
    grv_error error = GRV_ERROR_INIT;
    grv_source *source = NULL;
    if (grv_blob_store_open_get(NULL, blobs, &known->info.key, GRV_RANGE_ALL, &source, &error)) {
        note_failure("get", &error);
        return;
    }
    size_t size = known->info.key.size;
    size_t done = 0;
    for (;;) {
        grv_bytes view = {0};
        grv_status status = grv_source_next(NULL, source, 1 << 20, &view, &error);
        if (status) {
            note_failure("get", &error);
            break;
        }
        if (view.size == 0) {
            if (done != size) {
                note(WRONG, "a blob ends well after %zu of %zu bytes", done, size);
            }
            break;
        }
        if (view.size > size - done ||
            memcmp(common->content + known->offset + done, view.data, view.size) != 0) {
            note(WRONG, "a blob has other bytes");
            break;
        }
        done += view.size;
    }
    grv_source_free(source);
}

static void check_blob(grv_blob_store *blobs, const known_blob *known)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    if (grv_blob_store_stat(NULL, blobs, &known->info.key, &info, &error)) {
        note_failure("stat", &error);
    } else if (!info_equal(&info, &known->info)) {
        note(WRONG, "a blob has another record");
    }
    grv_attributes attributes;
    grv_buffer encoded;
    grv_attributes_init(&attributes);
    grv_buffer_init(&encoded, GRV_ATTRIBUTES_BYTES_MAX);
    if (grv_blob_store_attributes_get(NULL, blobs, &known->info.key, &attributes, &error) ||
        grv_attributes_encode(&attributes, &encoded, &error)) {
        note_failure("attributes", &error);
    } else if (encoded.size != known->attributes_size ||
               memcmp(encoded.data, known->attributes, encoded.size) != 0) {
        note(WRONG, "a blob has other attributes");
    }
    grv_buffer_done(&encoded);
    grv_attributes_done(&attributes);
    check_content(blobs, known);
}

/* Goes through the lists of blocks and of commits, which reading a blob has no need of. */
static void check_count(grv_store *store)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store_stats counted = {0};
    if (grv_store_count(NULL, store, &counted, &error)) {
        note_failure("count", &error);
    } else if (memcmp(&counted, &common->counted, sizeof counted) != 0) {
        note(WRONG, "the store counts other figures and tells no failure");
    }
}

static grv_status open_store(grv_store **ret_store, grv_error *error)
{
    char meta[PATH_SIZE + 16];
    snprintf(meta, sizeof meta, "rocks:%s", directory);
    grv_store_config config = {.read_only = true, .threads = 1};
    if (over_rocks) {
        config.blocks = "kv:";
        config.meta = meta;
    } else {
        config.directory = directory;
    }
    return grv_store_open(NULL, &config, ret_store, error);
}

static void read_store(void)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = NULL;
    if (open_store(&store, &error)) {
        bool refused = error.status == GRV_CONFLICT || error.status == GRV_UNSUPPORTED;
        note(refused                       ? REFUSED
             : error.status == GRV_CORRUPT ? FOUND
                                           : WRONG,
             "open: %s: %s", grv_status_name(error.status), error.message);
        return;
    }
    grv_blob_store *blobs = grv_store_blobs(store);
    check_list(blobs, GRV_ORDER_KEY);
    check_list(blobs, GRV_ORDER_NEWEST);
    for (size_t i = 0; i < common->count; i++) {
        check_blob(blobs, &common->blobs[i]);
    }
    check_count(store);
    grv_store_close(store);
}

/* ---- What the undamaged store holds ---- */

static grv_status learn_blob(grv_blob_store *blobs, const grv_blob_info *info, grv_error *error)
{
    known_blob *known = &common->blobs[common->count];
    *known = (known_blob){.info = *info, .offset = common->content_size};
    if (common->count + 1 == BLOBS_MAX || info->key.size > CONTENT_MAX - common->content_size) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "flip", "the store is too large");
    }
    grv_source *source = NULL;
    size_t size = 0;
    grv_status status =
        grv_blob_store_open_get(NULL, blobs, &info->key, GRV_RANGE_ALL, &source, error);
    if (!status) {
        grv_span span = {common->content + known->offset, info->key.size};
        status = grv_source_read(NULL, source, span, &size, error);
    }
    grv_source_free(source);
    grv_attributes attributes;
    grv_buffer encoded;
    grv_attributes_init(&attributes);
    grv_buffer_init(&encoded, sizeof known->attributes);
    if (!status) {
        status = grv_blob_store_attributes_get(NULL, blobs, &info->key, &attributes, error);
    }
    if (!status) {
        status = grv_attributes_encode(&attributes, &encoded, error);
    }
    if (!status) {
        memcpy(known->attributes, encoded.data, encoded.size);
        known->attributes_size = encoded.size;
        common->content_size += size;
        common->count++;
    }
    grv_buffer_done(&encoded);
    grv_attributes_done(&attributes);
    return status;
}

static grv_status learn(grv_error *error)
{
    grv_store *store = NULL;
    grv_status status = open_store(&store, error);
    if (status) {
        return status;
    }
    grv_blob_list list = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor = NULL;
    status = grv_blob_store_open_list(NULL, grv_store_blobs(store), &list, &cursor, error);
    size_t count = 1;
    while (!status && count > 0) {
        grv_blob_info info;
        status = grv_blob_cursor_next(NULL, cursor, &info, 1, &count, error);
        if (!status && count > 0) {
            status = learn_blob(grv_store_blobs(store), &info, error);
        }
    }
    grv_blob_cursor_free(cursor);
    if (!status) {
        status = grv_store_count(NULL, store, &common->counted, error);
    }
    grv_store_close(store);
    return status;
}

static void learn_or_note(void)
{
    grv_error error = GRV_ERROR_INIT;
    if (learn(&error)) {
        note(WRONG, "the undamaged store: %s", error.message);
    }
}

/* ---- Files ---- */

/* Files that opening a store rewrites, and nothing reads. */
static bool is_rewritten(const char *name)
{
    return strncmp(name, "LOG", 3) == 0 || strcmp(name, "lock") == 0;
}

static void list_files(const char *folder, file_list *list)
{
    DIR *entries = opendir(folder);
    if (!entries) {
        give_up(folder);
    }
    struct dirent *entry;
    while ((entry = readdir(entries))) {
        store_file *file = &list->files[list->count];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            is_rewritten(entry->d_name)) {
            continue;
        }
        int size = snprintf(file->path, sizeof file->path, "%s/%s", folder, entry->d_name);
        if (size < 0 || (size_t)size >= sizeof file->path || list->count + 1 == FILES_MAX ||
            lstat(file->path, &file->info)) {
            give_up(folder);
        }
        if (S_ISDIR(file->info.st_mode)) {
            char deeper[PATH_SIZE];
            memcpy(deeper, file->path, sizeof deeper);
            list_files(deeper, list);
        } else {
            list->count++;
        }
    }
    closedir(entries);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const store_file *)a)->path, ((const store_file *)b)->path);
}

static file_list *look(void)
{
    file_list *list = calloc(1, sizeof *list);
    if (!list) {
        give_up("calloc");
    }
    list_files(directory, list);
    qsort(list->files, list->count, sizeof list->files[0], compare_files);
    return list;
}

static bool unchanged(const file_list *before, const file_list *after)
{
    bool same = before->count == after->count;
    for (size_t i = 0; same && i < before->count; i++) {
        const struct stat *a = &before->files[i].info;
        const struct stat *b = &after->files[i].info;
        same = strcmp(before->files[i].path, after->files[i].path) == 0 && a->st_ino == b->st_ino &&
               a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
               a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
    }
    return same;
}

/* ---- Trials ---- */

/* Runs `work` in a process of its own; what becomes of it is in `common`. */
static void run_apart(void (*work)(void))
{
    common->outcome = HARMLESS;
    common->note[0] = '\0';
    pid_t child = fork();
    if (child < 0) {
        give_up("fork");
    }
    if (child == 0) {
        alarm(TRIAL_MAX);
        work();
        _exit(0);
    }
    int ended = 0;
    if (waitpid(child, &ended, 0) != child) {
        give_up("waitpid");
    }
    if (WIFSIGNALED(ended) && WTERMSIG(ended) == SIGALRM) {
        note(HUNG, "after %d s", TRIAL_MAX);
    } else if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0) {
        note(CRASHED, "wait status %d", ended);
    }
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Notes that differ in numbers, digests and quoted bytes alone are alike. */
static void make_shape(const char *text, char ret_shape[NOTE_SIZE])
{
    size_t size = 0;
    for (const char *c = text; *c && size + 1 < NOTE_SIZE && strncmp(c, " near '", 7) != 0;) {
        size_t run = 0;
        while (is_hex(c[run])) {
            run++;
        }
        size_t skip = run >= 8 || (*c >= '0' && *c <= '9') ? run : 0;
        ret_shape[size++] = (char)(skip ? '#' : *c);
        c += skip ? skip : 1;
    }
    ret_shape[size] = '\0';
}

static void count_trial(const char *file, off_t offset, uint8_t mask)
{
    char *text = common->note;
    for (char *c = text; *c; c++) {
        *c = (char)(*c == '\t' || *c == '\n' ? ' ' : *c);
    }
    char shape[NOTE_SIZE];
    make_shape(text, shape);
    for (size_t i = 0; i < kind_count; i++) {
        if (kinds[i].outcome == common->outcome && strcmp(kinds[i].file, file) == 0 &&
            strcmp(kinds[i].shape, shape) == 0) {
            kinds[i].count++;
            return;
        }
    }
    if (kind_count == KINDS_MAX) {
        fprintf(stderr, "fault-flip: more than %d kinds of outcomes\n", KINDS_MAX);
        exit(2);
    }
    trial_kind *kind = &kinds[kind_count++];
    *kind = (trial_kind){.outcome = common->outcome, .count = 1, .offset = offset, .mask = mask};
    snprintf(kind->file, sizeof kind->file, "%s", file);
    snprintf(kind->note, sizeof kind->note, "%s", text);
    snprintf(kind->shape, sizeof kind->shape, "%s", shape);
}

static void try_byte(int fd, const char *path, off_t offset, uint8_t mask)
{
    uint8_t byte = 0;
    if (pread(fd, &byte, 1, offset) != 1) {
        give_up(path);
    }
    uint8_t changed = byte ^ mask;
    if (pwrite(fd, &changed, 1, offset) != 1) {
        give_up(path);
    }
    file_list *before = look();
    run_apart(read_store);
    file_list *after = look();
    if (!unchanged(before, after)) {
        note(WROTE, "reading the store changed its files");
    }
    free(before);
    free(after);
    if (pwrite(fd, &byte, 1, offset) != 1) {
        give_up(path);
    }
    count_trial(path + strlen(directory) + 1, offset, mask);
}

/* splitmix64: the trials follow from the seed alone. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void try_file(const store_file *file, uint64_t *state, uint64_t sample, uint64_t shard,
                     uint64_t shards)
{
    int fd = open(file->path, O_RDWR);
    if (fd < 0) {
        give_up(file->path);
    }
    uint64_t size = (uint64_t)file->info.st_size;
    uint64_t trials = sample == 0 || sample > size ? size : sample;
    for (uint64_t i = 0; i < trials; i++) {
        uint64_t random = next_random(state);
        uint64_t offset = trials == size ? i : random >> 8;
        uint8_t mask = (uint8_t)(random % 255 + 1);
        if (i % shards == shard) {
            try_byte(fd, file->path, (off_t)(offset % size), mask);
        }
    }
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: fault-flip --fs|--kv DIRECTORY SEED SAMPLE SHARD SHARDS\n");
        return 2;
    }
    over_rocks = strcmp(argv[1], "--kv") == 0;
    directory = argv[2];
    uint64_t state = strtoull(argv[3], NULL, 10);
    uint64_t shards = strtoull(argv[6], NULL, 10);
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (common == MAP_FAILED || shards == 0) {
        give_up("fault-flip");
    }
    run_apart(learn_or_note);
    if (common->outcome == HARMLESS) {
        run_apart(read_store);
    }
    if (common->outcome != HARMLESS) {
        fprintf(stderr, "fault-flip: the undamaged store: %s\n", common->note);
        return 2;
    }
    file_list *list = look();
    for (size_t i = 0; i < list->count; i++) {
        try_file(&list->files[i], &state, strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10),
                 shards);
    }
    free(list);
    for (size_t i = 0; i < kind_count; i++) {
        printf("%s\t%" PRIu64 "\t%s\t%lld\t%u\t%s\n", verdicts[kinds[i].outcome], kinds[i].count,
               kinds[i].file, (long long)kinds[i].offset, kinds[i].mask, kinds[i].note);
    }
    return 0;
}
