/* SPDX-License-Identifier: Apache-2.0 */
/* Signs in containers' DNS messages in the sensor as a whole. The drain thread. */
#include "sensor.h"

void bh_sensor_publish_finding(GBytes *body, gpointer data) {
        BhSensor *s = data;

        bh_report_publish(s->report, "finding", body);
        g_bytes_unref(body);
}

void bh_sensor_open_signs(BhSensor *s) {
        if (!s->report || !s->inspector)
                return;
        s->dns_signs = bh_dns_signs_new();
        s->dns_alerts = bh_net_alerts_new(bh_report_node(s->report), bh_sensor_publish_finding, s);
}

void bh_sensor_free_signs(BhSensor *s) {
        g_clear_pointer(&s->dns_alerts, bh_net_alerts_free);
        g_clear_pointer(&s->dns_signs, bh_dns_signs_free);
}

static void tell(BhSensor *s, const BhDnsSign *sign, const struct bh_event *e, const struct bh_lineage *lineage) {
        static const char tunnel_text[] = "A container asked DNS for many different names under one domain, with labels that look like encoded data. Whoever answers for that domain reads them, although the container never "
                                          "connected to him: a way out through most firewalls.";
        static const char generated_text[] = "A container asked DNS for many domains that do not exist. Malware that finds its server by names which it computes does so, until one of them is there.";
        static const char tunnel_advice[] = "Find the process, look at what it read before, and let this container ask only for names that it needs.";
        static const char generated_advice[] = "Find the process and where its program came from. A list of domains that is out of date looks the same: then exclude nothing, repair the list.";
        static const char *const tunnel_tags[] = { "dns", "mitre_exfiltration", "mitre_command_and_control", "T1048", "T1071.004", NULL };
        static const char *const generated_tags[] = { "dns", "mitre_command_and_control", "T1568.002", "T1071.004", NULL };
        gboolean tunnel = sign->kind == BH_DNS_SIGN_TUNNEL;
        g_autofree char *container = g_strndup(e->container_id.p, e->container_id.len), *exe = bh_event_has(e, BH_F_exe) ? g_strndup(e->exe.p, e->exe.len) : g_strdup("");
        g_autofree char *key = g_strdup_printf("dns\n%s\n%d\n%s", container, sign->kind, sign->zone), *coarse = g_strdup_printf("dns\n%s\n%d", container, sign->kind);
        g_autofree char *id = g_strdup_printf("%s-dns-%" G_GINT64_MODIFIER "x-%" G_GUINT64_FORMAT, bh_report_node(s->report), bh_event_has(e, BH_F_boottime) ? e->boottime : e->time, e->id);
        g_autofree char *entropy = g_strdup_printf("%.1f", sign->entropy);
        g_autofree char *output = tunnel ? g_strdup_printf("%u names with %" G_GUINT64_FORMAT " bytes of data under %s asked for in %u s by %s, such as %s", sign->names, sign->bytes, sign->zone, sign->seconds,
                                                           *exe ? exe : "an unknown program", sign->example)
                                         : g_strdup_printf("%u domains that do not exist asked for in %u s by %s, such as %s", sign->names, sign->seconds, *exe ? exe : "an unknown program", sign->example);
        g_autoptr(BhContainer) c = bh_container_table_get(s->containers, container);
        BhNetAlert a = {
                .id = id,
                .key = key,
                .coarse = coarse,
                .kind = "dns",
                .source = "dns",
                .rule = tunnel ? "Data leaves in DNS names" : "Generated DNS names",
                .priority = tunnel ? "error" : "warning",
                .output = output,
                .description = tunnel ? tunnel_text : generated_text,
                .advice = tunnel ? tunnel_advice : generated_advice,
                .tags = tunnel ? tunnel_tags : generated_tags,
                .time_ns = (gint64) e->time,
                .pid = bh_event_has(e, BH_F_pid) ? e->pid : 0,
                .start = bh_event_has(e, BH_F_proc_start) ? e->proc_start : 0,
                .container = c,
        };

        bh_net_alert_text(&a, "dns.domain", sign->zone);
        bh_net_alert_text(&a, "dns.example", sign->example);
        bh_net_alert_number(&a, "dns.names", sign->names);
        if (tunnel) {
                bh_net_alert_number(&a, "dns.bytes", (gint64) sign->bytes);
                bh_net_alert_text(&a, "dns.entropy", entropy);
                bh_net_alert_number(&a, "dns.odd_types", sign->odd);
        }
        bh_net_alert_number(&a, "dns.missing", sign->missing);
        bh_net_alert_number(&a, "dns.questions", sign->questions);
        bh_net_alert_number(&a, "dns.seconds", sign->seconds);
        bh_net_alert_text(&a, "proc.exe", exe);
        bh_net_alert_number(&a, "proc.pid", a.pid);
        bh_net_alerts_add(s->dns_alerts, &a, lineage, g_get_monotonic_time());
}

void bh_sensor_signs_event(BhSensor *s, const struct bh_event *e, const struct bh_lineage *lineage) {
        BhDnsSign sign;

        if (!s->dns_signs || e->type != BH_EV_DNS)
                return;
        if (bh_dns_signs_event(s->dns_signs, e, &sign))
                tell(s, &sign, e, lineage);
        bh_net_alerts_round(s->dns_alerts, g_get_monotonic_time());
}
