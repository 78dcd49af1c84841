"""Whether a rule that names one system call sees its whole family: every event of a kind, however the act was done, against the rule of families.yaml with the kind's name."""
import collections
import json
import pathlib

RULES = pathlib.Path(__file__).with_name("families.yaml")


def kinds():
    return [line.split()[2] for line in RULES.read_text().splitlines() if line.startswith("- rule: ")]


def missed(sensor, container, events=None):
    """{kind: ids of the container's recorded events that its rule does not tell} for each kind that there are events of. `events`: those of the container, where they were asked for already."""
    of_rules = set(kinds())
    events = [e for e in (sensor.events(container=container) if events is None else events) if e["type"] in of_rules]
    out = sensor.cli("replay", sensor.data_dir / "recorder", "--rules", RULES, "--all", "--json").stdout
    told = collections.defaultdict(set)
    for line in out.splitlines():
        finding = json.loads(line)
        told[finding["rule"]].add(str(finding["output_fields"]["evt.num"]))
    result = {}
    for e in events:
        result.setdefault(e["type"], [])
        if e["id"] not in told[e["type"]]:
            result[e["type"]].append(e["id"])
    return result
