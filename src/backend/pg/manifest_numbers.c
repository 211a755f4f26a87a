/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences that were drawn ahead. A number waits here while other commits go on, in this process
 * and in others, so it may have become too low when its turn comes: lower than one whose commit has
 * returned. Those of this process are left out here; of the others the commit's statement asks the
 * database, and draws anew.
 *
 * Commits that run side by side may pass one another. That is no fault, so each tells the database
 * which higher numbers are this process's own; enough are drawn ahead for it to know them.
 */
#include "backend/pg/manifest_repo.h"
#include "core/wire.h"

void grv_pg_numbers_init(grv_pg_numbers *numbers)
{
    *numbers = (grv_pg_numbers){.count = 0};
    pthread_mutex_init(&numbers->lock, NULL);
}

void grv_pg_numbers_done(grv_pg_numbers *numbers)
{
    pthread_mutex_destroy(&numbers->lock);
}

/* Forgets waiting numbers up to `highest`. The lock is held. */
static void forget(grv_pg_numbers *numbers, int64_t highest)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < numbers->count; i++) {
        if (numbers->all[i].taken || numbers->all[i].number > highest) {
            numbers->all[kept++] = numbers->all[i];
        }
    }
    numbers->count = kept;
}

/* Gives the ticket's number up. The lock is held. */
static void release(grv_pg_numbers *numbers, const grv_pg_ticket *ticket)
{
    for (unsigned i = 0; i < numbers->count; i++) {
        if (numbers->all[i].taken && numbers->all[i].number == ticket->number) {
            numbers->all[i] = numbers->all[--numbers->count];
            numbers->taken--;
            return;
        }
    }
}

grv_status grv_pg_numbers_higher(grv_pg_numbers *numbers, const grv_pg_ticket *ticket,
                                 grv_pg_array *array, int64_t *ret_highest, grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&numbers->lock);
    int64_t highest = numbers->highest;
    int64_t own = 0;
    for (unsigned i = 0; i < GRV_PG_NUMBERS_PAST && !status; i++) {
        if (numbers->past[i] > ticket->number) {
            status = grv_pg_array_add_int64(array, numbers->past[i], error);
            own++;
        }
    }
    pthread_mutex_unlock(&numbers->lock);
    if (!status) {
        /* A number between that is not ours is another's, whose commit may have returned. */
        *ret_highest = highest - ticket->number == own ? highest : ticket->number;
    }
    return status;
}

bool grv_pg_numbers_own(grv_pg_numbers *numbers, int64_t number)
{
    bool own = false;
    pthread_mutex_lock(&numbers->lock);
    for (unsigned i = 0; i < GRV_PG_NUMBERS_PAST && !own; i++) {
        own = numbers->past[i] == number;
    }
    pthread_mutex_unlock(&numbers->lock);
    return own;
}

/* How many numbers the ticket's commit is to bring: one for the next commit; where several run at
 * once, four for each. The lock is held. */
static void ask(grv_pg_numbers *numbers, grv_pg_ticket *ticket)
{
    unsigned target = numbers->taken > 1 ? 4 * numbers->taken : 1;
    unsigned coming = numbers->count - numbers->taken + numbers->asked;
    unsigned room = GRV_PG_NUMBERS_MAX - numbers->count;
    unsigned wanted = target > coming ? target - coming : 0;
    ticket->wanted = wanted < room ? wanted : room;
    numbers->asked += ticket->wanted;
}

grv_pg_ticket grv_pg_numbers_take(grv_pg_numbers *numbers)
{
    grv_pg_ticket ticket = {.number = 0};
    pthread_mutex_lock(&numbers->lock);
    struct grv_pg_number *lowest = NULL;
    for (unsigned i = 0; i < numbers->count; i++) {
        struct grv_pg_number *one = &numbers->all[i];
        if (!one->taken && (!lowest || one->number < lowest->number)) {
            lowest = one;
        }
    }
    if (lowest) {
        lowest->taken = true;
        numbers->taken++;
        ticket.number = lowest->number;
    }
    ask(numbers, &ticket);
    pthread_mutex_unlock(&numbers->lock);
    return ticket;
}

void grv_pg_numbers_add(grv_pg_numbers *numbers, grv_pg_ticket *ticket, bool too_low,
                        grv_bytes drawn)
{
    pthread_mutex_lock(&numbers->lock);
    numbers->asked -= ticket->wanted;
    ticket->wanted = 0;
    if (too_low) {
        release(numbers, ticket);
        forget(numbers, ticket->number);
        ticket->number = 0;
    }
    for (size_t at = 0; at + 8 <= drawn.size; at += 8) {
        int64_t number = (int64_t)grv_wire_get_u64be(drawn.data + at);
        numbers->past[numbers->past_next++ % GRV_PG_NUMBERS_PAST] = number;
        numbers->highest = number > numbers->highest ? number : numbers->highest;
        bool mine = too_low && ticket->number == 0;
        if (mine) {
            ticket->number = number;
        }
        if (numbers->count < GRV_PG_NUMBERS_MAX && (mine || number > numbers->committed)) {
            numbers->all[numbers->count++] = (struct grv_pg_number){number, mine};
            numbers->taken += mine;
        }
    }
    if (too_low) {
        ask(numbers, ticket);
    }
    pthread_mutex_unlock(&numbers->lock);
}

void grv_pg_numbers_return(grv_pg_numbers *numbers, const grv_pg_ticket *ticket, int64_t committed)
{
    pthread_mutex_lock(&numbers->lock);
    numbers->asked -= ticket->wanted;
    release(numbers, ticket);
    if (committed > numbers->committed) {
        numbers->committed = committed;
    }
    forget(numbers, numbers->committed);
    pthread_mutex_unlock(&numbers->lock);
}
