# SPDX-License-Identifier: Apache-2.0
"""What tests/fault/mutate.py takes out of the code, and what it leaves in and why.

MUTATIONS are tuples: what is taken out, file, text, its replacement, the scenario of power.py that
is to notice; and where a step moves, another text of the same file and its replacement. Each text
is in its file once. KEPT are tuples too: file, text, and why no acknowledgement of the program
stands on that step alone.
"""

# Scenarios of tests/fault/power.py.
LIFE = "power cuts: files"
LIFE_KV = "power cuts: all in rocks"
FIRST = "in a first put"
KILL = "after a kill"
MAKING = "making cut short: files and rocks together"
MAKING_APART = "making cut short: files and rocks apart"
BACKUP = "in a backup: files"
BACKUP_KV = "in a backup: all in rocks"
DAMAGE = "after damage: files"
DAMAGE_KV = "after damage: all in rocks"
OBJECTS = "power cuts: objects"
OBJECTS_KILL = "after a killed put: objects"

MUTATIONS = [
    (
        "blocks: the sync of a few files",
        "src/backend/fs/sync.c",
        'grv_file_sync(group->fds[i], "a new block file", error)',
        "GRV_OK",
        LIFE,
    ),
    (
        "blocks: the sync of many files",
        "src/backend/fs/sync.c",
        "if (grv_file_calls()->syncfs(store->prefix_fd)) {",
        "if (files == 0) {",
        LIFE,
    ),
    (
        "blocks: rename only after the sync",
        "src/backend/fs/sync.c",
        """    grv_fs_sync *sync = &store->sync;
    pthread_mutex_lock(&sync->lock);
    group->state = GRV_FS_QUEUED;
""",
        """    grv_fs_sync *sync = &store->sync;
    group->state = GRV_FS_SYNCED;
    (void)grv_fs_group_place(store, group, NULL);
    pthread_mutex_lock(&sync->lock);
    group->state = GRV_FS_QUEUED;
""",
        LIFE,
    ),
    (
        "blocks: the sync of their names",
        "src/backend/fs/directory.c",
        "return grv_directory_sync(fd, directory->name, error);",
        "return GRV_OK;",
        LIFE,
    ),
    (
        "blocks: the sync of their directory's name",
        "src/backend/fs/directory.c",
        'grv_directory_sync(directory->store->prefix_fd, "of the block store", error);',
        "GRV_OK;",
        LIFE,
    ),
    (
        "blocks: the same, where a killed process made it",
        "src/backend/fs/directory.c",
        "    if (!anchored) {\n",
        "    if (!anchored && directory->changes > 0) {\n",
        KILL,
    ),
    (
        "blocks: the commit's sync of names",
        "src/backend/fs/batch.c",
        "status = grv_fs_directory_settle(call, &batch->store->directories[i], error);",
        "status = GRV_OK;",
        LIFE,
    ),
    (
        "blocks: the same, where a killed process renamed",
        "src/backend/fs/batch.c",
        "status = grv_fs_directory_settle(call, &batch->store->directories[i], error);",
        """grv_fs_directory *used = &batch->store->directories[i];
        status = used->changes ? grv_fs_directory_settle(call, used, error) : GRV_OK;""",
        KILL,
    ),
    (
        "blocks: a directory that changed is synced again",
        "src/backend/fs/directory.c",
        """bool clean = directory->marked && directory->synced_changes == changes &&
                 stamps_equal(&directory->mark, &stamp);""",
        "bool clean = directory->ended > 0 && changes > 0;",
        LIFE,
    ),
    (
        "small files: the sync of the bytes",
        "src/os/file.c",
        "status = grv_file_sync(fd, temp, error);",
        "status = GRV_OK;",
        LIFE,
    ),
    (
        "small files: the sync of the name",
        "src/os/file.c",
        "status = grv_directory_sync(dir, name, error);",
        "status = GRV_OK;",
        FIRST,
    ),
    (
        "new directories: the sync of the parent",
        "src/os/directory.c",
        "    return parent_sync(parent, name, error);",
        "    return GRV_OK;",
        LIFE,
    ),
    (
        "new directories: the same, where a killed process made them",
        "src/os/directory.c",
        "status = directory_keep(*fd, next, name, error);",
        "status = GRV_OK;",
        MAKING,
    ),
    (
        "all syncs of directories",
        "src/os/directory.c",
        "if (grv_file_calls()->fsync(fd)) {",
        "if (fd < 0) {",
        LIFE,
    ),
    (
        "all syncs of single files",
        "src/os/file.c",
        "if (grv_file_calls()->fdatasync(fd)) {",
        "if (fd < 0) {",
        LIFE,
    ),
    (
        "making a store: the blocks are named first",
        "src/store/create.c",
        "return !status && store->blocks ? grv_opening_write_superblock(opening, true, error)"
        " : status;",
        "return status;",
        LIFE,
    ),
    (
        "making a store: directories found are synced",
        "src/store/create.c",
        """            grv_block_store_free(store->blocks);
            store->blocks = NULL;
            status = grv_opening_blocks(opening, true, error);""",
        "            status = store->blocks ? GRV_OK : grv_opening_blocks(opening, true, error);",
        MAKING,
    ),
    (
        "making a store: a superblock found is written again",
        "src/store/create.c",
        """    grv_status status = GRV_OK;
    if (!opening->has_superblock) {
        status = new_info""",
        """    grv_status status = GRV_OK;
    if (opening->has_superblock) {
        return GRV_OK;
    } else {
        status = new_info""",
        MAKING_APART,
    ),
    (
        "making a store: the descriptor comes before ready",
        "src/store/create.c",
        """        status = write_descriptor(opening, error);
    }
    if (!status) {
        status = grv_opening_write_superblock(opening, false, error);
    }
""",
        """        status = grv_opening_write_superblock(opening, false, error);
    }
    if (!status) {
        status = write_descriptor(opening, error);
    }
""",
        LIFE,
    ),
    (
        "making a store: the descriptor's sync",
        "src/backend/kv/manifest_repo.c",
        """.op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_DURABLE};
    grv_status status = GRV_OK;
    if (expected) {""",
        """.op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_ORDERED};
    grv_status status = GRV_OK;
    if (expected) {""",
        LIFE,
    ),
    (
        "put: blocks before the manifest",
        "src/store/ingest.c",
        """    status = grv_ingest_commit_batch(call, put, error);
    if (status) {
        return status;
    }
    uint64_t blocks = put->manifest->block_count;
    status = grv_manifest_put_commit(call, put->manifest, &key, put->attributes, &commit, error);
""",
        """    uint64_t blocks = put->manifest->block_count;
    status = grv_manifest_put_commit(call, put->manifest, &key, put->attributes, &commit, error);
    if (status) {
        return status;
    }
    status = grv_ingest_commit_batch(call, put, error);
""",
        LIFE,
    ),
    (
        "put: the durable batch",
        "src/backend/kv/manifest_put.c",
        "        .durability = GRV_DURABLE,\n",
        "        .durability = GRV_ORDERED,\n",
        LIFE,
    ),
    (
        "put: the same, blocks in RocksDB",
        "src/backend/kv/manifest_put.c",
        "        .durability = GRV_DURABLE,\n",
        "        .durability = GRV_ORDERED,\n",
        LIFE_KV,
    ),
    (
        "put: the acknowledgement after the durable batch",
        "src/backend/kv/manifest_put.c",
        "    grv_status status = grv_kv_write(call, put->repo->kv, &batch, error);\n"
        "    if (status != GRV_CONFLICT) {",
        """    extern ssize_t write(int, const void *, size_t);
    char text[GRV_KEY_TEXT_SIZE + 1];
    grv_blob_key_print(&info->key, text);
    size_t size = strlen(text);
    text[size] = '\\n';
    (void)!write(1, text, size + 1);
    grv_status status = grv_kv_write(call, put->repo->kv, &batch, error);
    if (status != GRV_CONFLICT) {""",
        LIFE,
    ),
    (
        "put: the sync of attributes",
        "src/backend/kv/manifest_repo.c",
        """.op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_DURABLE};
    status = grv_kv_write(call, repo->kv, &batch, error);
    grv_buffer_done(&record);""",
        """.op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_ORDERED};
    status = grv_kv_write(call, repo->kv, &batch, error);
    grv_buffer_done(&record);""",
        LIFE,
    ),
    (
        "RocksDB: the sync of its log",
        "src/backend/rocks/handle.c",
        "rocksdb_writeoptions_set_sync(rocks->durable, 1);",
        "rocksdb_writeoptions_set_sync(rocks->durable, 0);",
        LIFE,
    ),
    (
        "RocksDB: the watermark only after the write",
        "src/backend/rocks/kv.c",
        """    char *failed = NULL;
    rocksdb_write(""",
        """    if (durable) {
        grv_watermark_raise(&rocks->watermark, before + (uint64_t)count);
    }
    char *failed = NULL;
    rocksdb_write(""",
        LIFE,
    ),
    (
        "backup: the sync of the names of linked blocks",
        "src/backend/fs/link.c",
        "status = grv_fs_directory_settle(call, to, error);",
        "status = GRV_OK;",
        BACKUP,
    ),
    (
        "backup: the sync of the copied database's files",
        "src/backend/rocks/checkpoint.c",
        "return grv_file_sync(fd, name, error);",
        "return GRV_OK;",
        BACKUP_KV,
    ),
    (
        "backup: the sync of the database's name",
        "src/store/backup.c",
        "grv_directory_sync(run->dir, run->config->directory, error);",
        "GRV_OK;",
        BACKUP_KV,
    ),
    (
        "backup: the database is named only after its sync",
        "src/store/backup.c",
        '#define META_PARTIAL "meta.partial"',
        "#define META_PARTIAL META",
        BACKUP_KV,
    ),
    (
        "backup: the superblock comes after the blocks",
        "src/store/backup.c",
        """            status = copy_blocks(run, &target, error);
        }
    }
    if (!status) {
        status = copy_finish(run, error);
    }
""",
        """            status = copy_blocks(run, &target, error);
        }
    }
""",
        BACKUP,
        """    grv_status status = copy_meta(run, error);
""",
        """    grv_status status = copy_meta(run, error);
    if (!status) {
        status = copy_finish(run, error);
    }
""",
    ),
    (
        "scrub: the sync of the names set aside",
        "src/backend/fs/sweep.c",
        "grv_status status = grv_directory_sync(pair->to, GRV_FS_QUARANTINE, error);",
        "grv_status status = GRV_OK;",
        DAMAGE,
    ),
    (
        "scrub: the sync of the names given up",
        "src/backend/fs/sweep.c",
        "status ? status : grv_fs_directory_settle(call, grv_fs_directory_of(store, hash), error);",
        "status;",
        DAMAGE,
    ),
    (
        "scrub: the flush of blocks set aside in RocksDB",
        "src/backend/kv/block_sweep.c",
        "return grv_kv_flush(call, kv, error);",
        "return GRV_OK;",
        DAMAGE_KV,
    ),
    (
        "put: the flush where the manifest is there already",
        "src/store/ingest.c",
        "status = grv_block_store_flush(call, put->cas->config.blocks, error);",
        "status = GRV_OK;",
        DAMAGE_KV,
    ),
    (
        "RocksDB: the flush",
        "src/backend/rocks/kv.c",
        "    status = grv_rocks_sync(rocks, error);\n",
        "    status = GRV_OK;\n",
        DAMAGE_KV,
    ),
    (
        "RocksDB: the sync of the log in a flush",
        "src/backend/rocks/handle.c",
        "rocksdb_flush_wal(rocks->db, 1, &failed);",
        "rocksdb_flush_wal(rocks->db, 0, &failed);",
        DAMAGE_KV,
    ),
    (
        "objects: the sync of the bytes",
        "src/backend/fs/object_put.c",
        "grv_status status = grv_file_sync(self->fd, self->temp, error);",
        "grv_status status = GRV_OK;",
        OBJECTS,
    ),
    (
        "objects: rename only after the sync",
        "src/backend/fs/object_put.c",
        """    grv_status status = upload_sync(self, &info, error);
    if (!status) {
        status =
            grv_fs_place_open(""",
        """    grv_status status = self->if_absent ? upload_sync(self, &info, error) : GRV_OK;
    if (!status) {
        status =
            grv_fs_place_open(""",
        OBJECTS,
        """    status = upload_place(self, &place, error);
""",
        """    status = upload_place(self, &place, error);
    if (!status && !self->if_absent) {
        status = upload_sync(self, &info, error);
    }
""",
    ),
    (
        "objects: link only after the sync",
        "src/backend/fs/object_put.c",
        """        (void)calls->unlinkat(temp_fd, self->temp, 0);
        return GRV_OK;
""",
        """        grv_object_info info;
        return upload_sync(self, &info, NULL);
""",
        OBJECTS,
        """    grv_status status = upload_sync(self, &info, error);
    if (!status) {
        status =
            grv_fs_place_open(""",
        """    grv_status status = self->if_absent ? GRV_OK : upload_sync(self, &info, error);
    if (!status) {
        status =
            grv_fs_place_open(""",
    ),
    (
        "objects: the sync of the name",
        "src/backend/fs/object_put.c",
        "status = grv_fs_place_sync(self->store, &place, error);",
        "status = GRV_OK;",
        OBJECTS,
    ),
    (
        "objects: the same, where a killed process gave it",
        "src/backend/fs/object_put.c",
        "status = grv_fs_place_sync(store, place, error);",
        "status = GRV_OK;",
        OBJECTS_KILL,
    ),
    (
        "objects: the sync of a new directory's name",
        "src/backend/fs/object_files.c",
        "grv_status status = grv_directory_sync(parent, name, error);",
        "grv_status status = GRV_OK;",
        OBJECTS,
    ),
    (
        "objects: the same, where a killed process made it",
        "src/backend/fs/object_files.c",
        """    int fd = open_quietly(parent, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT) {
""",
        """    int fd = open_quietly(parent, name, O_RDONLY | O_DIRECTORY);
    if (fd >= 0) {
        *ret_fd = fd;
        return GRV_OK;
    }
    if (errno == ENOENT) {
""",
        OBJECTS_KILL,
    ),
    (
        "objects: the sync of a removal",
        "src/backend/fs/object_store.c",
        "status = grv_fs_place_sync(store, &place, error);",
        "status = GRV_OK;",
        OBJECTS,
    ),
    (
        "objects: the same, where a killed process removed",
        "src/backend/fs/object_store.c",
        "    if (!status && place.fd >= 0) {\n",
        "    if (!status && there) {\n",
        OBJECTS_KILL,
    ),
]

KEPT = [
    # Called, or made to matter, by what is taken out.
    (
        "src/backend/fs/directory.c",
        "directory_sync(directory, fd, anchored, &failure)",
        "its two syncs are taken out one by one",
    ),
    (
        "src/backend/fs/block_store.c",
        "grv_fs_directory_settle(call, grv_fs_directory_of(store, hashes[i]), error)",
        "called by the next two",
    ),
    (
        "src/backend/fs/object_files.c",
        "grv_status status = grv_directory_sync(place->fd, \"of an object\", error);",
        "its three callers are taken out",
    ),
    (
        "src/backend/kv/block_store.c",
        "return grv_kv_flush(call, blocks_of(store)->kv, error);",
        "its caller in a put is taken out",
    ),
    (
        "src/os/directory.c",
        "status = grv_directory_sync(fd, name, error);",
        "its two callers are taken out",
    ),
    (
        "src/os/directory.c",
        "status = parent_sync(parent, name, &failure);",
        "its caller is taken out",
    ),
    (
        "src/backend/rocks/checkpoint.c",
        "checkpoint_settle(call, rocks, directory, copy, &made, error)",
        "its syncs are taken out one by one",
    ),
    ("src/backend/rocks/kv.c", "bool durable = durability == GRV_DURABLE;", "reads what is wanted"),
    # Renames and links whose order is taken out elsewhere, or does not matter.
    ("src/backend/fs/group.c", "calls->renameat(temp_fd, temp, fd, name)", "see sync.c"),
    ("src/os/file.c", "calls->renameat(dir, temp, dir, name)", "the sync before it is taken out"),
    ("src/os/file.c", "calls->linkat(dir, temp, dir, name, 0)", "likewise"),
    (
        "src/backend/fs/object_put.c",
        "calls->linkat(temp_fd, self->temp, place->fd, place->name, 0)",
        "its order is taken out in the commit",
    ),
    (
        "src/backend/fs/object_put.c",
        "calls->renameat(temp_fd, self->temp, place->fd, place->name)",
        "likewise",
    ),
    (
        "src/backend/fs/sweep.c",
        "grv_file_calls()->renameat(pair->from, name, pair->to, name)",
        "a block was synced when it was put, and is damaged by now",
    ),
    (
        "src/backend/fs/link.c",
        "grv_file_calls()->linkat(run->from, name, run->to, name, 0)",
        "a block that has its name is durable",
    ),
    (
        "src/backend/rocks/checkpoint.c",
        "grv_file_calls()->renameat(dir, COPY_TEMP, dir, name)",
        "the copy gets its own name after the sync of all its files, which is taken out",
    ),
    (
        "src/store/backup.c",
        "grv_file_calls()->renameat(run->dir, META_PARTIAL, run->dir, META)",
        "its order is taken out with META_PARTIAL",
    ),
    (
        "src/cli/cmd_token.c",
        "grv_directory_sync(fd, folder, error)",
        "a file of tokens is no store: a token that is lost is made again",
    ),
    (
        "src/cli/cmd_token.c",
        "grv_file_sync(fd, path, error)",
        "a file of tokens is no store: a token that is lost is made again",
    ),
    (
        "src/http/jobs_run.c",
        "grv_block_store_flush(&call, grv_store_blocks(job->jobs->server->store), error);",
        "a flush by request: a put flushes its own blocks before it says that they are stored",
    ),
    (
        "src/cli/target.c",
        "rename(target->temporary, target->path)",
        "what get writes to is no store, and nothing says that it is durable",
    ),
    # Writes that are made durable by a later one, or by closing, before anything is said.
    (
        "src/backend/kv/block_store.c",
        ".op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_DURABLE};",
        "the superblock: in one log with the descriptor and the roots, which come later",
    ),
    (
        "src/backend/kv/manifest_repo.c",
        "    batch.durability = GRV_DURABLE;\n",
        "rm says only with its exit that it is done, and closing syncs the log before that",
    ),
    (
        "src/backend/rocks/handle.c",
        "grv_rocks_sync(rocks, NULL) == GRV_OK",
        "closing: of what was only ordered nobody was told that it is durable",
    ),
    (
        "src/backend/rocks/checkpoint.c",
        "status = grv_directory_sync(context.dir, directory, error);",
        "RocksDB has synced the names; those changed since replace files by equal ones",
    ),
    # Where there is only one kind.
    ("src/port/block_store.c", "durability = GRV_DURABLE;", "for stores that know no other"),
    ("src/store/ingest_steps.c", "GRV_ORDERED : GRV_DURABLE", "block files are durable either way"),
    ("src/store/backup.c", "run->batch, GRV_DURABLE, run->results", "block files likewise"),
    (
        "src/backend/kv/block_batch.c",
        """    } else if (durability == GRV_DURABLE) {
        /* Duplicates may be another batch's ordered writes: they too must be durable now. */
        status = grv_kv_flush(call, batch->blocks->kv, error);
""",
        "a put of the program asks for ordered batches here: what follows makes them durable",
    ),
    # What comes back is garbage again, or does no harm.
    (
        "src/backend/fs/block_store.c",
        "fs_settle(call, store, used, error)",
        "a removed block that comes back is garbage again",
    ),
    (
        "src/backend/kv/block_store.c",
        "done + n == count ? GRV_DURABLE : GRV_ORDERED",
        "likewise",
    ),
    (
        "src/backend/fs/sweep.c",
        "status = grv_directory_sync(walk->fd, walk->name, error);",
        "likewise, of leftovers and of healed blocks' bad copies",
    ),
    (
        "src/backend/kv/block_sweep.c",
        ".op_count = op_count, .durability = GRV_DURABLE, .frees = true};",
        "likewise, of healed blocks' bad copies",
    ),
    (
        "src/backend/kv/manifest_sweep.c",
        ".op_count = count, .durability = GRV_DURABLE, .frees = true};",
        "likewise, of pages that no root names",
    ),
    (
        "src/backend/kv/manifest_sweep.c",
        "grv_kv_batch batch = {.ops = ops, .durability = GRV_DURABLE};",
        "likewise, of sequences that no root has",
    ),
    (
        "src/backend/kv/manifest_state.c",
        ".guard_count = 1, .durability = GRV_DURABLE};",
        "a scrub that lost its place reads more than it has to",
    ),
    (
        "src/backend/rocks/reserve.c",
        "return grv_file_calls()->fdatasync(reserve->fd) ? errno : 0;",
        "the reserve is space: what a power loss takes of it the next process takes again",
    ),
    (
        "src/backend/rocks/reserve.c",
        "status = grv_file_sync(reserve->fd, GRV_RESERVE_FILE, error);",
        "it is for file systems that hand freed space out only then",
    ),
    # What lies outside of this model.
    (
        "src/backend/pg/kv_write.c",
        "return plan->batch->durability == GRV_DURABLE && !plan->puts;",
        "a server's log, on a machine whose power is not cut here",
    ),
    # What the program has no command for.
    ("src/backend/fs/block_store.c", "fs_settle(call, fs_of(store), all, error)", "flush of files"),
    (
        "src/backend/rocks/kv.c",
        "durability == GRV_DURABLE ? grv_rocks_sync",
        "an empty durable batch",
    ),
    ("src/backend/kv/replica_index.c", ".durability = GRV_DURABLE,", "the replica index"),
    ("src/backend/kv/range_tracker.c", "        .durability = GRV_DURABLE,\n", "ranges, set"),
    (
        "src/backend/kv/range_tracker.c",
        ".op_count = 1, .durability = GRV_DURABLE, .frees = true};",
        "ranges, forgotten",
    ),
]
