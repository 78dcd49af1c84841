/* SPDX-License-Identifier: Apache-2.0 */
#include "filekeeper.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdio.h"
#include "keeper_wire.h"
#include "parse/inspect_client.h"
#include "response/deny.h"

struct BhFileKeeper {
        char *socket, *proc, *v2;
        int fd;
        gboolean lost;
        GHashTable *held; /* containers */
};

static gboolean fail(GError **error, const char *what, const char *why) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: %s", what, why);
        return FALSE;
}

static void disconnect(BhFileKeeper *k) {
        bh_fd_clear(&k->fd);
        k->lost |= g_hash_table_size(k->held) > 0;
        g_hash_table_remove_all(k->held);
}

/* An answer, or NULL with *error; the connection is then closed, for nobody knows what the next answer would be to. */
static json_t *ask(BhFileKeeper *k, json_t *order, GError **error) {
        struct pollfd p = { .fd = k->fd, .events = POLLIN };
        json_t *answer = NULL;
        int n = 0;

        if (bh_keeper_send_json(k->fd, order, -1)) {
                while ((n = poll(&p, 1, BH_FILEKEEPER_WAIT_MS)) < 0 && errno == EINTR)
                        ;
                answer = n > 0 ? bh_keeper_receive_json(k->fd, NULL) : NULL;
        } else if (errno == EMSGSIZE) {
                fail(error, "the keeper of file denials", "the paths are too long, all together");
                return NULL;
        }
        if (answer)
                return answer;
        disconnect(k);
        fail(error, "the keeper of file denials", n ? "it ended" : "it does not answer");
        return NULL;
}

static gboolean connect_to(BhFileKeeper *k) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        int room = BH_KEEPER_MESSAGE_MAX;

        if (fd < 0 || strlen(k->socket) >= sizeof(at.sun_path))
                return FALSE;
        memcpy(at.sun_path, k->socket, strlen(k->socket) + 1);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        if (connect(fd, (const void *) &at, sizeof(at)))
                return FALSE;
        k->fd = bh_fd_steal(&fd);
        return TRUE;
}

static gboolean start(BhFileKeeper *k, GError **error) {
        g_autofree char *program = NULL, *said = NULL;
        int status = 0;

        if (k->fd >= 0 || connect_to(k)) /* one that had nothing to hold stays for a while */
                return TRUE;
        program = bh_inspect_find_program("bulkhead-keeper", error);
        char *argv[] = { program, k->socket, k->proc, NULL };
        if (!program || !g_spawn_sync("/", argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &said, &status, error))
                return FALSE;
        if (status)
                return fail(error, "the keeper of file denials does not start", said && *said ? g_strchomp(said) : "it says nothing");
        return connect_to(k) || fail(error, "the keeper of file denials cannot be reached", g_strerror(errno));
}

/* What the keeper has from an earlier run. */
static gboolean learn_held(BhFileKeeper *k, GError **error) {
        json_auto_t *order = json_pack("{s:s}", "op", "list"), *list = ask(k, order, error);
        json_t *one;
        size_t i;

        json_array_foreach(json_object_get(list, "containers"), i, one)
                g_hash_table_add(k->held, g_strdup(json_string_value(json_object_get(one, "container"))));
        return list != NULL;
}

BhFileKeeper *bh_filekeeper_open(const char *run_dir, const char *proc_path, const char *v2_mount) {
        BhFileKeeper *k = g_new0(BhFileKeeper, 1);

        k->socket = g_build_filename(run_dir, BH_KEEPER_SOCKET, NULL);
        k->proc = g_strdup(proc_path);
        k->v2 = g_strdup(v2_mount ? v2_mount : "");
        k->fd = -1;
        k->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        if (connect_to(k))
                learn_held(k, NULL);
        return k;
}

void bh_filekeeper_free(BhFileKeeper *k) {
        if (!k)
                return;
        bh_fd_clear(&k->fd);
        g_hash_table_unref(k->held);
        g_free(k->socket);
        g_free(k->proc);
        g_free(k->v2);
        g_free(k);
}

json_t *bh_filekeeper_set(BhFileKeeper *k, const char *container, const char *cgroup, pid_t pid, const GPtrArray *rules, GError **error) {
        json_t *list = json_array();
        json_auto_t *order = json_pack("{s:s,s:s,s:s,s:s,s:i,s:o}", "op", "set", "container", container, "cgroup", cgroup, "v2", k->v2, "pid", (int) pid, "rules", list);

        for (guint i = 0; i < rules->len; i++)
                json_array_append_new(list, json_string(((const BhDeny *) rules->pdata[i])->text));
        if (!order) {
                fail(error, "the keeper of file denials", "a path is no UTF-8");
                return NULL;
        }
        if (!start(k, error))
                return NULL;
        json_t *answer = ask(k, order, error);
        const char *refused = json_string_value(json_object_get(answer, "error"));
        if (refused) {
                fail(error, "files cannot be denied", refused);
                json_decref(answer);
                return NULL;
        }
        if (answer)
                g_hash_table_add(k->held, g_strdup(container));
        return answer;
}

gboolean bh_filekeeper_drop(BhFileKeeper *k, const char *container, GError **error) {
        json_auto_t *order = json_pack("{s:s,s:s}", "op", "drop", "container", container);

        if (k->fd < 0 || !g_hash_table_contains(k->held, container))
                return TRUE;
        json_auto_t *answer = ask(k, order, error);
        if (!answer)
                return FALSE;
        g_hash_table_remove(k->held, container);
        if (!g_hash_table_size(k->held)) /* with nobody connected and nothing to hold it ends */
                bh_fd_clear(&k->fd);
        return TRUE;
}

guint bh_filekeeper_drop_all(BhFileKeeper *k, GError **error) {
        guint n = 0;

        if ((k->fd < 0 && !connect_to(k)) || !learn_held(k, error))
                return 0;
        g_auto(GStrv) all = (char **) g_hash_table_get_keys_as_array(k->held, NULL);
        for (char **c = all; *c; c++)
                *c = g_strdup(*c); /* a key goes with what it is dropped for */
        while (all[n] && bh_filekeeper_drop(k, all[n], error))
                n++;
        return n;
}

gboolean bh_filekeeper_lost(BhFileKeeper *k) {
        struct pollfd p = { .fd = k->fd, .events = POLLIN };

        /* it says nothing unasked: what can be read is its end */
        if (k->fd >= 0 && poll(&p, 1, 0) > 0)
                disconnect(k);
        gboolean lost = k->lost;
        k->lost = FALSE;
        return lost;
}

json_t *bh_filekeeper_list(BhFileKeeper *k) {
        json_auto_t *order = json_pack("{s:s}", "op", "list");

        return k->fd >= 0 ? ask(k, order, NULL) : NULL;
}
