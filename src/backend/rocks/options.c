/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options. The aims: memory that does not grow with the database, nothing acknowledged lost, no
 * abort on a full disk, and quick opening, since a command line opens the database each time.
 */
#include "backend/rocks/options.h"

/* Values from here on go to blob files in families of large values. */
#define LARGE_VALUE_MIN 4096

/* All families share one cache, which holds their indexes and filters too. Those are partitioned,
 * or a large table's would not fit a small cache. */
static void set_tables(rocksdb_options_t *options, rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
    rocksdb_block_based_options_set_index_type(
        table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(table, 1);
    rocksdb_block_based_options_set_metadata_block_size(table, 4096);
    rocksdb_block_based_options_set_block_size(table, 8192);
    /* Bloom at the top, where tables live briefly; below, ribbon, a third smaller. */
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_ribbon_hybrid(10, 1)); /* takes it over */
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

/* Few shards: one must have room for the largest blocks and partitions at once. */
static rocksdb_cache_t *make_cache(size_t bytes)
{
    rocksdb_lru_cache_options_t *lru = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(lru, bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(lru, 2);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(lru);
    rocksdb_lru_cache_options_destroy(lru);
    return cache;
}

static void set_database(rocksdb_options_t *options, const grv_rocks_config *config)
{
    size_t buffers =
        config->write_buffer_bytes ? config->write_buffer_bytes : GRV_ROCKS_WRITE_BUFFER_DEFAULT;
    rocksdb_options_set_create_if_missing(options, config->create ? 1 : 0);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    /*
     * Debian builds RocksDB with assertions on, and one in its info log aborts the process when a
     * write of the log fails on a full disk; at FATAL (4) nothing is logged.
     */
    rocksdb_options_set_info_log_level(options, 4);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    /*
     * After a power loss the log's unsynced end may hold holes. Point-in-time recovery replays up
     * to the first: that is all that was synced, as a synced write first syncs every log file
     * that is not yet, and then order is kept too. "Tolerate corrupted tail" would refuse to open
     * then. What point-in-time recovery hides, damage before synced records, the watermark tells.
     */
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_point_in_time_recovery);
    rocksdb_options_set_manual_wal_flush(options, 0); /* a write reaches the kernel before OK */
    rocksdb_options_set_recycle_log_file_num(options, 0);
    rocksdb_options_set_db_write_buffer_size(options, buffers);
    rocksdb_options_set_max_total_wal_size(options, (uint64_t)buffers * 2);
    rocksdb_options_set_max_open_files(options, 256);
    rocksdb_options_set_max_file_opening_threads(options, 1);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
    rocksdb_options_set_bytes_per_sync(options, 1 << 20);
}

static void set_family(rocksdb_options_t *options, const grv_rocks_config *config)
{
    size_t buffers =
        config->write_buffer_bytes ? config->write_buffer_bytes : GRV_ROCKS_WRITE_BUFFER_DEFAULT;
    rocksdb_options_set_write_buffer_size(options, buffers / 2);
    rocksdb_options_set_max_write_buffer_number(options, 2);
    rocksdb_options_set_arena_block_size(options, 256 << 10);
    rocksdb_options_set_target_file_size_base(options, 32 << 20);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
}

void grv_rocks_options_new(const grv_rocks_config *config, rocksdb_options_t **ret_options,
                           rocksdb_options_t **ret_large)
{
    rocksdb_cache_t *cache =
        make_cache(config->cache_bytes ? config->cache_bytes : GRV_ROCKS_CACHE_DEFAULT);
    rocksdb_options_t *options = rocksdb_options_create();
    set_database(options, config);
    set_family(options, config);
    set_tables(options, cache);
    rocksdb_cache_destroy(cache); /* the tables' options hold it */

    /* Large values come compressed, if they compress; their keys are digests. */
    rocksdb_options_t *large = rocksdb_options_create_copy(options);
    rocksdb_options_set_compression(large, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_files(large, 1);
    rocksdb_options_set_min_blob_size(large, LARGE_VALUE_MIN);
    rocksdb_options_set_blob_file_size(large, 128 << 20);
    rocksdb_options_set_blob_compression_type(large, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_gc(large, 1);
    rocksdb_options_set_blob_gc_age_cutoff(large, 0.25);
    rocksdb_options_set_blob_gc_force_threshold(large, 0.5);
    *ret_options = options;
    *ret_large = large;
}
