/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container changed of its image: the upper directory of its overlay against those below, as text. Of overlays alone (overlay2, containerd's and containers/storage's overlay).
 *
 * The upper directory is the container's to fill, and so hostile: names of any bytes, links, depths, numbers. Nothing in it is followed or opened but directories, one name at a time, and none of
 * another file system; bounds are below, and what is beyond is counted. Files are told by what they are, not by their bytes. Pure but for reading those directories; any thread.
 */
#pragma once
#include <glib.h>

#define BH_LAYER_TEXT_MAX (256u << 10)
#define BH_LAYER_ENTRIES_MAX 20000u /* looked at */
#define BH_LAYER_DEPTH_MAX 64u
#define BH_LAYER_LOWERS_MAX 128u /* as Docker's */
#define BH_LAYER_TIME_US (3 * G_USEC_PER_SEC)

typedef struct {
        char *upper;
        char **lowers; /* the nearest first */
        gboolean user; /* its marks are xattrs of users */
} BhLayer;

void bh_layer_clear(BhLayer *l);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhLayer, bh_layer_clear)

/*
 * From /proc/PID/mountinfo of a container's first process: of its root, which is the first mount of that name (what is mounted over it later is not it). That process can make a root of its own, of an
 * overlay with any paths, whose text says where they are for the one who mounted it: so it says the number of the file system alone, and the directories are those that `host`, the same file of the
 * host's first process, has for an overlay with this number. FALSE: no overlay, none of the host's, or its directories are told relative to somewhere; *out is untouched.
 */
gboolean bh_layer_parse(const char *mountinfo, const char *host, BhLayer *out);
/* The same directories. NULL in `upper`: none. */
void bh_layer_copy(const BhLayer *from, BhLayer *to);

typedef struct {
        guint added, changed, deleted; /* deleted: with all below, which is not counted */
        guint untold;                  /* of these, those for which there was no room */
        gboolean whole;                /* FALSE: a bound ended the look, or the layer was removed meanwhile */
} BhLayerCounts;

/*
 * JSON lines: the counts, then what was changed and deleted, then what was added, directories of the image before new ones, a share of the names of each before the rest of any; {"change": "added"|"changed"|"deleted"|"replaced", "path", "type", "mode", "uid", "gid", "size", "modified_ns", of links "to"}; of what was
 * deleted change and path. "replaced": a directory whose content in the image is hidden; it counts as changed. A directory that is only there for what is in it is no line. Bytes that are no UTF-8 are escaped as
 * base/escape.h says. `root`: a directory that the paths are below, and that nothing leads out of. NULL: it cannot be looked at, or is gone.
 */
GString *bh_layer_diff(int root, const BhLayer *l, BhLayerCounts *counts);
