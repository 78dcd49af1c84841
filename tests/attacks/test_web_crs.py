"""The Core Rule Set's own requests, sent by a client through nginx and Apache in containers to a back end: each gives the finding that its file asks for, and none where it must not.

What comes out otherwise stands in tests/web/crs_deviations*.txt with its reason, one by one; what stands there and comes out as asked is a failure, too.
"""
import pathlib
import sys

import central_env
import pytest

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parents[1]
sys.path.insert(0, str(REPO / "tests" / "web"))

import crs_live  # noqa: E402
import run_crs  # noqa: E402

REQUESTS = REPO.parent / "shared" / "data" / "crs-requests"


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend, tls):
    """Another one over TLS: of one sensor's findings within a minute no more than BH_NET_ALERTS_KEYS are told apart, and each run has over a thousand."""
    with central_env.connected_sensor(build, docker, central, backend, web=True) as s:
        yield s


def sees_tls(sensor):
    """Whether this sensor takes the clear text of TLS libraries at all."""
    return "tls" in sensor.status()["web"]


@pytest.mark.deadline(400)
@pytest.mark.parametrize("tls", [pytest.param(False, id="clear"), pytest.param(True, id="tls")], scope="module")
@pytest.mark.parametrize("server", crs_live.SERVERS)
def test_requests_of_the_rule_set(docker, sensor, central, server, tls):
    if not REQUESTS.is_dir():
        pytest.skip("the data set of requests is not beside this tree")
    if not crs_live.installed(server):
        pytest.skip(f"{server} is not installed")
    if tls and not sees_tls(sensor):
        pytest.skip("this sensor does not take the clear text of TLS")
    tests = list(run_crs.tests_of(REQUESTS))
    assert len(tests) > 1000, len(tests)
    answers, losses = crs_live.run(docker, sensor, central.root(), server, [run_crs.request_of(given) for _, _, given, _ in tests], tls)
    assert losses == {"lost": {}, "skipped": 0, "coarse": 0}, losses
    known = run_crs.known_of(run_crs.deviations_of(server))
    lines, seen, sums, _ = run_crs.compare(tests, [rules for _, rules in answers], known, lambda i: f" (answered {answers[i][0]})")
    new, gone = run_crs.verdict(tests, seen, known)
    assert not new, "\n".join(line for line in lines if "[NOT KNOWN]" in line)
    assert not gone, f"known to deviate, and came out as asked: {gone}"
    assert sum(of["as asked"] for of in sums.values()) > 1000, sums
