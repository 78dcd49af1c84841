/* SPDX-License-Identifier: Apache-2.0 */
/* An output format, loaded, compiled and rendered for several events: the text stays within its bound and the fields are JSON. */
#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "base/escape.h"
#include "rules/alert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STR(text) ((struct bh_str){ (text), sizeof(text) - 1 })

static void events(struct bh_event e[3]) {
        for (guint i = 0; i < 3; i++) {
                e[i] = (struct bh_event){ 0 };
                BH_SET(&e[i], type, ((guint32[]){ BH_EV_EXEC, BH_EV_OPEN, BH_EV_CONTAINER })[i]);
                BH_SET(&e[i], time, 1700000000123456789ull);
                BH_SET(&e[i], pid, 100);
                BH_SET(&e[i], tid, 100);
                BH_SET(&e[i], comm, STR("ba\xffsh\"\\"));
                BH_SET(&e[i], args, STR("bash\0-c\0id"));
                BH_SET(&e[i], path, STR("/etc/passwd\n"));
                BH_SET(&e[i], open_flags, 0101);
                BH_SET(&e[i], ret, 0);
                BH_SET(&e[i], container_id, STR("0123456789abcdef"));
                BH_SET(&e[i], container_labels, STR("a\0b\0c\0d"));
                BH_SET(&e[i], action, STR("start"));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GString) yaml = g_string_new("- rule: R\n  desc: d\n  condition: evt.type exists\n  priority: INFO\n  output: ");
        BhRuleSource source = { .name = "fuzz" };
        g_autoptr(BhRuleSet) set = NULL;
        g_autoptr(BhRuleEngine) engine = NULL;
        g_autoptr(BhRuleRun) run = NULL;
        struct bh_event e[3];
        const guint32 *matches;

        bh_escape_append_json(yaml, (const char *) data, (gssize) size);
        source.text = yaml->str;
        source.len = yaml->len;
        set = bh_rule_set_load(&source, 1, NULL);
        if (bh_rule_set_errors(set))
                return 0;
        engine = bh_rule_engine_new(set, NULL, NULL, NULL);
        assert(engine);
        run = bh_rule_run_new();
        events(e);
        for (guint i = 0; i < 3; i++) {
                g_autoptr(GString) text = g_string_new(NULL), fields = g_string_new(NULL), json = g_string_new(NULL);
                json_t *o;

                if (!bh_rule_run_event(run, engine, &e[i], NULL, &matches))
                        continue; /* events of the runtime are another source */
                bh_rule_run_output(run, engine, matches[0], text, fields);
                assert(text->len <= (64u << 10) + 8);
                o = json_loadb(fields->str, fields->len, JSON_REJECT_DUPLICATES, NULL);
                assert(json_is_object(o));
                json_decref(o);
                bh_rule_alert_json(run, engine, g_ptr_array_index(bh_rule_set_rules(set), 0), matches[0], &e[i], json);
                o = json_loadb(json->str, json->len, 0, NULL);
                assert(json_is_object(o));
                json_decref(o);
        }
        return 0;
}
