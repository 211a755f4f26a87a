/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends bodies that have never been before to an HTTP server, over some kept connections at once,
 * for some seconds, and prints what was answered:
 *
 *   bench-http-put ADDRESS PORT METHOD PATH CONNECTIONS SECONDS BYTES
 *
 * A %u in PATH becomes the number of the request. Prints requests a second, and milliseconds of the
 * median and of one in a hundred. Any answer but 200, 201 and 204 ends it with exit code 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024u
#define BODY_MAX        ((size_t)64 << 20)
#define HEAD_MAX        8192u
#define SAMPLES_MAX     (1u << 20)

typedef struct putter {
    struct sockaddr_in address;
    const char *method;
    const char *path;
    size_t size;
    double until;
    atomic_uint next;
    atomic_bool failed;
    atomic_uint done;
    float *seconds; /* of each request, SAMPLES_MAX of them */
} putter;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Bytes that do not repeat: splitmix64 from a place of their own. */
static void body_fill(uint64_t *words, size_t count, uint64_t number)
{
    uint64_t state = number << 40;
    for (size_t i = 0; i < count; i++) {
        uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        words[i] = z ^ (z >> 31);
    }
}

static int send_all(int fd, const char *head, size_t head_size, const void *body, size_t size)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)head, head_size}, {(void *)(uintptr_t)body, size}};
    struct iovec *part = parts;
    int count = 2;
    while (count > 0) {
        ssize_t sent = writev(fd, part, count);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return -1;
        }
        size_t left = (size_t)sent;
        while (count > 0 && left >= part->iov_len) {
            left -= part->iov_len;
            part++;
            count--;
        }
        if (count > 0) {
            part->iov_base = (char *)part->iov_base + left;
            part->iov_len -= left;
        }
    }
    return 0;
}

/* Reads one answer; its status, or -1. */
static int answer_read(int fd)
{
    char head[HEAD_MAX];
    size_t used = 0;
    char *end = NULL;
    while (!end) {
        ssize_t got = read(fd, head + used, sizeof head - 1 - used);
        if (got <= 0) {
            return -1;
        }
        used += (size_t)got;
        head[used] = '\0';
        end = strstr(head, "\r\n\r\n");
        if (!end && used == sizeof head - 1) {
            return -1;
        }
    }
    size_t body = 0;
    for (char *line = strstr(head, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0) {
            body = (size_t)strtoul(line + 17, NULL, 10);
        }
    }
    size_t have = used - (size_t)(end + 4 - head);
    while (have < body) {
        char drop[HEAD_MAX];
        ssize_t got = read(fd, drop, body - have < sizeof drop ? body - have : sizeof drop);
        if (got <= 0) {
            return -1;
        }
        have += (size_t)got;
    }
    return used > 12 ? (int)strtol(head + 9, NULL, 10) : -1;
}

static bool answer_is_good(int status)
{
    return status == 200 || status == 201 || status == 204;
}

static void *putter_run(void *argument)
{
    putter *all = argument;
    uint64_t *body = malloc(all->size + sizeof *body);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    if (!body || fd < 0 || connect(fd, (struct sockaddr *)&all->address, sizeof all->address) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) {
        perror("bench-http-put: connect");
        atomic_store(&all->failed, true);
    }
    while (!atomic_load(&all->failed) && now() < all->until) {
        unsigned number = atomic_fetch_add(&all->next, 1);
        body_fill(body, all->size / sizeof *body + 1, number + (uint64_t)getpid() * 1000003u);
        char path[512];
        const char *mark = strstr(all->path, "%u");
        int lead = mark ? (int)(mark - all->path) : (int)strlen(all->path);
        snprintf(path, sizeof path, "%.*s", lead, all->path);
        if (mark) {
            snprintf(path + lead, sizeof path - (size_t)lead, "%u%s", number, mark + 2);
        }
        char head[1024];
        int head_size = snprintf(head, sizeof head,
                                 "%s %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n",
                                 all->method, path, all->size);
        double begun = now();
        int status = send_all(fd, head, (size_t)head_size, body, all->size) ? -1 : answer_read(fd);
        if (!answer_is_good(status)) {
            fprintf(stderr, "bench-http-put: %s %s: status %d\n", all->method, path, status);
            atomic_store(&all->failed, true);
            break;
        }
        unsigned at = atomic_fetch_add(&all->done, 1);
        if (at < SAMPLES_MAX) {
            all->seconds[at] = (float)(now() - begun);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    free(body);
    return NULL;
}

static int float_compare(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr,
                "usage: bench-http-put ADDRESS PORT METHOD PATH CONNECTIONS SECONDS BYTES\n");
        return 2;
    }
    static putter all;
    static pthread_t threads[CONNECTIONS_MAX];
    all.address.sin_family = AF_INET;
    all.address.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
    all.method = argv[3];
    all.path = argv[4];
    unsigned connections = (unsigned)strtoul(argv[5], NULL, 10);
    double seconds = strtod(argv[6], NULL);
    all.size = strtoul(argv[7], NULL, 10);
    all.seconds = calloc(SAMPLES_MAX, sizeof *all.seconds);
    if (inet_pton(AF_INET, argv[1], &all.address.sin_addr) != 1 || connections == 0 ||
        connections > CONNECTIONS_MAX || seconds <= 0 || all.size > BODY_MAX || !all.seconds) {
        fprintf(stderr, "bench-http-put: an argument is out of range\n");
        return 2;
    }
    double begun = now();
    all.until = begun + seconds;
    for (unsigned i = 0; i < connections; i++) {
        if (pthread_create(&threads[i], NULL, putter_run, &all)) {
            fprintf(stderr, "bench-http-put: no thread\n");
            return 1;
        }
    }
    for (unsigned i = 0; i < connections; i++) {
        pthread_join(threads[i], NULL);
    }
    double took = now() - begun;
    unsigned done = atomic_load(&all.done);
    if (atomic_load(&all.failed) || done == 0) {
        return 1;
    }
    unsigned samples = done < SAMPLES_MAX ? done : SAMPLES_MAX;
    qsort(all.seconds, samples, sizeof *all.seconds, float_compare);
    printf("%.1f %.2f %.2f\n", done / took, 1e3 * (double)all.seconds[samples / 2],
           1e3 * (double)all.seconds[samples - 1 - samples / 100]);
    free(all.seconds);
    return 0;
}
