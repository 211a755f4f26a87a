/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graviton: a content-addressable storage engine. This header brings in the whole public
 * interface; most programs need only store.h, which it includes.
 */
#ifndef GRAVITON_GRAVITON_H
#define GRAVITON_GRAVITON_H

#include <graviton/attributes.h>
#include <graviton/backend/cas.h>
#include <graviton/backend/fs.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/pg.h>
#include <graviton/backend/remote.h>
#include <graviton/backend/rocks.h>
#include <graviton/backend/s3.h>
#include <graviton/blob.h>
#include <graviton/bytes.h>
#include <graviton/cache.h>
#include <graviton/call.h>
#include <graviton/chunker.h>
#include <graviton/digest.h>
#include <graviton/error.h>
#include <graviton/key.h>
#include <graviton/locator.h>
#include <graviton/maintain.h>
#include <graviton/port/blob_store.h>
#include <graviton/port/block_store.h>
#include <graviton/port/immutable_object_store.h>
#include <graviton/port/key_value_store.h>
#include <graviton/port/manifest_repo.h>
#include <graviton/port/mutable_object_store.h>
#include <graviton/port/range_tracker.h>
#include <graviton/port/replica_index.h>
#include <graviton/range.h>
#include <graviton/replica.h>
#include <graviton/status.h>
#include <graviton/store.h>
#include <graviton/stream.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the library as text, such as "0.1.0". Static storage. */
const char *grv_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
