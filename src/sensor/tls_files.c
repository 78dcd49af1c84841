/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fdio.h"

#define MAPS_MAX (4u << 20) /* bytes of /proc/PID/maps that are read */

static const char *const symbols[] = {
        "SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex", "SSL_do_handshake", "gnutls_record_recv", "gnutls_record_send", "gnutls_handshake",
        "crypto/tls.(*Conn).Write",
};

const char *const *bh_tls_symbols(guint32 *n) {
        *n = G_N_ELEMENTS(symbols);
        return symbols;
}

gboolean bh_tls_file_named(const char *path) {
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

        return g_str_has_prefix(name, "libssl") || g_str_has_prefix(name, "libgnutls");
}

gboolean bh_tls_files(const char *proc, guint32 pid, void (*found)(const BhTlsFile *file, gpointer data), gpointer data) {
        g_autofree char *maps = g_strdup_printf("%s/%u/maps", proc, pid), *exe = g_strdup_printf("%s/%u/exe", proc, pid), *text = NULL;
        g_autofree char *executable = g_file_read_link(exe, NULL);
        g_auto(GStrv) lines = NULL;
        guint n = 0;

        text = bh_file_read(AT_FDCWD, maps, MAPS_MAX, NULL, NULL, NULL);
        if (!text)
                return FALSE;
        lines = g_strsplit(text, "\n", -1);
        for (guint i = 0; lines[i] && n < BH_TLS_FILES_MAX; i++) {
                BhTlsFile file = { 0 };
                guint64 from, to, offset, ino;
                unsigned major, minor;
                char mode[5];
                int name = 0;

                if (sscanf(lines[i], "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &from, &to, mode, &offset, &major, &minor, &ino, &name) != 7 || !name || mode[2] != 'x' || !ino)
                        continue;
                file.name = lines[i] + name;
                file.executable = g_strcmp0(file.name, executable) == 0;
                if (!file.executable && !bh_tls_file_named(file.name))
                        continue;
                n++;
                file.dev = makedev(major, minor);
                file.ino = ino;
                if ((gsize) g_snprintf(file.path, sizeof(file.path), "%s/%u/map_files/%" PRIx64 "-%" PRIx64, proc, pid, from, to) < sizeof(file.path))
                        found(&file, data);
        }
        return TRUE;
}

char *bh_tls_library(const BhElf *elf, gboolean executable, gboolean *open) {
        gboolean openssl = bh_elf_symbol(elf, "SSL_read") != NULL, gnutls = bh_elf_symbol(elf, "gnutls_record_recv") != NULL;

        *open = openssl || gnutls;
        if (openssl && executable)
                return g_strdup("OpenSSL in the program");
        if (openssl)
                return g_str_has_prefix(elf->soname, "libssl.so.") ? g_strdup_printf("OpenSSL %.8s", elf->soname + strlen("libssl.so.")) : g_strdup("OpenSSL");
        if (gnutls)
                return g_strdup(executable ? "GnuTLS in the program" : "GnuTLS");
        return bh_elf_symbol(elf, "crypto/tls.(*Conn).Write") ? g_strdup("Go") : NULL;
}
