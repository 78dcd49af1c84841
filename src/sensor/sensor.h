/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sensor as a whole: what it was asked for, its parts, and what it says of itself. main.c makes one and runs it.
 */
#pragma once
#include <jansson.h>

#include "askers.h"
#include "callers.h"
#include "canary.h"
#include "container/cgroup.h"
#include "container/containerd.h"
#include "container/docker.h"
#include "container/oci_state.h"
#include "container/table.h"
#include "control.h"
#include "dns_signs.h"
#include "ends.h"
#include "evidence.h"
#include "feed.h"
#include "flows.h"
#include "hooks.h"
#include "inspector.h"
#include "lineage.h"
#include "pipeline.h"
#include "processes.h"
#include "recorder/recorder.h"
#include "net_alerts.h"
#include "dns_tcp.h"
#include "pause.h"
#include "payload.h"
#include "report.h"
#include "policies.h"
#include "respond.h"
#include "suspects.h"
#include "web_watch.h"

typedef struct BhNodeWatch BhNodeWatch;

typedef struct {
        char *run_dir, *data_dir, *host_root, *docker, *containerd;
        BhBackend backend;
        char **rules;           /* files and directories; NULL: none */
        char *default_rules;    /* directory */
        gboolean no_default_rules;
        char *bus; /* address of the central; NULL: none */
        char *web_settings;     /* file; NULL: none */
        char *evidence_heads;   /* file; NULL: none */
        BhKinds events; /* that the recorder keeps */
        gboolean no_docker, no_containerd, no_bus, no_inspector, no_web, no_calls, no_evidence, no_hold, no_integrity, host_events, debug, uninstall, keep_data;
        gint64 max_mib, fold_ms, budget, spool_mib, walk_ms, evidence_mib; /* -1: default */
        gint64 ring_kib[BH_RING_MAX];    /* 0: default */
} BhSensorOptions;

typedef struct BhSensorCalls BhSensorCalls;

typedef struct {
        BhSensorOptions options;
        char *node, *kernel, *proc_path, *pin_dir, *recorder_dir;
        gint64 started_us, started_ns;
        guint64 away_ms;        /* between the last sign of the sensor before and this start; 0: first start, or it was stopped in order */
        gboolean after_crash;
        BhEnds *ends; /* NULL: the start did not come so far */
        BhCanary *canary;
        BhPause *pause;         /* NULL: nothing is stopped to be copied */
        BhCgroupLayout *cgroups;
        BhHooks *hooks;
        BhCgroups *kernel_cgroups;
        BhContainerTable *containers;
        BhProcessTable *processes;
        BhRecorder *recorder;
        BhRecorderRecovery found;
        BhFeed *feed;
        BhPipeline *pipeline;
        BhDocker *docker;
        BhContainerd *containerd;
        BhAskers *askers;
        GQueue to_ask; /* struct bh_event of runtimes: see bh_sensor_asked() */ /* the drain thread's */
        BhOciWatch *oci;
        BhInspector *inspector; /* NULL: none could be started */
        BhPayload *payload;     /* NULL: web traffic is not looked at */
        gint web_starting;      /* atomically: not started yet */
        GThread *web_loading;   /* loads its programs beside the start, after which it waits for web_go (under `lock`) */
        gint web_go;
        BhWebPolicy *web_policy;
        BhDnsTcp *dns_tcp;      /* DNS over TCP; NULL as `web` */
        BhTlsHellos *tls_hellos; /* the same */
        BhWebWatch *web;        /* the same */
        BhSuspects *suspects;   /* the same, or no evidence is kept */
        BhTlsWatch *tls;        /* the same, or there is no inspector that could parse files */
        GQueue gone;            /* cgroups whose account of web traffic is to be forgotten; the drain thread's */
        BhSensorCalls *calls;   /* NULL: no report, or not wanted */
        BhDnsSigns *dns_signs;  /* the drain thread's; NULL: no report, or no inspector */
        BhNetAlerts *dns_alerts;
        BhRuling *ruling;       /* NULL: no bus and no rules of the user's: nobody to tell findings */
        BhReport *report;       /* NULL: no bus */
        BhEvidence *evidence;   /* NULL: none is kept */
        struct BhNodeWatch *integrity; /* NULL: no report */
        struct BhDecoyWatch *decoy; /* NULL: the same */
        char *evidence_error, *evidence_broken; /* set before threads are started */
        BhRespond *respond;     /* NULL: the same, and nothing is held since an earlier run; or it could not be opened */
        char *respond_error;
        BhNodePolicies *policies; /* NULL: no report, no rules, or no responses */
        BhFlows *flows;         /* NULL: the same */
        BhConntrackSockets conntrack;
        BhLineage *lineage;
        BhProcessesConfig listing;
        BhControl *control;
        GMainLoop *loop;
        gint reloading; /* a thread reads the rules */
        GThread *loading;   /* during the start */
        GError *load_error; /* its */
        gint stopping, piped; /* piped: the pipeline takes messages */
        GMutex lock; /* docker_*, containerd_*, canary_error and web_error */
        GMutex kinds_lock; /* one change of what listeners need at a time */
        gboolean docker_connected, docker_listed, containerd_absent, containerd_connected, containerd_listed;
        char *docker_version, *docker_error, *containerd_version, *containerd_error, *canary_error, *web_error;
        char *report_error, *inspector_error; /* why there is none; set before threads are started */
        GCond changed; /* of docker_listed, docker_error, containerd_*, web_go */
} BhSensor;

/* `bulkhead status`. New reference; any thread. */
json_t *bh_sensor_status(BhSensor *s);
json_t *bh_sensor_containers(BhSensor *s);
json_t *bh_sensor_rules(BhSensor *s);

/* ---- flows (sensor_flows.c) */

/* Where there is a central to tell them. Before events come. */
void bh_sensor_open_flows(BhSensor *s, struct bh_clock clock);
/* ---- web traffic (sensor_web.c) */

/* After the hooks, the tables and the report; before the pipeline. FALSE with *error: the settings have errors. What else hinders it is said and shown by the status. */
gboolean bh_sensor_open_web(BhSensor *s, guint64 clock_start, GError **error);
/* Reads --web's file again; FALSE with *error: it has errors, and what was goes on. Any thread but the main loop's. */
gboolean bh_sensor_reload_web(BhSensor *s, GError **error);
/* Attaches, when the pipeline runs. */
void bh_sensor_start_web(BhSensor *s);
/* No piece comes any more. */
void bh_sensor_settle_web(BhSensor *s);
/* A start of it that is under way is waited for, and does not go on. First of all when the sensor stops. */
void bh_sensor_await_web(BhSensor *s);
void bh_sensor_free_web(BhSensor *s);
/* The drain thread: a container's cgroup was removed; its account and rule are forgotten a little later, when its connections have ended. `sensor` is the BhSensor. */
void bh_sensor_web_cgroup_gone(guint64 cgroup, gpointer sensor);
json_t *bh_sensor_web_status(BhSensor *s);

/* ---- evidence (sensor_evidence.c) */

/* First of all, while there is one thread; and what a sensor before left stopped goes on. */
void bh_sensor_open_pause(BhSensor *s);
/* After the report, before the first event. What hinders it is said and shown by the status. */
void bh_sensor_open_evidence(BhSensor *s);
/* When the pipeline runs. */
void bh_sensor_start_evidence(BhSensor *s);
/* The pipeline's `early`; `sensor` is the BhSensor. */
void bh_sensor_early(const struct bh_decoded *d, guint64 cgroup, gpointer sensor);
json_t *bh_sensor_evidence_status(BhSensor *s);
/* The answer to the question "evidence_verify". NULL: there is none. */
json_t *bh_sensor_verify_evidence(const char *heads, gsize len, gpointer sensor);
/* ---- system calls (sensor_calls.c) */

/* After the hooks and the report. */
void bh_sensor_open_calls(BhSensor *s);
/* When the pipeline runs. */
void bh_sensor_start_calls(BhSensor *s);
/* Nothing is attached any more, and the pipeline not asked. */
void bh_sensor_settle_calls(BhSensor *s);
/* When no event comes any more. */
void bh_sensor_free_calls(BhSensor *s);
/* The drain thread, each event, after the rules. */
void bh_sensor_calls_event(BhSensor *s, const struct bh_event *e);
json_t *bh_sensor_calls_status(BhSensor *s);
/* ---- responses (sensor_respond.c) */

/* Before the report; when the containers are known; when nobody asks any more. */
void bh_sensor_open_respond(BhSensor *s);
void bh_sensor_start_respond(BhSensor *s);
void bh_sensor_free_respond(BhSensor *s);
/* Each event; the drain thread. */
void bh_sensor_respond_event(BhSensor *s, const struct bh_event *e);
/* For the report: `sensor` is the BhSensor. */
GPtrArray *bh_sensor_respond(GBytes *body, gpointer sensor, GError **error);
json_t *bh_sensor_respond_status(BhSensor *s);
/* After the report; before the first event. It is freed when no event comes any more. */
void bh_sensor_open_policies(BhSensor *s);
/* For the report: `sensor` is the BhSensor. */
gboolean bh_sensor_set_policies(GBytes *body, gpointer sensor, GError **error);
json_t *bh_sensor_policies_status(BhSensor *s);

/* ---- the node's integrity (sensor_integrity.c) */

/* After the report, before the first event; when the pipeline runs; before it ends; when no event comes any more. */
void bh_sensor_open_integrity(BhSensor *s);
void bh_sensor_start_integrity(BhSensor *s);
void bh_sensor_settle_integrity(BhSensor *s);
void bh_sensor_free_integrity(BhSensor *s);
/* The drain thread, each kernel event. */
void bh_sensor_integrity_early(BhSensor *s, const struct bh_decoded *d, guint64 cgroup);
json_t *bh_sensor_integrity_status(BhSensor *s);

/* ---- connections that were led to a decoy (sensor_decoy.c) */

typedef struct BhDecoyWatch BhDecoyWatch;
/* After the report; before the evidence ends; when no event comes any more. */
void bh_sensor_open_decoy(BhSensor *s);
void bh_sensor_settle_decoy(BhSensor *s);
void bh_sensor_free_decoy(BhSensor *s);
/* For the responses: `sensor` is the BhSensor. */
void bh_sensor_led(const char *response, const char *container, const BhLedConnection *led, gpointer sensor);
json_t *bh_sensor_decoy_status(BhSensor *s);

/* ---- signs in DNS messages (sensor_signs.c) */

/* Of net_alerts.h: a finding of the sensor's own, to the central. Takes the reference. */
void bh_sensor_publish_finding(GBytes *body, gpointer sensor);
/* After the report and the inspector. */
void bh_sensor_open_signs(BhSensor *s);
void bh_sensor_free_signs(BhSensor *s);
/* The drain thread, each event. */
void bh_sensor_signs_event(BhSensor *s, const struct bh_event *e, const struct bh_lineage *lineage);

/* ---- runtimes (runtimes.c): for their clients' threads; `sensor` is the BhSensor */

void bh_sensor_container(BhContainer *c, gpointer sensor);
void bh_sensor_runtime_event(BhRuntimeEvent *ev, gpointer sensor);
void bh_sensor_resources(BhResourceSet *set, gpointer sensor);
/* A path that the sensor uses, as the host calls it. */
const char *bh_sensor_host_name(const BhSensor *s, const char *path);
/* The drain thread, each event: notes who asks runtimes, and whom a new or started container is owed to. */
void bh_sensor_asked(BhSensor *s, const struct bh_event *e, const struct bh_lineage *lineage);
/* Waits a moment for what is there. FALSE with *error: no thread can be had. */
gboolean bh_sensor_start_containerd(BhSensor *s, GError **error);

/* ---- what the sensors before left (sensor_past.c) */

/* What became of them, and a note that this one runs now: sets ends, after_crash and away_ms. Once, when hooks and recorder are open. beat: the kernel side's last sign, 0: none; now: CLOCK_BOOTTIME. */
void bh_sensor_look_back(BhSensor *s, guint64 beat, guint64 now);
/* Time of the last event that sensors before this one recorded, since the epoch; 0: there is none, or it is long ago. What runtimes remember of after it was told to nobody. */
gint64 bh_sensor_unseen_since(const BhSensor *s);
/* Each run that ended unexpectedly and was not told yet, the last one last; or that this one started. Their number. These three say it to the pipeline, which must be there. */
guint bh_sensor_say_ends(BhSensor *s);
/* Hooks that somebody took away while no sensor looked after them. */
void bh_sensor_say_found_lost(BhSensor *s);
/* Hooks that the kernel refuses, so that some acts are not seen. */
void bh_sensor_say_refused(BhSensor *s);
/* The central has been told of the ends, or there is none and the recorder has them: the report's thread calls it, or the start. data: the sensor. */
void bh_sensor_on_ends_told(gpointer data);

/* ---- rules (sensor_rules.c) */

/* Where Bulkhead's own rules are. Caller frees. */
char *bh_sensor_default_rules(void);
/* Loads the rules and attaches what they need. FALSE with all problems when the user's own files have errors. */
gboolean bh_sensor_open_rules(BhSensor *s, GError **error);
/*
 * Two things are to be had of what a killed sensor recorded last: who its processes were, for those that ended before this sensor looked, and findings that may not have been told yet, for which the rules look at its last
 * events once more. Before the drain thread runs.
 */
void bh_sensor_catch_up(BhSensor *s);
/*
 * Without a central, rules that the user named are evaluated all the same, and what they find is printed on standard output, a line each: the drain thread's call for each
 * event, the main loop's each BH_ALONE_MS, and the last one (`all`) when no event comes any more.
 */
#define BH_ALONE_MS 200
void bh_sensor_seen_alone(const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage, gpointer data);
gboolean bh_sensor_on_alone(gpointer sensor);
void bh_sensor_print_findings(BhSensor *s, gboolean all);

/* SIGHUP: reads the rule files again, in a thread of its own. A GSourceFunc; `sensor` is the BhSensor. */
gboolean bh_sensor_on_hangup(gpointer sensor);
