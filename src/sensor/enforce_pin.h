/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of pins that outlive the sensor: a BPF file system of their own, with a folder for each build of the kernel programs. Part of enforce.h and block.h. */
#pragma once
#include <glib.h>

/* *error becomes this sentence; FALSE. */
gboolean bh_enforce_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A BPF file system is mounted there. */
gboolean bh_pins_mounted(const char *dir);
/* Makes `dir` one, and the empty folder `home` in it; what was in `home` is gone. */
gboolean bh_pins_make(const char *dir, const char *home, GError **error);
/* Takes a folder of pins away with all that is in it. One that is gone is no error. */
void bh_pins_remove(const char *home);
/* Takes the mount and `dir` away. */
void bh_pins_unmount(const char *dir);
/* GPtrArray of char *: the folders in `dir` but `home`, which are other builds'. */
GPtrArray *bh_pins_others(const char *dir, const char *home);
/* 16 hexadecimal digits in `dir`, by the bytes of the programs. Caller frees. */
char *bh_pins_home(const char *dir, const void *bytes, gsize size);
