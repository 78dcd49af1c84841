/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tactics of MITRE ATT&CK, in the order in which an attack goes through them.
 *
 *     BH_TACTIC(ID, "name", "title", "tag")
 *
 * name: in the API and the store; tag: what rules carry. Numbers are their places, and stand in the store as bits (incidents.tactics): new ones go to the end.
 */
BH_TACTIC(RECONNAISSANCE, "reconnaissance", "Reconnaissance", "mitre_reconnaissance")
BH_TACTIC(INITIAL_ACCESS, "initial-access", "Initial access", "mitre_initial_access")
BH_TACTIC(EXECUTION, "execution", "Execution", "mitre_execution")
BH_TACTIC(PERSISTENCE, "persistence", "Persistence", "mitre_persistence")
BH_TACTIC(PRIVILEGE_ESCALATION, "privilege-escalation", "Privilege escalation", "mitre_privilege_escalation")
BH_TACTIC(DEFENSE_EVASION, "defense-evasion", "Defense evasion", "mitre_defense_evasion")
BH_TACTIC(CREDENTIAL_ACCESS, "credential-access", "Credential access", "mitre_credential_access")
BH_TACTIC(DISCOVERY, "discovery", "Discovery", "mitre_discovery")
BH_TACTIC(LATERAL_MOVEMENT, "lateral-movement", "Lateral movement", "mitre_lateral_movement")
BH_TACTIC(COLLECTION, "collection", "Collection", "mitre_collection")
BH_TACTIC(COMMAND_AND_CONTROL, "command-and-control", "Command and control", "mitre_command_and_control")
BH_TACTIC(EXFILTRATION, "exfiltration", "Exfiltration", "mitre_exfiltration")
BH_TACTIC(IMPACT, "impact", "Impact", "mitre_impact")
#undef BH_TACTIC
