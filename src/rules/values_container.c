/* SPDX-License-Identifier: Apache-2.0 */
/* The container, Kubernetes as the containers' labels tell of it, and Bulkhead's own fields. */
#include <arpa/inet.h>

#include "rules/names.h"
#include "rules/pattern.h"
#include "rules/value.h"

#define HAS(member) bh_event_has(e, BH_F_##member)
#define ID_SHORT 12u

static struct bh_str cut(struct bh_str id) {
        id.len = MIN(id.len, ID_SHORT);
        return id;
}

static gboolean is(struct bh_str s, const char *text) {
        return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

/* What the event carries, else what the holder of containers knows. */
static gboolean text(BhRuleScene *s, enum bh_field field, gsize known, struct bh_value *out) {
        const struct bh_event *e = s->event;
        const struct bh_lineage_container *c;

        if (bh_event_has(e, field))
                return bh_value_str(out, *(const struct bh_str *) (const void *) ((const char *) e + bh_fields[field].offset));
        c = bh_scene_container(s);
        if (!c)
                return FALSE;
        return ((const struct bh_str *) (const void *) ((const char *) c + known))->len
                       ? bh_value_str(out, *(const struct bh_str *) (const void *) ((const char *) c + known))
                       : FALSE;
}

#define TEXT(event_member, member) text(s, BH_F_##event_member, offsetof(struct bh_lineage_container, member), out)

static gboolean image_part(BhRuleScene *s, guint id, struct bh_value *out) {
        const char *at, *colon, *slash, *end;
        struct bh_str image;

        if (!TEXT(container_image, image))
                return FALSE;
        image = out->s;
        at = memchr(image.p, '@', image.len);
        end = at ? at : image.p + image.len;
        slash = memrchr(image.p, '/', (gsize) (end - image.p));
        colon = memrchr(slash ? slash : image.p, ':', (gsize) (end - (slash ? slash : image.p)));
        switch (id) {
        case BH_FLD_CONTAINER_IMAGE_REPOSITORY: return bh_value_str(out, (struct bh_str){ image.p, (guint32) ((colon ? colon : end) - image.p) });
        case BH_FLD_CONTAINER_IMAGE_TAG: return colon ? bh_value_str(out, (struct bh_str){ colon + 1, (guint32) (end - colon - 1) }) : FALSE;
        case BH_FLD_CONTAINER_IMAGE_DIGEST:
                if (at)
                        return bh_value_str(out, (struct bh_str){ at + 1, (guint32) (image.p + image.len - at - 1) });
                if (!TEXT(container_image_digest, image_digest))
                        return FALSE;
                if ((at = memchr(out->s.p, '@', out->s.len)))
                        out->s = (struct bh_str){ at + 1, out->s.len - (guint32) (at + 1 - out->s.p) };
                return TRUE;
        }
        return FALSE;
}

/* ---- lists ---- */

static gboolean next(struct bh_str *list, struct bh_str *item) {
        const char *nul;

        if (!list->len)
                return FALSE;
        nul = memchr(list->p, 0, list->len);
        *item = (struct bh_str){ list->p, nul ? (guint32) (nul - list->p) : list->len };
        list->len -= MIN(list->len, item->len + 1);
        list->p += item->len + 1;
        return TRUE;
}

static struct bh_str labels_of(BhRuleScene *s) {
        const struct bh_event *e = s->event;
        const struct bh_lineage_container *c;

        if (HAS(container_labels))
                return e->container_labels;
        c = bh_scene_container(s);
        return c ? c->labels : (struct bh_str){ NULL, 0 };
}

static gboolean label(struct bh_str list, struct bh_str name, struct bh_value *out) {
        struct bh_str key, value;

        while (next(&list, &key) && next(&list, &value)) {
                if (key.len == name.len && memcmp(key.p, name.p, key.len) == 0)
                        return bh_value_str(out, value);
        }
        return FALSE;
}

static gboolean label_named(BhRuleScene *s, const char *name, struct bh_value *out) {
        return label(labels_of(s), (struct bh_str){ name, (guint32) strlen(name) }, out);
}

/* name:value, … `own`: without what Kubernetes itself puts on containers. */
static gboolean all_labels(BhRuleScene *s, gboolean own, struct bh_value *out) {
        struct bh_str list = labels_of(s), key, value;
        char *p = bh_scene_room(s, list.len + 2);
        gsize n = 0;

        if (!list.len || !p)
                return FALSE;
        while (next(&list, &key) && next(&list, &value)) {
                if (own && (memmem(key.p, key.len, "kubernetes.io", 13) || memmem(key.p, key.len, "kubernetes.container", 20)))
                        continue;
                if (n)
                        p[n++] = ',';
                memcpy(p + n, key.p, key.len);
                n += key.len;
                p[n++] = ':';
                memcpy(p + n, value.p, value.len);
                n += value.len;
        }
        return bh_value_str(out, bh_scene_take(s, n));
}

enum { SOURCE, DEST, MODE, RDWR, PROPAGATION, PARTS };

static gboolean next_mount(struct bh_str *list, struct bh_str m[PARTS]) {
        for (guint i = 0; i < PARTS; i++) {
                if (!next(list, &m[i]))
                        return FALSE;
        }
        return TRUE;
}

static gsize put_mount(char *p, const struct bh_str m[PARTS]) {
        gsize n = 0;

        for (guint i = 0; i < PARTS; i++) {
                if (i)
                        p[n++] = ':';
                memcpy(p + n, m[i].p, m[i].len);
                n += m[i].len;
        }
        return n;
}

static gboolean mount_text(BhRuleScene *s, const struct bh_str m[PARTS], struct bh_value *out) {
        char *p = bh_scene_room(s, (gsize) m[0].len + m[1].len + m[2].len + m[3].len + m[4].len + PARTS);

        return p && bh_value_str(out, bh_scene_take(s, put_mount(p, m)));
}

static gboolean all_mounts(BhRuleScene *s, struct bh_str list, struct bh_value *out) {
        char *p = bh_scene_room(s, list.len + PARTS);
        struct bh_str m[PARTS];
        gsize n = 0;

        while (p && next_mount(&list, m)) {
                if (n)
                        p[n++] = ' ';
                n += put_mount(p + n, m);
        }
        return p && bh_value_str(out, bh_scene_take(s, n));
}

static gboolean mount(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_lineage_container *c = bh_scene_container(s);
        struct bh_str list, m[PARTS];
        guint part = f->id == BH_FLD_CONTAINER_MOUNT ? PARTS : f->id - BH_FLD_CONTAINER_MOUNT_SOURCE, by = part == SOURCE ? DEST : SOURCE;

        if (!c)
                return FALSE;
        list = c->mounts;
        if (f->id == BH_FLD_CONTAINER_MOUNTS)
                return all_mounts(s, list, out);
        for (guint32 i = 0; next_mount(&list, m); i++) {
                if (f->has_index ? i != f->index : !bh_glob(f->arg.p, f->arg.len, m[by].p, m[by].len, FALSE))
                        continue;
                return part == PARTS ? mount_text(s, m, out) : bh_value_str(out, m[part]);
        }
        return FALSE;
}

static gboolean known(gint8 what, struct bh_value *out) {
        return what >= 0 ? bh_value_num(out, what) : FALSE;
}

static gboolean probe(struct bh_str command, struct bh_value *out) {
        return command.len ? bh_value_str(out, command) : FALSE;
}

/* ---- Kubernetes ---- */

static gboolean pod(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_lineage_container *c;

        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_K8S_POD_NAME:
        case BH_FLD_K8SMETA_POD_NAME: return label_named(s, "io.kubernetes.pod.name", out);
        case BH_FLD_K8S_POD_UID:
        case BH_FLD_K8SMETA_POD_UID: return label_named(s, "io.kubernetes.pod.uid", out);
        case BH_FLD_K8S_NS_NAME:
        case BH_FLD_K8SMETA_NS_NAME: return label_named(s, "io.kubernetes.pod.namespace", out);
        case BH_FLD_K8S_POD_ID:
        case BH_FLD_K8S_POD_SANDBOX_ID:
                if (!label_named(s, "io.kubernetes.sandbox.id", out))
                        return FALSE;
                out->s = cut(out->s);
                return TRUE;
        case BH_FLD_K8S_POD_FULL_SANDBOX_ID: return label_named(s, "io.kubernetes.sandbox.id", out);
        case BH_FLD_K8S_POD_LABEL:
        case BH_FLD_K8SMETA_POD_LABEL: return label_named(s, "io.kubernetes.pod.name", out) && label(labels_of(s), f->arg, out);
        case BH_FLD_K8S_POD_LABELS:
        case BH_FLD_K8SMETA_POD_LABELS: return label_named(s, "io.kubernetes.pod.name", out) && all_labels(s, TRUE, out);
        case BH_FLD_K8S_POD_IP:
        case BH_FLD_K8SMETA_POD_IP:
                c = bh_scene_container(s);
                return label_named(s, "io.kubernetes.pod.name", out) && c && c->ip.len && bh_value_str(out, c->ip);
        default: return FALSE;
        }
}

gboolean bh_value_container(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_event *e = s->event;
        const struct bh_lineage_container *c;
        gboolean on_host = !HAS(container_id);

        if (f->id >= BH_FLD_K8S_POD_NAME)
                return pod(s, f, out);
        /* events of the sensor itself, and of the runtime about images and networks, are of no container and not of the host's processes either */
        if (on_host && e->type == BH_EV_CONTAINER)
                return FALSE;
        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_CONTAINER_ID: return on_host ? bh_value_text(out, "host") : bh_value_str(out, cut(e->container_id));
        case BH_FLD_CONTAINER_FULL_ID: return on_host ? bh_value_text(out, "host") : bh_value_str(out, e->container_id);
        case BH_FLD_CONTAINER_NAME: return on_host ? bh_value_text(out, "host") : TEXT(container_name, name);
        case BH_FLD_CONTAINER_TYPE:
                if (on_host)
                        return bh_value_text(out, "host");
                if (!TEXT(container_runtime, runtime))
                        return FALSE;
                return is(out->s, "crio") ? bh_value_text(out, "cri-o") : TRUE;
        default: break;
        }
        if (on_host)
                return FALSE;
        c = bh_scene_container(s);
        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_CONTAINER_IMAGE: return TEXT(container_image, image);
        case BH_FLD_CONTAINER_IMAGE_REPOSITORY:
        case BH_FLD_CONTAINER_IMAGE_TAG:
        case BH_FLD_CONTAINER_IMAGE_DIGEST: return image_part(s, f->id, out);
        case BH_FLD_CONTAINER_LABEL: return label(labels_of(s), f->arg, out);
        case BH_FLD_CONTAINER_LABELS: return all_labels(s, FALSE, out);
        case BH_FLD_CONTAINER_PRIVILEGED: return HAS(container_privileged) ? bh_value_num(out, e->container_privileged != 0) : c ? known(c->privileged, out) : FALSE;
        default: break;
        }
        if (!c)
                return FALSE;
        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_CONTAINER_IMAGE_ID: return probe(c->image_id, out);
        case BH_FLD_CONTAINER_MOUNTS:
        case BH_FLD_CONTAINER_MOUNT:
        case BH_FLD_CONTAINER_MOUNT_SOURCE:
        case BH_FLD_CONTAINER_MOUNT_DEST:
        case BH_FLD_CONTAINER_MOUNT_MODE:
        case BH_FLD_CONTAINER_MOUNT_RDWR:
        case BH_FLD_CONTAINER_MOUNT_PROPAGATION: return mount(s, f, out);
        case BH_FLD_CONTAINER_HEALTHCHECK: return probe(c->healthcheck, out);
        case BH_FLD_CONTAINER_LIVENESS_PROBE: return probe(c->liveness, out);
        case BH_FLD_CONTAINER_READINESS_PROBE: return probe(c->readiness, out);
        case BH_FLD_CONTAINER_START_TS: return c->started ? bh_value_num(out, (gint64) c->started) : FALSE;
        case BH_FLD_CONTAINER_DURATION: return c->started ? bh_value_num(out, e->time > c->started ? (gint64) (e->time - c->started) : 0) : FALSE;
        case BH_FLD_CONTAINER_IP: return probe(c->ip, out);
        case BH_FLD_CONTAINER_HOST_PID: return known(c->host_pid, out);
        case BH_FLD_CONTAINER_HOST_NETWORK: return known(c->host_network, out);
        case BH_FLD_CONTAINER_HOST_IPC: return known(c->host_ipc, out);
        default: return FALSE;
        }
}

/* ---- Bulkhead's own ---- */

static gboolean attribute(const struct bh_event *e, struct bh_str name, struct bh_value *out) {
        return HAS(attributes) && label(e->attributes, name, out);
}

static gboolean foreign(const struct bh_event *e, struct bh_value *out) {
        struct bh_str a = HAS(container_id) ? e->container_id : (struct bh_str){ "", 0 }, b = HAS(target_container_id) ? e->target_container_id : (struct bh_str){ "", 0 };

        if (!HAS(target_pid))
                return FALSE;
        return bh_value_num(out, a.len != b.len || (a.len && memcmp(a.p, b.p, a.len) != 0));
}

gboolean bh_value_own(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_event *e = s->event;

#define STR(member) (HAS(member) ? bh_value_str(out, e->member) : FALSE)
#define NUM(member) (HAS(member) ? bh_value_num(out, (gint64) e->member) : FALSE)
#define FLAG(bit) bh_value_num(out, HAS(flags) && (e->flags & BH_RF_##bit) != 0)
        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_BH_KIND: return bh_value_text(out, bh_event_type_name(e->type));
        case BH_FLD_BH_ID: return NUM(id);
        case BH_FLD_BH_COUNT: return bh_value_num(out, HAS(count) ? e->count : 1);
        case BH_FLD_BH_FLAGS: return HAS(flags) && e->flags ? bh_value_str(out, bh_rule_flags(s, BH_F_flags, e->flags)) : FALSE;
        case BH_FLD_BH_ORIGIN_ID: return HAS(origin_id) ? bh_value_str(out, cut(e->origin_id)) : FALSE;
        case BH_FLD_BH_ORIGIN_FULL_ID: return STR(origin_id);
        case BH_FLD_BH_ORIGIN_NAME: return STR(origin_name);
        case BH_FLD_BH_ORIGIN_IMAGE: return STR(origin_image);
        case BH_FLD_BH_ORIGIN_ESCAPED: return FLAG(GRAFTED);
        case BH_FLD_BH_WORKLOAD: return TEXT(workload, workload);
        case BH_FLD_BH_APPLICATION: return TEXT(application, application);
        case BH_FLD_BH_RUNTIME: return TEXT(container_runtime, runtime);
        case BH_FLD_BH_SCRIPT: return STR(script);
        case BH_FLD_BH_EXE_DELETED: return FLAG(EXE_DELETED);
        case BH_FLD_BH_EXE_MODE:
        case BH_FLD_BH_EXE_UID: return bh_value_proc(s, f, out);
        case BH_FLD_BH_FILE_CREATED: return FLAG(CREATED);
        case BH_FLD_BH_FILE_DELETED: return FLAG(DELETED);
        case BH_FLD_BH_BYTES: return NUM(bytes);
        case BH_FLD_BH_WRITTEN: return FLAG(WRITTEN);
        case BH_FLD_BH_ANONYMOUS: return FLAG(ANON);
        case BH_FLD_BH_TARGET_PID: return NUM(target_pid);
        case BH_FLD_BH_TARGET_NAME: return STR(target_comm);
        case BH_FLD_BH_TARGET_EXEPATH: return STR(target_exe);
        case BH_FLD_BH_TARGET_CONTAINER_ID: return !HAS(target_pid) ? FALSE : HAS(target_container_id) ? bh_value_str(out, cut(e->target_container_id)) : bh_value_text(out, "host");
        case BH_FLD_BH_TARGET_FOREIGN: return foreign(e, out);
        case BH_FLD_BH_DNS_TYPE: return STR(dns_type);
        case BH_FLD_BH_DNS_QUESTION: return STR(dns_question);
        case BH_FLD_BH_DNS_QTYPE: return STR(dns_qtype);
        case BH_FLD_BH_DNS_RCODE: return STR(dns_rcode);
        case BH_FLD_BH_DNS_ANSWERS: return STR(dns_answers);
        case BH_FLD_BH_WEB_REQUESTS: return STR(web_requests);
        case BH_FLD_BH_WEB_METHOD: return STR(web_method);
        case BH_FLD_BH_WEB_PATH: return STR(web_path);
        case BH_FLD_BH_WEB_SOURCE: return STR(web_source);
        case BH_FLD_BH_WEB_RULE: return STR(web_rule);
        case BH_FLD_BH_WEB_BASIS: return STR(web_basis);
        case BH_FLD_BH_WEB_CANDIDATES: return NUM(web_candidates);
        case BH_FLD_BH_CGROUP: return STR(cgroup_path);
        case BH_FLD_BH_CRED_OLD_UID: return NUM(old_euid);
        case BH_FLD_BH_CRED_OLD_CAP_EFFECTIVE: return HAS(old_cap_effective) ? bh_value_str(out, bh_value_caps(s, e->old_cap_effective)) : FALSE;
        case BH_FLD_BH_CRED_GAINED:
                return HAS(old_cap_effective) && HAS(cap_effective) ? bh_value_str(out, bh_value_caps(s, e->cap_effective & ~e->old_cap_effective)) : FALSE;
        case BH_FLD_BH_ACTION: return STR(action);
        case BH_FLD_BH_ACTOR: return STR(actor);
        case BH_FLD_BH_ATTR: return attribute(e, f->arg, out);
        case BH_FLD_BH_MESSAGE: return STR(message);
        default: return FALSE;
        }
}
