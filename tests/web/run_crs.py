#!/usr/bin/env python3
"""run_crs.py DIRECTORY [--through nginx|apache [--tls]] [--level 4] [--json FILE] [--deviations FILE]... [--all]

Runs web attack tests in the format of the OWASP Core Rule Set's regression tests (YAML files anywhere below DIRECTORY) through the inspector's HTTP parser
and web-attack engine, without a network or a server, and compares the rules that match with what each test asks for.

--through: through all of Bulkhead instead, as root. A client sends each request to that server in a container, which passes it to a back end; compared are the findings, at paranoia level 4.

A test is a stage's input (method, uri, version, headers, data; or encoded_request in base64) and an output: log_contains 'id "N"' must, no_log_contains
must not be there. Requests are written as the tests' own runner writes them: data without Content-Type is a form; a form that has nothing to decode is encoded;
Content-Length is added.

Prints each test that does not come out as asked, with the reason from the file of known deviations (lines "TITLE: reason"), then the sums.
Exit: 0 when all deviations are known, 1 when one is not, a known one did not happen, or the filter does not want an attack; 2 usage.
"""
import argparse
import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

import yaml

HERE = pathlib.Path(__file__).resolve().parent


def request_of(given):
    """The bytes that a client sends for a stage's input."""
    for key in ("encoded_request", "raw_request"):
        if given.get(key):
            return base64.b64decode(given[key]) if key == "encoded_request" else given[key].encode("utf-8", "surrogateescape")
    headers = {str(k): "" if v is None else str(v) for k, v in (given.get("headers") or {}).items()}
    data = given.get("data")
    data = "\r\n".join(str(d) for d in data) if isinstance(data, list) else "" if data is None else str(data)
    names = {k.lower() for k in headers}
    if data and not given.get("stop_magic"):
        if "content-type" not in names:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        kind = next(v for k, v in headers.items() if k.lower() == "content-type")
        if "application/x-www-form-urlencoded" in kind and urllib.parse.unquote(data) == data:
            pairs = urllib.parse.parse_qsl(data)
            if pairs:
                data = urllib.parse.urlencode(pairs)
        if "content-length" not in names:
            headers["Content-Length"] = str(len(data.encode("utf-8", "surrogateescape")))
    head = f"{given.get('method', 'GET')} {given.get('uri', '/')} {given.get('version', 'HTTP/1.1')}\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    return (head + "\r\n" + data).encode("utf-8", "surrogateescape")


def tests_of(directory):
    for path in sorted(pathlib.Path(directory).rglob("*.y*ml")):
        with open(path, encoding="utf-8") as f:
            content = yaml.safe_load(f)
        for test in (content or {}).get("tests", []):
            for stage in test.get("stages", []):
                stage = stage.get("stage", stage)
                yield path.parent.name, str(test.get("test_title", path.name)), stage["input"], stage.get("output") or {}


def known_deviations(path):
    known = {}
    for line in pathlib.Path(path).read_text().splitlines() if path and os.path.exists(path) else []:
        if line.strip() and not line.startswith("#"):
            title, _, reason = line.partition(":")
            known[title.strip()] = reason.strip()
    return known


def judge_all(program, level, requests):
    """One answer for each request, from one run of the program."""
    text = b"".join(b"%d\n%s" % (len(r), r) for r in requests)
    run = subprocess.run([program, "--level", str(level)], input=text, capture_output=True)
    sys.stderr.write(run.stderr.decode(errors="replace"))
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode or len(answers) != len(requests):
        sys.exit(f"run_crs.py: {program} ended with {run.returncode} after {len(answers)} of {len(requests)} requests")
    return answers


def wanted(output):
    """(rule number, whether it must be there) for each condition that a log can show."""
    for key, must in (("log_contains", True), ("no_log_contains", False)):
        value = output.get(key)
        for one in value if isinstance(value, list) else [value] if value else []:
            number = re.search(r'id "(\d+)"', str(one))
            if number:
                yield int(number[1]), must


def compare(tests, got, known, also=lambda i: ""):
    """What did not come out as asked. got: a set of rule numbers for each test. Gives ([lines to print], {title}, sums by group, results)."""
    lines, seen, sums, results = [], set(), {}, []
    for i, (group, title, _, output) in enumerate(tests):
        asked = list(wanted(output))
        wrong = [f"{'no ' if must else ''}rule {number}{'' if must else ', which must not match'}" for number, must in asked if (number in got[i]) != must]
        state = "not checked" if not asked else "deviates" if wrong else "as asked"
        sums.setdefault(group, {"as asked": 0, "deviates": 0, "not checked": 0})[state] += 1
        results.append({"group": group, "title": title, "state": state, "asked": asked, "got": sorted(got[i])})
        if wrong:
            seen.add(title)
            lines.append(f"{title}: {'; '.join(wrong)}; got {' '.join(map(str, sorted(got[i]))) or 'nothing'}{also(i)}  [{known.get(title, 'NOT KNOWN')}]")
    return lines, seen, sums, results


def verdict(tests, seen, known):
    """(titles that deviate and are not known to, titles that are known to and do not)."""
    titles = {title for _, title, _, _ in tests}
    return sorted(seen - set(known)), sorted(t for t in known if t in titles and t not in seen)


def deviations_of(server):
    """Files of deviations through this server: the engine's, and the server's own."""
    return [HERE / "crs_deviations.txt"] + ([HERE / f"crs_deviations_{server}.txt"] if server else [])


def known_of(paths):
    known = {}
    for path in paths:
        known.update(known_deviations(path))
    return known


def judged(tests, args):
    """Through parser and engine alone: (rules, what to print behind a test, attacks that the filter does not want)."""
    answers = judge_all(args.program, args.level, [request_of(given) for _, _, given, _ in tests])
    got = [{rule["id"] for request in answer["requests"] for rule in request["rules"]} for answer in answers]
    missed = 0
    for (_, _, given, output), answer in zip(tests, answers):
        attack = [number for number, must in wanted(output) if must]
        if attack and not any(request["wanted"] for request in answer["requests"]):
            missed += 1
            print(f"the filter does not want a request that rule {attack[0]} is asked of: {given.get('uri', '/')} {str(given.get('data') or '')[:80]!r}")
    took = sorted(request["us"] for answer in answers for request in answer["requests"])
    print(f"the engine took {took[len(took) // 2]} us a request at the median, {took[-1]} us at most; {missed} attacks are not wanted by the filter")

    def also(i):
        anomalies = sorted({a for request in answers[i]["requests"] for a in request["anomalies"]})
        return f" ({', '.join(anomalies)})" if anomalies else ""
    return got, also, missed


def through(tests, args):
    """The same, through a server and all of Bulkhead."""
    import crs_live

    if not crs_live.installed(args.through):
        sys.exit(f"run_crs.py: {args.through} is not installed (Debian packages nginx, apache2-bin)")
    with crs_live.platform() as (docker, sensor, root):
        answers, losses = crs_live.run(docker, sensor, root, args.through, [request_of(given) for _, _, given, _ in tests], args.tls)
    if any(losses.values()):
        sys.exit(f"run_crs.py: not all of the traffic was looked at: {losses}")
    return [rules for _, rules in answers], lambda i: f" (answered {answers[i][0]})", 0


def main():
    build = os.environ.get("BH_BUILD", str(HERE.parents[1] / "build"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--through", choices=("nginx", "apache"), help="send them through this server in a container")
    parser.add_argument("--tls", action="store_true", help="with --through: over TLS")
    parser.add_argument("--level", type=int, choices=range(1, 5), default=4, help="paranoia level (4)")
    parser.add_argument("--program", default=os.path.join(build, "tests/web/judge"), help="the judge (of the build in BH_BUILD)")
    parser.add_argument("--deviations", action="append", help="known deviations, instead of ours")
    parser.add_argument("--json", help="also write every test's result to this file")
    parser.add_argument("--all", action="store_true", help="print the tests that come out as asked, too")
    args = parser.parse_args()

    if args.through and args.level != 4:
        parser.error("--through is at level 4")
    tests = list(tests_of(args.directory))
    if not tests:
        print(f"run_crs.py: no test in {args.directory}", file=sys.stderr)
        return 2
    known = known_of(args.deviations or deviations_of(args.through))
    got, also, missed = (through if args.through else judged)(tests, args)
    lines, seen, sums, results = compare(tests, got, known, also)
    print("\n".join(lines))
    for r in results if args.all else []:
        if r["state"] != "deviates":
            print(f"{r['title']}: {r['state']}; got {' '.join(map(str, r['got'])) or 'nothing'}")
    for group, of in sums.items():
        print(f"{group}: " + ", ".join(f"{n} {what}" for what, n in of.items()))
    new, gone = verdict(tests, seen, known)
    gone = gone if args.level == 4 else []
    print(f"{len(tests)} tests: {sum(of['as asked'] for of in sums.values())} as asked, {len(seen)} deviate ({len(new)} of them not known), {sum(of['not checked'] for of in sums.values())} not checked")
    for title in gone:
        print(f"{title} is in the list of known deviations and comes out as asked")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=1))
    return 1 if new or gone or missed else 0


if __name__ == "__main__":
    sys.exit(main())
