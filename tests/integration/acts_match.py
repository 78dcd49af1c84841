"""Compares what the acts program says it did (one JSON line per act) with the events that the sensor gave.

An act matches an event of its type, by the same process, within the act's time, whose fields agree with the act's
facts: a fact that is named like an event's field must have the field's value. Facts without a field are for other tests.
"""
import json

# Keys of an act's line that are about the act, not facts about its object.
ABOUT = {"act", "form", "type", "syscall", "arch", "seq", "pid", "tid", "ret", "errno", "counts", "t0", "t1", "supported", "why"}
# Between the act's clock reading and the kernel's own.
SLACK_NS = 50_000_000


def read_acts(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def name(act):
    return f"{act['act']}.{act['form']}/{act.get('arch', '?')}"


def disagreements(act, event, ignore=()):
    """Fields of the event that say otherwise than the act: "field: expected X, saw Y"."""
    out = []
    for key, value in act.items():
        if key in ABOUT or key in ignore or key not in event:
            continue
        if event[key] != value:
            out.append(f"{key}: expected {value!r}, saw {event[key]!r}")
    if "result" in event and act["ret"] is not None:
        if act["errno"] and event.get("error") != act["errno"]:
            out.append(f"error: expected {act['errno']}, saw {event.get('error')!r} (result {event['result']})")
        elif not act["errno"] and event["result"] < 0:
            out.append(f"result: expected success, saw {event['result']}")
    return out


class Matcher:
    """Events by type and process; check(act) for each act of the same time."""

    def __init__(self, events):
        self.by_key = {}
        for e in events:
            self.by_key.setdefault((e["type"], e.get("proc.pid")), []).append(e)

    def candidates(self, act):
        return [e for e in self.by_key.get((act["type"], act["pid"]), ())
                if act["t0"] - SLACK_NS <= e["boottime"] <= act["t1"] + SLACK_NS]

    def check(self, act, ignore=(), require=()):
        """Problems of one act, [] when an event tells it rightly. `require`: fields that the event must have."""
        if act.get("crashed"):
            return [f"the act itself died: {act}"]
        seen = self.candidates(act)
        if not act["counts"]:
            return [f"expected no {act['type']} event, saw {json.dumps(e)[:600]}" for e in seen[:1]]
        if not seen:
            near = [t for t, pid in self.by_key if pid == act["pid"]]
            return [f"expected a {act['type']} event of process {act['pid']}, saw only {sorted(near)} of it", f"act: {json.dumps(act)[:600]}"]
        best = None
        for e in seen:
            problems = disagreements(act, e, ignore) + [f"{f}: missing" for f in require if f not in e]
            if not problems:
                return []
            if best is None or len(problems) < len(best[0]):
                best = problems, e
        return best[0] + [f"act:   {json.dumps(act)[:600]}", f"event: {json.dumps(best[1])[:600]}"]
