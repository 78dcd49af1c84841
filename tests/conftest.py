"""Fixtures of the integration and attack tests: the build under test, a Docker Engine of their own, sensors.

BH_BUILD names the build directory (default: build/), BH_TEST_LOGS a folder that keeps the logs.
"""
import math
import os
import pathlib
import signal
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "integration"))

import central_env  # noqa: E402
import docker_env  # noqa: E402
import sensor_env  # noqa: E402

DEFAULT_DEADLINE = 180

# Files whose tests look at nothing but what they start themselves, and mostly wait: while one of them runs, others may (dev runs them so, by --part). A new file is in only after it passed three times beside others; what
# reads counts of the whole machine, loads it, kills sensors, measures, or watches the node's own files stays out. Those that take longest come first, for they are begun in this order.
BESIDE = (
    "test_central.py",
    "test_graph_central.py",
    "test_central_abuse.py",
    "test_central_http.py",
    "test_central_nodes.py",
    "test_models_nodes.py",
    "test_cli_api.py",
    "test_central_resources.py",
    "test_central_responses.py",
    "test_rules_check.py",
)


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the long forms")
    parser.addoption("--part", choices=("beside", "alone"), help="only the files that may run beside each other (BESIDE in conftest.py), or only the others")
    parser.addoption("--backend", default="auto", choices=("auto", "preferred", "fallback"), help="backend of the sensors")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full"):
        skip = pytest.mark.skip(reason="long form: runs with --full")
        for item in items:
            if "full" in item.keywords:
                item.add_marker(skip)
    part = config.getoption("--part")
    if part:
        chosen = [item for item in items if (item.path.name in BESIDE) == (part == "beside")]
        config.hook.pytest_deselected(items=[item for item in items if (item.path.name in BESIDE) != (part == "beside")])
        items[:] = sorted(chosen, key=lambda item: BESIDE.index(item.path.name)) if part == "beside" else chosen


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """No test hangs the suite: SIGALRM fails it where it stands, after @pytest.mark.deadline(seconds), or later on a busy machine (docker_env.patience())."""
    marker = item.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEFAULT_DEADLINE
    begin = time.monotonic()

    def expire(signum, frame):
        left = seconds * docker_env.patience() - (time.monotonic() - begin)
        if left > 0:
            signal.alarm(math.ceil(left))
            return
        pytest.fail(f"expected to end within {seconds} s, did not", pytrace=True)
    old = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, sensor_env.Sensor):
                report.sections.append((f"sensor log {value.log}", value.log_tail(60)))
            elif isinstance(value, docker_env.DockerEnv) and value.dir:
                report.sections.append((f"dockerd log {value.dir}/dockerd.log", docker_env.tail(value.dir / "dockerd.log", 15)))


def pytest_terminal_summary(terminalreporter):
    """Where the time went: seconds of each file, set-up and clearing away included."""
    seconds = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                name = report.nodeid.split("::")[0]
                seconds[name] = seconds.get(name, 0) + report.duration
    terminalreporter.section("seconds by file")
    for name, sum_of in sorted(seconds.items(), key=lambda f: -f[1]):
        terminalreporter.write_line(f"{sum_of:7.1f} {name}")


@pytest.fixture(scope="session")
def full(request):
    """True when the long forms were asked for."""
    return request.config.getoption("--full")


@pytest.fixture(scope="session")
def backend(request):
    return request.config.getoption("--backend")


@pytest.fixture(scope="session")
def build():
    """The build directory under test; it must hold the programs."""
    path = sensor_env.build_dir()
    for name in ("bulkhead", "bulkhead-sensor"):
        sensor_env.program(path, name)
    return path


@pytest.fixture(scope="session")
def docker():
    """One Docker Engine for the session, with the image docker_env.BASE_IMAGE in it."""
    logs = os.environ.get("BH_TEST_LOGS")
    env = docker_env.DockerEnv(keep_logs=logs and os.path.join(logs, os.environ.get("PYTEST_XDIST_WORKER", "")))
    with env:
        env.import_base_image(sensor_env.build_dir())
        yield env
    left = env.leftovers()
    assert not left, f"expected the test engine to leave nothing behind, saw {left}"


@pytest.fixture(scope="module")
def central():
    """A central of the file's own."""
    with central_env.Central() as c:
        yield c


@pytest.fixture(scope="module")
def root(central):
    return central.root()


@pytest.fixture
def new_sensor(build, docker, backend):
    """new_sensor(**options): starts a ready Sensor on the session's engine; stopped and checked at the test's end."""
    made = []

    def make(**options):
        options.setdefault("docker_host", docker.host)
        options.setdefault("backend", backend)
        sensor = sensor_env.Sensor(build, **options)
        made.append(sensor)
        return sensor.start()
    yield make
    problems = []
    for sensor in made:
        try:
            if sensor.alive:
                sensor.stop()
            sensor.check_sanitizers()
        except AssertionError as e:
            problems.append(str(e))
        finally:
            sensor.close()
    assert not problems, "\n".join(problems)


@pytest.fixture
def sensor(new_sensor):
    """A ready Sensor of the test's own."""
    return new_sensor()
