/* SPDX-License-Identifier: Apache-2.0 */
#include "container/host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

static gint by_text(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static char *address_of(const struct ifaddrs *i) {
        char text[INET6_ADDRSTRLEN];

        if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK))
                return NULL;
        if (i->ifa_addr->sa_family == AF_INET) {
                struct sockaddr_in in;

                memcpy(&in, i->ifa_addr, sizeof(in));
                if ((ntohl(in.sin_addr.s_addr) >> 16) == 0xa9fe)
                        return NULL;
                return g_strdup(inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text)));
        }
        if (i->ifa_addr->sa_family == AF_INET6) {
                struct sockaddr_in6 in;

                memcpy(&in, i->ifa_addr, sizeof(in));
                return IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr) ? NULL : g_strdup(inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof(text)));
        }
        return NULL;
}

BhResourceSet *bh_host_set(const char *node, const char *proc_path) {
        g_autofree char *theirs = g_strdup_printf("%s/1/ns/net", proc_path);
        g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
        struct ifaddrs *all;
        struct stat host, own;
        json_t *list;

        if (stat(theirs, &host) < 0 || stat("/proc/self/ns/net", &own) < 0 || host.st_ino != own.st_ino || getifaddrs(&all) < 0)
                return NULL;
        for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
                char *text = address_of(i);

                if (text)
                        g_ptr_array_add(addresses, text);
        }
        freeifaddrs(all);
        g_ptr_array_sort(addresses, by_text);
        list = json_array();
        for (guint i = 0; i < addresses->len && json_array_size(list) < BH_RESOURCE_LIST_MAX; i++)
                if (!i || strcmp(addresses->pdata[i], addresses->pdata[i - 1]))
                        json_array_append_new(list, json_string(addresses->pdata[i]));

        BhResourceSet *s = bh_resource_set_new("host", "node");
        BhResource *r = bh_resource_new("node", node, node);
        bh_resource_set_detail(r, json_pack("{s:o}", "addresses", list));
        bh_resource_set_add(s, r);
        return s;
}
