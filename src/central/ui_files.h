/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web interface's files, read into memory once at the start: a request chooses among names that are known, it never reaches the
 * file system. At most BH_UI_FILES files and BH_UI_BYTES bytes; what is beyond, symbolic links and hidden files are left out.
 *
 * "app.3f2a1b9c.js" (eight or more hex digits or base32 letters between dots or after a '-') is served as immutable; everything has
 * an ETag (BLAKE2b of its bytes). "NAME.gz" beside NAME is sent to who accepts gzip. Immutable after bh_ui_load(): any thread.
 */
#pragma once
#include "http.h"

#define BH_UI_FILES 1024
#define BH_UI_BYTES (32 * 1024 * 1024)

typedef struct BhUi BhUi;

/* A directory that is not there gives an interface without files, whose start page says so. Never NULL. */
BhUi *bh_ui_load(const char *dir);
void bh_ui_free(BhUi *ui);
guint bh_ui_count(const BhUi *ui);

/*
 * Answers GET or HEAD of a path. A path without a dot in its last segment is a place within the application: it gets index.html. FALSE:
 * there is no such file, and nothing was answered.
 */
gboolean bh_ui_answer(const BhUi *ui, BhHttpRequest *r);
