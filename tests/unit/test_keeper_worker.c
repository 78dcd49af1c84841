/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of the keeper's worker about programs. The kernel's group is a socket here, the hasher and what is held are stood in for, and the clock can be put forward; tests/integration has them all. */
#include "sensor/keeper_worker.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sensor/keeper_hash.h"
#include "sensor/keeper_target.h"
#include "sensor/keeper_walk.h"

#define SHARE 16u
#define LATE_US (11 * G_USEC_PER_SEC)
#define REFUSED 'r' /* the first byte of the content that is refused */

static struct {
        int guard; /* its end of the worker's socket */
        BhKeeperShared shared;
        GAsyncQueue *read; /* questions that the hasher has */
        BhKeeperHashed done;
        gpointer data;
        _Atomic gint64 ahead_us;
        _Atomic gint known; /* what every file is known as; 0: as nothing */
        _Atomic guint turn; /* of the last question */
        _Atomic gboolean full; /* the hasher takes no more */
} all;

gint64 g_get_monotonic_time(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * G_USEC_PER_SEC + t.tv_nsec / 1000 + all.ahead_us;
}

/* ---- the hasher ---- */

BhKeeperHasher *bh_keeper_hasher_new(BhKeeperHashed done, gpointer data, GError **error) {
        all.done = done;
        all.data = data;
        return (BhKeeperHasher *) &all;
}

gboolean bh_keeper_hash_known(BhKeeperHasher *h, int fd, guint8 out[BH_KEEPER_HASH]) {
        memset(out, 0, BH_KEEPER_HASH);
        out[0] = (guint8) all.known;
        return all.known != 0;
}

gboolean bh_keeper_hash_read(BhKeeperHasher *h, int fd, guint turn, gpointer question) {
        if (all.full)
                return FALSE;
        all.turn = turn;
        g_async_queue_push(all.read, question);
        return TRUE;
}

static void hashed(gpointer question, char as) {
        guint8 hash[BH_KEEPER_HASH] = { (guint8) as };

        all.done(question, as ? hash : NULL, all.data);
}

/* ---- what is held ---- */

static void held_clear(gpointer data) {
        BhKeeperHeld *h = data;

        close(h->group);
        g_free(h->container);
        g_ptr_array_unref(h->targets);
        g_array_unref(h->hashes);
}

BhKeeperHeld *bh_keeper_held_new(json_t *set, int group, const char *proc, GError **error) {
        BhKeeperHeld *h = g_atomic_rc_box_new0(BhKeeperHeld);

        h->container = g_strdup(json_string_value(json_object_get(set, "container")));
        h->slot = (guint) json_integer_value(json_object_get(set, "slot"));
        h->group = group;
        h->pidfd = h->watch = h->table = -1;
        h->targets = g_ptr_array_new();
        h->hashes = g_array_new(FALSE, FALSE, 1);
        g_array_set_size(h->hashes, 1);
        return h;
}

gboolean bh_keeper_refuses(const BhKeeperHeld *h, const guint8 *hash) {
        return *hash == REFUSED;
}

BhKeeperHeld *bh_keeper_held_ref(BhKeeperHeld *h) {
        return g_atomic_rc_box_acquire(h);
}

void bh_keeper_held_unref(BhKeeperHeld *h) {
        g_atomic_rc_box_release_full(h, held_clear);
}

gboolean bh_keeper_look(BhKeeperHeld *h, const BhKeeperHeld *before, gboolean strict, json_t *open, GError **error) {
        g_autofree char *much = g_strnfill(BH_KEEPER_MESSAGE_MAX, 'm');

        if (g_str_equal(h->container, "much"))
                json_array_append_new(open, json_string(much));
        return TRUE;
}

BhKeeperHeld *bh_keeper_look_again(BhKeeperHeld *h) {
        return NULL;
}

GArray *bh_keeper_mounts(const char *proc, pid_t pid) {
        return NULL;
}

/* ---- a container ---- */

typedef struct {
        int kernel; /* its end of the group */
        guint slot;
} Box;

static json_t *begin(Box *b, const char *name) {
        static guint slots;
        int pair[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), ==, 0);
        *b = (Box){ .kernel = pair[0], .slot = slots++ };
        json_auto_t *set = json_pack("{s:s,s:s,s:i}", "op", "set", "container", name, "slot", (int) b->slot);
        g_assert_true(bh_keeper_send_json(all.guard, set, pair[1]));
        close(pair[1]);
        return bh_keeper_receive_json(all.guard, NULL);
}

static void box_clear(Box *b) {
        close(b->kernel);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Box, box_clear)

static int ask(const Box *b) {
        struct fanotify_event_metadata e = { .event_len = sizeof(e), .vers = FANOTIFY_METADATA_VERSION, .metadata_len = sizeof(e), .mask = FAN_OPEN_EXEC_PERM, .fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .pid = 1 };
        int fd = e.fd; /* the worker's from now on */

        g_assert_cmpint(write(b->kernel, &e, sizeof(e)), ==, sizeof(e));
        return fd;
}

static void answered(const Box *b, int fd, guint32 as) {
        struct pollfd p = { .fd = b->kernel, .events = POLLIN };
        struct fanotify_response r;

        g_assert_cmpint(poll(&p, 1, 60000), ==, 1);
        g_assert_cmpint(read(b->kernel, &r, sizeof(r)), ==, sizeof(r));
        g_assert_cmpint(r.fd, ==, fd);
        g_assert_cmpuint(r.response, ==, as);
}

/* They are counted after the answer. */
static void counted(const _Atomic guint64 *counter, guint64 n) {
        for (guint i = 0; *counter != n; i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
}

static void content_is_refused_or_let_through(void) {
        g_auto(Box) b = { 0 };
        json_auto_t *told = begin(&b, "content");
        int fd = ask(&b);

        hashed(g_async_queue_pop(all.read), 'x');
        answered(&b, fd, FAN_ALLOW);
        fd = ask(&b);
        hashed(g_async_queue_pop(all.read), REFUSED);
        answered(&b, fd, FAN_DENY);
        counted(&all.shared.slots[b.slot].programs, 1);
        g_assert_cmpuint(all.shared.slots[b.slot].untold, ==, 0);
}

/* What could not be read is no content that was refused. */
static void what_cannot_be_told_is_counted_apart(void) {
        g_auto(Box) b = { 0 };
        json_auto_t *told = begin(&b, "untold");
        int fd = ask(&b);

        hashed(g_async_queue_pop(all.read), '\0');
        answered(&b, fd, FAN_DENY);
        all.full = TRUE;
        fd = ask(&b);
        answered(&b, fd, FAN_DENY);
        all.full = FALSE;
        counted(&all.shared.slots[b.slot].untold, 2);
        counted(&all.shared.slots[b.slot].unsure, 2);
        g_assert_cmpuint(all.shared.slots[b.slot].programs, ==, 0);
}

static void one_container_has_its_share_alone(void) {
        g_auto(Box) b = { 0 }, other = { 0 };
        json_auto_t *told = begin(&b, "many"), *also = begin(&other, "other");
        gpointer questions[SHARE];
        int fds[SHARE];

        for (guint i = 0; i < SHARE; i++) {
                fds[i] = ask(&b);
                questions[i] = g_async_queue_pop(all.read);
                g_assert_cmpuint(all.turn, ==, i);
        }
        int fd = ask(&b);
        answered(&b, fd, FAN_DENY);
        counted(&all.shared.slots[b.slot].untold, 1);
        fd = ask(&other);
        hashed(g_async_queue_pop(all.read), 'x');
        g_assert_cmpuint(all.turn, ==, 0);
        answered(&other, fd, FAN_ALLOW);
        for (guint i = 0; i < SHARE; i++) {
                hashed(questions[i], 'x');
                answered(&b, fds[i], FAN_ALLOW);
        }
        fd = ask(&b);
        hashed(g_async_queue_pop(all.read), 'x');
        answered(&b, fd, FAN_ALLOW);
}

/* A disk that does not answer holds nobody up for ever. */
static void an_answer_has_its_time(void) {
        g_auto(Box) b = { 0 };
        json_auto_t *told = begin(&b, "late");
        int fd = ask(&b);
        gpointer question = g_async_queue_pop(all.read);

        all.ahead_us += LATE_US;
        answered(&b, fd, FAN_DENY);
        counted(&all.shared.slots[b.slot].untold, 1);
        hashed(question, 'x'); /* which nobody waits for any more */
        all.known = 'x';
        fd = ask(&b);
        answered(&b, fd, FAN_ALLOW);
        all.known = 0;
        counted(&all.shared.slots[b.slot].opens, 2);
}

/* The container chose its mounts, and so how much there is to say. */
static void what_is_too_long_to_say_is_said_so(void) {
        g_auto(Box) b = { 0 };
        json_auto_t *told = begin(&b, "much");

        g_assert_nonnull(told);
        g_assert_null(json_object_get(told, "error"));
        g_assert_cmpuint(json_array_size(json_object_get(told, "open")), ==, 1);
        g_assert_nonnull(strstr(json_string_value(json_array_get(json_object_get(told, "open"), 0)), "more ways"));
}

static gpointer work(gpointer socket) {
        bh_keeper_work(GPOINTER_TO_INT(socket), &all.shared, "/nowhere");
        return NULL;
}

#define TEST(name) g_test_add_func("/keeper_worker/" #name, name)

int main(int argc, char **argv) {
        int pair[2];

        g_test_init(&argc, &argv, NULL);
        all.read = g_async_queue_new();
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
        all.guard = pair[0];
        g_thread_unref(g_thread_new("worker", work, GINT_TO_POINTER(pair[1])));
        TEST(content_is_refused_or_let_through);
        TEST(what_cannot_be_told_is_counted_apart);
        TEST(one_container_has_its_share_alone);
        TEST(an_answer_has_its_time);
        TEST(what_is_too_long_to_say_is_said_so);
        return g_test_run();
}
