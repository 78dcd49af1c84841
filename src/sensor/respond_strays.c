/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that came from a container and are in its control group no more: who may write to the hierarchy can leave it, whatever else it did to be forgotten (double fork, setsid, the namespaces of
 * the node). What holds a container holds a control group, so they are brought back into it; who cannot be is killed with the rest, or said to be open.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "cgroup_pids.h"
#include "enforce_link.h"
#include "respond_private.h"

#define ROUNDS 64u       /* each finds what was forked during the one before */
#define GATHER_US (300 * 1000) /* one that leaves again and again holds nobody up for longer: it is looked for again in a second */
#define ROUND_US 5000    /* until the process table has been told of those */
#define QUIET 3u         /* rounds without anybody new: the table may be a few events behind */
#define HALTED_MAX 2048u /* that the ledger has of one tree */
#define NS_PER_S G_GUINT64_CONSTANT(1000000000)

/* Alive, and that very process. *headless: its main thread ended, which counts as a zombie while others go on. */
static gboolean is_alive(const BhRespond *r, const BhStray *s, gboolean *headless) {
        g_autofree char *stat = g_strdup_printf("%s/%d/stat", r->proc, s->pid), *text = bh_file_read(AT_FDCWD, stat, 4096, NULL, NULL, NULL);
        char *at = text ? strrchr(text, ')') : NULL;
        unsigned long long start;
        char state;
        int threads;

        if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %llu", &state, &threads, &start) != 3)
                return FALSE;
        *headless = state == 'Z' && threads > 1;
        return state != 'X' && (state != 'Z' || *headless) && start == s->start / (NS_PER_S / (guint64) sysconf(_SC_CLK_TCK));
}

/* What a cgroup file says of the version 2 hierarchy. FALSE: it cannot be read. */
static gboolean read_cgroup(const char *path, char **cgroup) {
        g_autofree char *groups = bh_file_read(AT_FDCWD, path, 65536, NULL, NULL, NULL);
        char *line = !groups ? NULL : g_str_has_prefix(groups, "0::") ? groups : strstr(groups, "\n0::");

        *cgroup = NULL;
        if (line) {
                line = strchr(line, '/');
                *cgroup = line ? g_strndup(line, strcspn(line, "\n")) : NULL;
        }
        return groups != NULL;
}

/* Of a thread that lives: one that ended keeps the cgroup that it had, wherever the process went. NULL when none holds still: it counts as out, which brings it back at worst to where it is. */
static gboolean read_threads(const char *dir, const BhStray *s, char **cgroup) {
        g_autoptr(GDir) tasks = g_dir_open(dir, 0, NULL);
        gboolean found = FALSE;

        *cgroup = NULL;
        for (const char *tid; !found && tasks && (tid = g_dir_read_name(tasks));) {
                g_autofree char *path = g_build_filename(dir, tid, "cgroup", NULL), *stat = g_build_filename(dir, tid, "stat", NULL), *text = bh_file_read(AT_FDCWD, stat, 4096, NULL, NULL, NULL);
                const char *state = text ? strrchr(text, ')') : NULL;

                if (g_ascii_strtoll(tid, NULL, 10) == s->pid || (state && (g_str_has_prefix(state, ") Z") || g_str_has_prefix(state, ") X")))) /* a thread that is traced stays, too */
                        continue;
                found = read_cgroup(path, cgroup);
        }
        return TRUE;
}

/* TRUE, and where it is in the version 2 hierarchy (caller frees; NULL: in none), for one that is_alive(). */
static gboolean place_of(const BhRespond *r, const BhStray *s, gboolean headless, char **cgroup) {
        g_autofree char *path = g_strdup_printf("%s/%d/%s", r->proc, s->pid, headless ? "task" : "cgroup");

        return headless ? read_threads(path, s, cgroup) : read_cgroup(path, cgroup);
}

/* One that is gone ("") has nobody. */
static gboolean is_below(const char *path, const char *cgroup) {
        gsize len = strlen(cgroup);

        return path && len && g_str_has_prefix(path, cgroup) && (!path[len] || path[len] == '/');
}

/* Those that are out of it now. */
static GArray *list_strays(BhRespond *r, const char *container, const char *cgroup) {
        GArray *out = g_array_new(FALSE, FALSE, sizeof(BhStray));
        g_autoptr(GHashTable) in = g_hash_table_new(NULL, NULL);
        g_autoptr(GArray) all = r->c.strays ? r->c.strays(container, r->c.data) : NULL, pids = all && all->len && *cgroup ? bh_cgroup_pids(r->v2, cgroup, G_MAXUINT, G_MAXUINT, NULL) : NULL;

        for (guint i = 0; pids && i < pids->len; i++)
                g_hash_table_add(in, GINT_TO_POINTER(g_array_index(pids, gint, i)));
        for (guint i = 0; all && i < all->len; i++) {
                const BhStray *s = &g_array_index(all, BhStray, i);
                g_autofree char *at = NULL;
                gboolean headless;

                if (s->pid <= 1 || s->pid == getpid() || !is_alive(r, s, &headless))
                        continue;
                /* without its main thread it is listed where that one ended */
                if ((headless || !g_hash_table_contains(in, GINT_TO_POINTER(s->pid))) && place_of(r, s, headless, &at) && !is_below(at, cgroup))
                        g_array_append_val(out, *s);
        }
        return out;
}

/* With a descriptor of that very process, looked at behind it, so that no other is meant. */
static gboolean with_process(BhRespond *r, const BhStray *s, gboolean (*call)(BhRespond *r, const BhStray *s, int pidfd, int procs), int procs) {
        g_auto(BhFd) pidfd = (int) syscall(SYS_pidfd_open, s->pid, 0);
        gboolean headless;

        return pidfd >= 0 && is_alive(r, s, &headless) && call(r, s, pidfd, procs);
}

/*
 * The kernel takes a number, and the number is its own until it was waited for. Whether it was by the time of the write is asked behind it: then another process may have had the number, which is
 * said, since nothing tells where that one was.
 */
static gboolean bring_back(BhRespond *r, const BhStray *s, int pidfd, int procs) {
        g_autofree char *text = g_strdup_printf("%d", s->pid), *stat = g_strdup_printf("%s/%d/stat", r->proc, s->pid);

        if (write(procs, text, strlen(text)) != (gssize) strlen(text))
                return FALSE;
        if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0 || errno != ESRCH)
                return TRUE;
        if (g_file_test(stat, G_FILE_TEST_EXISTS))
                bh_error("another process may have been put into a container that is held: it has the number of one that ended just then", "pid", text);
        return FALSE;
}

static gboolean end_it(BhRespond *r, const BhStray *s, int pidfd, int procs) {
        return syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0;
}

static gboolean stop_it(BhRespond *r, const BhStray *s, int pidfd, int procs) {
        return syscall(SYS_pidfd_send_signal, pidfd, SIGSTOP, NULL, 0) == 0;
}

static gboolean may_be_killed(const BhRespond *r, const BhStray *s) {
        gboolean headless;

        return s->pid > 1 && s->pid != getpid() && is_alive(r, s, &headless);
}

/* Those of the tree that live now. How many; -1: nobody knows. */
static gint list_tree(BhRespond *r, const char *container, const BhProcessName *name, gboolean tree, gboolean *known, GArray **alive) {
        g_autoptr(GArray) all = r->c.tree ? r->c.tree(container, name, tree, known, r->c.data) : NULL;

        *alive = g_array_new(FALSE, FALSE, sizeof(BhStray));
        for (guint i = 0; all && i < all->len; i++)
                if (may_be_killed(r, &g_array_index(all, BhStray, i)))
                        g_array_append_val(*alive, g_array_index(all, BhStray, i));
        return all ? (gint) (*alive)->len : -1;
}

GArray *bh_respond_tree(BhRespond *r, const char *container, const BhProcessName *name, gboolean tree, gboolean *ended, GError **error) {
        g_autoptr(GArray) alive = NULL;
        gboolean known = FALSE;
        gint n = list_tree(r, container, name, tree, &known, &alive);

        *ended = n == 0 && known;

        if (n > 0)
                return g_steal_pointer(&alive);
        if (n < 0)
                bh_enforce_fail(error, "this node does not know processes now: is its sensor just starting?");
        else if (known)
                bh_enforce_fail(error, "%s has ended already", tree ? "the process, with all that descend from it," : "the process");
        else
                bh_enforce_fail(error, "the container has no such process: its number may be another's by now");
        return NULL;
}

/* The table is told of forks a little later: whether somebody is in the control group of whom it was not. */
static gboolean is_behind(BhRespond *r, const char *container, const char *cgroup) {
        g_autoptr(GArray) all = r->c.strays ? r->c.strays(container, r->c.data) : NULL, pids = all && r->v2 && *cgroup ? bh_cgroup_pids(r->v2, cgroup, G_MAXUINT, G_MAXUINT, NULL) : NULL;
        g_autoptr(GHashTable) told = g_hash_table_new(NULL, NULL);

        for (guint i = 0; all && i < all->len; i++)
                g_hash_table_add(told, GINT_TO_POINTER(g_array_index(all, BhStray, i).pid));
        for (guint i = 0; pids && i < pids->len; i++)
                if (!g_hash_table_contains(told, GINT_TO_POINTER(g_array_index(pids, gint, i))))
                        return TRUE;
        return FALSE;
}

/* Those of them that are new. TRUE: it is. */
static gboolean is_new(GHashTable *seen, const BhStray *s) {
        gint64 key = (gint64) s->start ^ (gint64) s->pid << 40;

        return g_hash_table_add(seen, g_memdup2(&key, sizeof(key)));
}

static gboolean is_in(const BhRespond *r, const BhStray *s, const char *cgroup) {
        g_autofree char *at = NULL;
        gboolean headless;

        return is_alive(r, s, &headless) && place_of(r, s, headless, &at) && is_below(at, cgroup);
}

/* In the ledger first: nobody else would let them go on. Those beyond the bound are found as the tree alone. */
static void halt(BhRespond *r, BhEntry *e, const GArray *those) {
        json_t *halted = json_object_get(e->detail, BH_ENTRY_HALTED);

        if (!halted)
                json_object_set_new(e->detail, BH_ENTRY_HALTED, halted = json_array());
        for (guint i = 0; i < those->len && json_array_size(halted) < HALTED_MAX; i++)
                json_array_append_new(halted, json_pack("[i,I]", g_array_index(those, BhStray, i).pid, (json_int_t) g_array_index(those, BhStray, i).start));
        bh_entry_save(r->dir, e);
        for (guint i = 0; i < those->len; i++)
                with_process(r, &g_array_index(those, BhStray, i), stop_it, -1);
}

/* Whom the sensor before had stopped, and this one does not know as one of the tree. `killed`, `known`: who was killed. */
static void end_halted(BhRespond *r, const BhEntry *e, GHashTable *known, GArray *killed) {
        json_t *halted = json_object_get(e->detail, BH_ENTRY_HALTED), *one;
        size_t i;

        json_array_foreach(halted, i, one) {
                const BhStray s = { .pid = (gint) json_integer_value(json_array_get(one, 0)), .start = (guint64) json_integer_value(json_array_get(one, 1)) };

                if (may_be_killed(r, &s) && with_process(r, &s, end_it, -1) && is_new(known, &s))
                        g_array_append_val(killed, s);
        }
}

/*
 * Nobody is to be left who was forked meanwhile: so first all are stopped, until nobody new is found, and then killed. Whoever is frozen need not be, as long as it is. A fork that is under way when
 * its process is told to stop is not made. One that is traced may not stop, which the rounds of killing are for.
 */
guint bh_respond_kill_tree(BhRespond *r, BhEntry *e, const BhProcessName *name, gboolean frozen, GArray *killed) {
        g_autoptr(GHashTable) stopped = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL), seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        const gboolean tree = e->action == BH_RESPONSE_KILL_TREE;
        gboolean known;
        guint left = 0, quiet = 0;

        for (guint round = 0; tree && round < ROUNDS && quiet < QUIET; round++) {
                g_autoptr(GArray) alive = NULL, those = g_array_new(FALSE, FALSE, sizeof(BhStray));

                list_tree(r, e->container, name, TRUE, &known, &alive);
                quiet = is_behind(r, e->container, e->cgroup) ? 0 : quiet + 1;
                for (guint i = 0; i < alive->len; i++) {
                        const BhStray *s = &g_array_index(alive, BhStray, i);

                        if (is_new(seen, s))
                                quiet = 0;
                        if (!(frozen && is_in(r, s, e->cgroup)) && is_new(stopped, s))
                                g_array_append_val(those, *s);
                }
                if (those->len)
                        halt(r, e, those);
                g_usleep(ROUND_US);
        }
        g_hash_table_remove_all(stopped);
        for (guint round = 0; round < ROUNDS; round++) {
                g_autoptr(GArray) alive = NULL;

                list_tree(r, e->container, name, tree, &known, &alive);
                if (!(left = alive->len))
                        break;
                for (guint i = 0; i < alive->len; i++) {
                        const BhStray *s = &g_array_index(alive, BhStray, i);

                        if (with_process(r, s, end_it, -1) && is_new(stopped, s))
                                g_array_append_val(killed, *s);
                }
                g_usleep(ROUND_US);
        }
        end_halted(r, e, stopped, killed);
        json_object_del(e->detail, BH_ENTRY_HALTED);
        return left;
}

static guint count_strays(BhRespond *r, const char *container, const char *cgroup) {
        g_autoptr(GArray) strays = list_strays(r, container, cgroup);

        return strays->len;
}

guint bh_respond_gather(BhRespond *r, const char *container, const char *cgroup, guint *brought) {
        g_autofree char *path = g_build_filename(r->v2, cgroup, "cgroup.procs", NULL);
        g_auto(BhFd) procs = open(path, O_WRONLY | O_CLOEXEC);
        gint64 until = g_get_monotonic_time() + GATHER_US;

        if (procs < 0)
                return bh_respond_is_there(r, cgroup) ? count_strays(r, container, cgroup) : 0;
        for (guint round = 0; round < ROUNDS && g_get_monotonic_time() < until; round++) {
                g_autoptr(GArray) strays = list_strays(r, container, cgroup);
                guint n = 0;

                if (!strays->len)
                        return 0;
                for (guint i = 0; i < strays->len; i++)
                        n += with_process(r, &g_array_index(strays, BhStray, i), bring_back, procs);
                *brought += n;
                g_usleep(ROUND_US);
                if (!n)
                        break;
        }
        return count_strays(r, container, cgroup); /* after the last round: who ended, or came back in it, is not left */
}

guint bh_respond_kill_strays(BhRespond *r, const char *container, const char *cgroup) {
        guint left = 0;

        for (guint round = 0; round < ROUNDS; round++) {
                g_autoptr(GArray) strays = list_strays(r, container, cgroup);

                if (!(left = strays->len))
                        break;
                for (guint i = 0; i < strays->len; i++)
                        with_process(r, &g_array_index(strays, BhStray, i), end_it, -1);
                g_usleep(ROUND_US);
        }
        return left;
}
