/* SPDX-License-Identifier: Apache-2.0 */
#include "container/workload.h"

#include <string.h>

/* Left halves of the names that Docker Engine invents for containers without one ("quirky_hopper"). */
static const char *const invented[] = {
        "admiring", "adoring", "affectionate", "agitated", "amazing", "angry", "awesome", "beautiful", "blissful", "bold", "boring",
        "brave", "busy", "charming", "clever", "compassionate", "competent", "condescending", "confident", "cool", "cranky", "crazy",
        "dazzling", "determined", "distracted", "dreamy", "eager", "ecstatic", "elastic", "elated", "elegant", "eloquent", "epic",
        "exciting", "fervent", "festive", "flamboyant", "focused", "friendly", "frosty", "funny", "gallant", "gifted", "goofy",
        "gracious", "great", "happy", "hardcore", "heuristic", "hopeful", "hungry", "infallible", "inspiring", "intelligent",
        "interesting", "jolly", "jovial", "keen", "kind", "laughing", "loving", "lucid", "magical", "modest", "musing", "mystifying",
        "naughty", "nervous", "nice", "nifty", "nostalgic", "objective", "optimistic", "peaceful", "pedantic", "pensive", "practical",
        "priceless", "quirky", "quizzical", "recursing", "relaxed", "reverent", "romantic", "sad", "serene", "sharp", "silly",
        "sleepy", "stoic", "strange", "stupefied", "suspicious", "sweet", "tender", "thirsty", "trusting", "unruffled", "upbeat",
        "vibrant", "vigilant", "vigorous", "wizardly", "wonderful", "xenodochial", "youthful", "zealous", "zen",
};

static gboolean is_invented(const char *name) {
        const char *sep = strchr(name, '_');

        if (!sep || sep == name)
                return FALSE;

        const char *p = sep + 1;
        while (g_ascii_islower(*p))
                p++;
        if (p == sep + 1)
                return FALSE;
        while (g_ascii_isdigit(*p))
                p++;
        if (*p)
                return FALSE;

        for (gsize i = 0; i < G_N_ELEMENTS(invented); i++)
                if (strlen(invented[i]) == (gsize) (sep - name) && !strncmp(invented[i], name, (gsize) (sep - name)))
                        return TRUE;
        return FALSE;
}

/* Does the last part of a name look counted or drawn by lot rather than chosen by a person? */
static gboolean is_generated(const char *s, gsize n) {
        gsize digits = 0, hex = 0, lower = 0, vowels = 0;
        gboolean letter_after_digit = FALSE;

        for (gsize i = 0; i < n; i++) {
                gboolean d = g_ascii_isdigit(s[i]);

                digits += d;
                hex += d || (s[i] >= 'a' && s[i] <= 'f');
                lower += g_ascii_islower(s[i]) ? 1 : 0;
                vowels += strchr("aeiou", s[i]) != NULL;
                if (i && !d && g_ascii_isdigit(s[i - 1]))
                        letter_after_digit = TRUE;
        }
        if (n && digits == n)
                return TRUE;
        if (digits + lower != n)
                return FALSE;
        if (n >= 6 && hex == n && digits >= 2)
                return TRUE;
        if (n >= 20 && digits)
                return TRUE;
        /* Kubernetes draws from letters without vowels; five or more of them are no word */
        if (n >= 5 && !vowels)
                return TRUE;
        return n >= 5 && letter_after_digit && vowels <= 1 && digits >= 2;
}

static gboolean ends_with_uuid(const char *s, gsize n) {
        static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
        gsize len = sizeof shape - 1;

        if (n <= len)
                return FALSE;
        for (gsize i = 0; i < len; i++) {
                char ch = s[n - len + i];

                if (shape[i] == 'x' ? !g_ascii_isxdigit(ch) : ch != '-')
                        return FALSE;
        }
        return TRUE;
}

char *bh_workload_name_pattern(const char *name) {
        gsize n = strlen(name);

        if (ends_with_uuid(name, n)) {
                n -= 36;
                while (n && strchr("-_.", name[n - 1]))
                        n--;
                if (!n)
                        return g_strdup(name);
        }
        for (int round = 0; round < 3; round++) {
                gsize cut = n;

                while (cut && !strchr("-_.", name[cut - 1]))
                        cut--;
                if (cut < 2 || !is_generated(name + cut, n - cut))
                        break;
                n = cut - 1;
        }
        return g_strndup(name, n);
}

char *bh_workload_image_repository(const char *image) {
        const char *at = strchr(image, '@');
        gsize n = at ? (gsize) (at - image) : strlen(image);
        const char *slash = g_strrstr_len(image, (gssize) n, "/");
        gsize from = slash ? (gsize) (slash - image) : 0;

        if (g_str_has_prefix(image, "sha256:"))
                return g_strdup("");
        for (gsize i = from; i < n; i++)
                if (image[i] == ':') {
                        n = i;
                        break;
                }
        gsize hex = 0;
        while (hex < n && g_ascii_isxdigit(image[hex]))
                hex++;
        if (hex == n && (n == 12 || n == 64))
                return g_strdup("");
        return g_strndup(image, n);
}

static const char *first_label(const BhContainer *c, const char *a, const char *b) {
        const char *v = bh_container_label(c, a);

        if ((!v || !*v) && b)
                v = bh_container_label(c, b);
        return v && *v ? v : NULL;
}

void bh_workload_derive(BhContainer *c) {
        const char *part_of = first_label(c, "app.kubernetes.io/part-of", NULL);
        const char *pod = first_label(c, "io.kubernetes.pod.name", NULL);
        const char *service;

        if (pod) {
                const char *container = first_label(c, "io.kubernetes.container.name", NULL);
                const char *namespace = first_label(c, "io.kubernetes.pod.namespace", NULL);
                g_autofree char *owner = bh_workload_name_pattern(pod);
                g_autofree char *workload = g_strdup_printf("%s/%s", owner, container ? container : "POD");

                bh_container_set(c, &c->workload, workload);
                bh_container_set(c, &c->application, part_of ? part_of : namespace);
        } else if ((service = first_label(c, "com.docker.swarm.service.name", NULL))) {
                const char *stack = first_label(c, "com.docker.stack.namespace", NULL);

                bh_container_set(c, &c->workload, service);
                bh_container_set(c, &c->application, stack ? stack : part_of);
        } else if ((service = first_label(c, "com.docker.compose.service", "io.podman.compose.service"))) {
                bh_container_set(c, &c->workload, service);
                bh_container_set(c, &c->application, first_label(c, "com.docker.compose.project", "io.podman.compose.project"));
        } else {
                g_autofree char *repo = bh_workload_image_repository(c->image);
                g_autofree char *pattern = is_invented(c->name) ? g_strdup("") : bh_workload_name_pattern(c->name);
                const char *base = strrchr(repo, '/') ? strrchr(repo, '/') + 1 : repo;
                g_autofree char *workload = NULL;

                if (!*repo)
                        workload = g_strdup(pattern);
                else if (!*pattern || !strcmp(base, pattern))
                        workload = g_strdup(repo);
                else
                        workload = g_strdup_printf("%s/%s", repo, pattern);
                bh_container_set(c, &c->workload, workload);
                bh_container_set(c, &c->application, part_of);
        }
}
