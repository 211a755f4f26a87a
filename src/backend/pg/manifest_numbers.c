/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences that were drawn ahead. A number waits here while other commits go on, in this process
 * and in others, so it may have become too low when its turn comes: lower than one whose commit has
 * returned. Those of this process are left out here; of the others the commit's statement asks the
 * database, and draws anew.
 */
#include "backend/pg/manifest_repo.h"

void grv_pg_numbers_init(grv_pg_numbers *numbers)
{
    numbers->committed = 0;
    numbers->count = 0;
    pthread_mutex_init(&numbers->lock, NULL);
}

void grv_pg_numbers_done(grv_pg_numbers *numbers)
{
    pthread_mutex_destroy(&numbers->lock);
}

/* Forgets waiting numbers that no commit may use any more. The lock is held. */
static void forget_low(grv_pg_numbers *numbers)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < numbers->count; i++) {
        if (numbers->all[i].taken || numbers->all[i].number > numbers->committed) {
            numbers->all[kept++] = numbers->all[i];
        }
    }
    numbers->count = kept;
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
        ticket.number = lowest->number;
        for (unsigned i = 0; i < numbers->count; i++) {
            if (numbers->all[i].number > ticket.number) {
                ticket.others[ticket.other_count++] = numbers->all[i].number;
            }
        }
    }
    pthread_mutex_unlock(&numbers->lock);
    return ticket;
}

void grv_pg_numbers_return(grv_pg_numbers *numbers, const grv_pg_ticket *ticket, int64_t committed,
                           int64_t fresh)
{
    pthread_mutex_lock(&numbers->lock);
    for (unsigned i = 0; i < numbers->count; i++) {
        if (numbers->all[i].taken && numbers->all[i].number == ticket->number) {
            numbers->all[i] = numbers->all[--numbers->count];
            break;
        }
    }
    if (committed > numbers->committed) {
        numbers->committed = committed;
    }
    forget_low(numbers);
    if (fresh > numbers->committed && numbers->count < GRV_PG_NUMBERS_MAX) {
        numbers->all[numbers->count++] = (struct grv_pg_number){.number = fresh};
    }
    pthread_mutex_unlock(&numbers->lock);
}
