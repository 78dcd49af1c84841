/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of ring buffers over a file that is laid out like one: the consumer's page, the producer's, the data. */
#include <bpf/bpf.h>
#include <glib.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sensor/ring.h"

#define SIZE (4u << 20)
#define PAGE 4096u

static guint32 ring_size = SIZE;

/* libbpf's, which ring.c asks for the size. */
int bpf_obj_get_info_by_fd(int fd, void *info, __u32 *len) {
        ((struct bpf_map_info *) info)->max_entries = ring_size;
        return 0;
}

typedef struct {
        int fd;
        guint64 *consumer, *producer;
        guint8 *data;
        guint64 written; /* records */
} Kernel;

static void kernel_init(Kernel *k, guint32 size) {
        ring_size = size;
        k->fd = memfd_create("bh-test-ring", MFD_CLOEXEC);
        g_assert_cmpint(ftruncate(k->fd, 2 * PAGE + size), ==, 0);
        guint8 *all = mmap(NULL, 2 * PAGE + size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
        g_assert_true(all != MAP_FAILED);
        k->consumer = (guint64 *) (void *) all;
        k->producer = (guint64 *) (void *) (all + PAGE);
        k->data = all + 2 * PAGE;
        k->written = 0;
}

static void kernel_clear(Kernel *k) {
        munmap(k->consumer, 2 * PAGE + ring_size);
        close(k->fd);
}

static guint8 byte_of(guint64 n, guint32 i) {
        return (guint8) (n * 131 + i * 7 + (i >> 8));
}

/* FALSE: there is no room. */
static gboolean kernel_write(Kernel *k, guint32 len, guint32 flags) {
        guint64 at = *k->producer, end = at + ((len + BPF_RINGBUF_HDR_SZ + 7) & ~7ull);

        if (end - *k->consumer > ring_size)
                return FALSE;
        for (guint32 i = 0; i < len; i++)
                k->data[(at + BPF_RINGBUF_HDR_SZ + i) % ring_size] = byte_of(k->written, i);
        *(guint32 *) (void *) (k->data + at % ring_size) = len | flags;
        __atomic_store_n(k->producer, end, __ATOMIC_RELEASE);
        k->written++;
        return TRUE;
}

/* Bytes of the ring's data that this process has mapped readable through the reader. */
static gsize mapped(void) {
        g_autofree char *maps = NULL;
        gsize sum = 0;

        g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
        g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
        for (char **l = lines; *l; l++) {
                char *end;

                if (!strstr(*l, "bh-test-ring") || !strstr(*l, " r--s "))
                        continue;
                guint64 from = g_ascii_strtoull(*l, &end, 16);
                sum += g_ascii_strtoull(end + 1, NULL, 16) - from;
        }
        return sum;
}

static void check(const struct bh_rec *rec, guint32 len, guint64 n) {
        const guint8 *p = (const guint8 *) rec;

        for (guint32 i = 0; i < len; i++)
                if (p[i] != byte_of(n, i))
                        g_error("record %" G_GUINT64_FORMAT " of %u bytes differs at %u", n, len, i);
}

/* Records of all sizes, some thrown away, several times around; a window of them is held and stays what it was until it is released. */
static void what_is_held_stays_readable_and_what_is_not_goes(void) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(7);
        struct {
                const struct bh_rec *rec;
                guint64 end, n;
                guint32 len;
        } held[64];
        guint n_held = 0;
        guint64 read = 0;
        Kernel k;

        kernel_init(&k, SIZE);
        int given = dup(k.fd);
        g_autoptr(BhRing) r = bh_ring_open(given, "test", NULL);
        g_assert_nonnull(r);
        close(given);
        while (*k.producer < 12ull * SIZE) {
                guint32 len = (guint32) (g_rand_int_range(rand, 0, 20) ? g_rand_int_range(rand, 1, 600) : g_rand_int_range(rand, 1, 90000));
                gboolean discard = g_rand_int_range(rand, 0, 10) == 0;

                g_assert_true(kernel_write(&k, len, discard ? BPF_RINGBUF_DISCARD_BIT : 0));
                guint64 n = read++, end;
                guint32 got;
                const struct bh_rec *rec = bh_ring_next(r, &end, &got);
                if (discard) {
                        g_assert_null(rec);
                        continue;
                }
                g_assert_nonnull(rec);
                g_assert_cmpuint(got, ==, len);
                held[n_held].rec = rec;
                held[n_held].end = end;
                held[n_held].n = n;
                held[n_held++].len = len;
                if (n_held < G_N_ELEMENTS(held))
                        continue;
                for (guint i = 0; i < n_held; i++)
                        check(held[i].rec, held[i].len, held[i].n);
                bh_ring_release(r, held[n_held / 2].end);
                for (guint i = n_held / 2 + 1; i < n_held; i++)
                        check(held[i].rec, held[i].len, held[i].n);
                memmove(held, held + n_held / 2 + 1, (n_held - n_held / 2 - 1) * sizeof(held[0]));
                n_held -= n_held / 2 + 1;
                g_assert_cmpuint(mapped(), <=, bh_ring_used(r) + 3 * (512u << 10) + 2 * PAGE);
        }
        g_assert_cmpuint(mapped(), <, SIZE);
        kernel_clear(&k);
}

/* As full as it gets: everything is mapped then, the reader has come around to the chunk that it began in, and it all goes again. */
static void a_full_ring_is_read_to_its_end(void) {
        guint64 end = 0, n = 0;
        guint32 len;
        Kernel k;

        kernel_init(&k, SIZE);
        g_autoptr(BhRing) r = bh_ring_open(k.fd, "test", NULL);
        for (guint round = 0; round < 5; round++) {
                guint64 first = n;

                while (kernel_write(&k, 1000 + round * 333, 0))
                        ;
                for (const struct bh_rec *rec; (rec = bh_ring_next(r, &end, &len)); n++)
                        check(rec, len, n);
                g_assert_cmpuint(n, ==, k.written);
                g_assert_cmpuint(n - first, >, SIZE / 3000);
                g_assert_cmpuint(mapped(), >=, SIZE);
                bh_ring_release(r, end);
                g_assert_cmpuint(mapped(), <=, 2 * (512u << 10) + 2 * PAGE);
        }
        kernel_clear(&k);
}

static void a_reader_goes_on_where_it_was(void) {
        guint64 end = 0, at = 0;
        guint32 len;
        Kernel k;

        kernel_init(&k, SIZE);
        g_autoptr(BhRing) r = bh_ring_open(k.fd, "test", NULL);
        while (kernel_write(&k, 5000, 0))
                ;
        for (guint i = 0; i < 400; i++)
                g_assert_nonnull(bh_ring_next(r, i == 199 ? &at : &end, &len));
        bh_ring_release(r, at);
        g_clear_pointer(&r, bh_ring_free);

        r = bh_ring_open(k.fd, "test", NULL);
        g_assert_cmpuint(bh_ring_released(r), ==, at);
        check(bh_ring_next(r, &end, &len), 5000, 200);
        bh_ring_seek(r, *k.producer);
        g_assert_null(bh_ring_next(r, &end, &len));
        bh_ring_seek(r, at - 8); /* never before what is released */
        g_assert_cmpuint(bh_ring_read_position(r), ==, *k.producer);
        kernel_clear(&k);
}

static void a_ring_of_a_page_works_too(void) {
        guint64 end;
        guint32 len;
        Kernel k;

        kernel_init(&k, PAGE);
        g_autoptr(BhRing) r = bh_ring_open(k.fd, "test", NULL);
        for (guint64 n = 0; n < 1000; n++) {
                g_assert_true(kernel_write(&k, (guint32) (1 + n * 37 % 3000), 0));
                check(bh_ring_next(r, &end, &len), (guint32) (1 + n * 37 % 3000), n);
                bh_ring_release(r, end);
        }
        kernel_clear(&k);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/ring/what_is_held_stays_readable_and_what_is_not_goes", what_is_held_stays_readable_and_what_is_not_goes);
        g_test_add_func("/ring/a_full_ring_is_read_to_its_end", a_full_ring_is_read_to_its_end);
        g_test_add_func("/ring/a_reader_goes_on_where_it_was", a_reader_goes_on_where_it_was);
        g_test_add_func("/ring/a_ring_of_a_page_works_too", a_ring_of_a_page_works_too);
        return g_test_run();
}
