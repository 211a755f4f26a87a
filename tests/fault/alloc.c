/* SPDX-License-Identifier: Apache-2.0 */
/* The wrapped functions. A thread counts as an allocation: the system takes memory for it. */
#include "alloc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *argument);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *argument);

static uint64_t countdown;
static bool again;
static uint64_t fired;

static bool fails(void)
{
    uint64_t left = __atomic_load_n(&countdown, __ATOMIC_ACQUIRE);
    uint64_t next;
    do {
        if (left == 0) {
            return false;
        }
        next = left == 1 && again ? 1 : left - 1;
    } while (!__atomic_compare_exchange_n(&countdown, &left, next, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    if (left > 1) {
        return false;
    }
    __atomic_fetch_add(&fired, 1, __ATOMIC_RELEASE);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = __wrap_malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *argument)
{
    return fails() ? EAGAIN : __real_pthread_create(ret_thread, attributes, run, argument);
}

void alloc_faults_begin(uint64_t n, bool persistent)
{
    again = persistent;
    fired = 0;
    __atomic_store_n(&countdown, n, __ATOMIC_RELEASE);
}

uint64_t alloc_faults_end(void)
{
    __atomic_store_n(&countdown, 0, __ATOMIC_RELEASE);
    return __atomic_load_n(&fired, __ATOMIC_ACQUIRE);
}
