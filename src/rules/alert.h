/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A match as people and programs are told of it: the line "time: Priority output", and the JSON object whose members are those of the public engine's alerts
 * (time, rule, priority, source, hostname, output, output_fields, tags), so that tools that read those read ours.
 */
#pragma once
#include "rules/engine.h"

/* Of the event that was run last; `rule` is one of its matches. Appends, no newline. The line is escaped for a terminal. */
void bh_rule_alert_text(BhRuleRun *r, const BhRuleEngine *e, const BhRule *rule, guint32 index, const struct bh_event *event, GString *out);
void bh_rule_alert_json(BhRuleRun *r, const BhRuleEngine *e, const BhRule *rule, guint32 index, const struct bh_event *event, GString *out);
