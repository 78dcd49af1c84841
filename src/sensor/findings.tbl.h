/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the sensor's own events are findings.
 *
 * BH_FINDING(action, "rule", "priority")
 *   action    of the event (type "sensor")
 *   rule      name for people
 *   priority  one of Falco's: emergency alert critical error warning notice informational debug
 */
BH_FINDING("hook_lost", "Hook of the sensor without effect", "critical")
BH_FINDING("hook_refused", "Hook refused by the kernel", "warning")
BH_FINDING("gap", "Nothing was seen while the sensor was away", "critical")
BH_FINDING("returned", "Sensor ended unexpectedly and returned", "error")
BH_FINDING("was_stopped", "Sensor did not run for a while", "warning")
BH_FINDING("lost", "Events lost in the kernel", "error")
BH_FINDING("writes_forgotten", "Files written by processes that ended unseen", "notice")
BH_FINDING("evidence_broken", "Chain of evidence was tampered with", "critical")
BH_FINDING("response_blocked", "Blocked", "warning")
BH_FINDING("response_lost", "Container is not held any more", "critical")
BH_FINDING("names_full", "Addresses of refused names were left out", "error")
BH_FINDING("response_gap", "Container was not held for a while", "warning")
BH_FINDING("response_strays", "Processes left a held container", "warning")
BH_FINDING("keeper_lost", "Denials of files were not in force", "critical")
BH_FINDING("keeper_stuck", "Keeper of file denials was started anew", "warning")
BH_FINDING("policy_limit", "Policy reached its limit", "warning")
BH_FINDING("recorder_degraded", "Flight recorder cannot write", "error")
BH_FINDING("config_restored", "Configuration of the kernel programs changed", "critical")
BH_FINDING("pins_restored", "Pins of the kernel programs removed", "critical")
BH_FINDING("cgroups_restored", "Map of cgroups changed", "critical")
BH_FINDING("socket_restored", "Control socket removed", "critical")
BH_FINDING("canary_lost", "Canary of the sensor ended or stopped", "critical")
BH_FINDING("runtime_lost", "Container runtime lost", "warning")
BH_FINDING("spool_damaged", "Spool of messages was damaged", "error")
BH_FINDING("pattern_limit", "Pattern of a rule takes more than it may", "warning")
BH_FINDING("rules_cut", "Event with more than rules can look at", "warning")
BH_FINDING("observations_full", "More behaviour than is told apart", "notice")
BH_FINDING("peers_full", "More connections than are told apart", "notice")
BH_FINDING("inspector_lost", "Inspector ended and was started again", "warning")
BH_FINDING("inspector_away", "Inspector cannot be started", "error")
