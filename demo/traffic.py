"""Users of the demo shop: planned from a seed, then played; what they caused is recorded as the Truth.

plan(duration, seed) is the same for the same arguments: sessions of several kinds of users, with think times, arriving in waves. It is played open-loop: a
slow shop makes the sessions later, never fewer. Acts of an operator go on beside them (docker exec, short-lived containers, a replica that restarts).
"""
import collections
import dataclasses
import http.client
import math
import random
import secrets
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from . import topology
from .engine import EngineError
from .forms import DemoError

KINDS = {"browser": 40, "searcher": 20, "buyer": 20, "crawler": 6, "admin": 6, "supplier": 4, "clerk": 4}
WORDS = ["lamp", "rope", "anchor", "compass", "bell", "bucket", "cleat", "pulley", "brass", "oak", "iron", "hemp", "canvas", "o", "submarine"]
GOOD_CARD, BAD_CARD = "4111 1111 1111 1111", "4111 1111 1111 1112"
PRODUCTS = 40
WAVE_S = 60  # from calm to busy and back
THREADS = 24
OPERATOR = [("cache", ["redis-cli", "info", "clients"]), ("api", ["ps", "aux"]), ("db", ["psql", "-U", "postgres", "-d", "shop", "-Atc", "SELECT count(*) FROM orders"]),
            ("front", ["nginx", "-t"]), ("worker", ["ls", "-l", "/srv/invoices"]), ("cron", ["ls", "-l", "/backup"])]

Step = collections.namedtuple("Step", "think action argument")
Session = collections.namedtuple("Session", "start kind number steps")
Act = collections.namedtuple("Act", "start kind argument")
Plan = collections.namedtuple("Plan", "sessions acts")


def _steps(kind, rng):
    def think(mean=0.7):
        return min(rng.expovariate(1 / mean), 4 * mean)

    def product():
        return Step(think(), "product", rng.randint(1, PRODUCTS))
    if kind == "browser":
        return [Step(0, "home", None), *(product() for _ in range(rng.randint(1, 5))), *([Step(think(), "terms", None)] if rng.random() < 0.2 else [])]
    if kind == "searcher":
        return [Step(0, "home", None), *(Step(think(), "search", rng.choice(WORDS)) for _ in range(rng.randint(1, 3))), product()]
    if kind == "crawler":
        first = rng.randint(1, PRODUCTS - 8)
        return [Step(0, "home", None), *(Step(0.05, "product", first + i) for i in range(8))]
    if kind == "admin":
        return [Step(0, "home", None), Step(think(), "login", None), Step(think(), "admin", None), Step(think(), "lookup", rng.choice(["payments", "db", "cache"])),
                Step(think(), "admin", None)]
    if kind == "supplier":
        name = f"picture-{rng.randint(1, 30)}.jpg"
        return [Step(0, "upload", (name, rng.randint(2000, 60000), rng.getrandbits(32))), Step(think(), "picture", name)]
    if kind == "clerk":
        return [Step(0 if i == 0 else think(), "sales", None) for i in range(rng.randint(1, 3))]
    steps = [Step(0, "home", None), Step(think(), "search", rng.choice(WORDS[:-1]))]
    for _ in range(rng.randint(1, 3)):
        steps += [product(), Step(think(), "cart_add", (rng.randint(1, PRODUCTS), rng.randint(1, 4)))]
    steps += [Step(think(), "cart", None), Step(think(), "declined" if rng.random() < 0.1 else "checkout", f"user{rng.randint(1, 500)}@example.com")]
    return steps + ([Step(think(1.5), "order", None)] if steps[-1].action == "checkout" else [])


def plan(duration, seed, rate=1.0, restarts=None):
    """Sessions and operator's acts of so many seconds: about `rate` sessions a second. restarts: how many replicas (None: one each 90 s)."""
    rng = random.Random(f"demo {seed}")
    sessions, at = [], 0.0
    first = list(KINDS)  # each kind is there from the beginning
    rng.shuffle(first)
    while True:
        # A Poisson process whose rate goes up and down.
        at += rng.expovariate(rate * 1.4)
        if at >= duration * 0.9:
            break
        if rng.random() < (1 - 0.4 * math.cos(2 * math.pi * at / WAVE_S)) / 1.4:
            kind = first.pop() if first else rng.choices(list(KINDS), list(KINDS.values()))[0]
            sessions.append(Session(at, kind, len(sessions), _steps(kind, random.Random(f"demo {seed} {len(sessions)}"))))
    acts = [Act(t, "exec", rng.randrange(len(OPERATOR))) for t in _times(rng, duration, 12)] + [Act(t, "job", None) for t in _times(rng, duration, 15)]
    count = int(duration // 90) if restarts is None else restarts
    acts += [Act(duration * (i + 0.6) / max(count, 1), "restart", rng.choice(["api", "worker"])) for i in range(count)]
    return Plan(sessions, sorted(acts))


def _times(rng, duration, every):
    return [min(t + rng.uniform(-3, 3), duration * 0.95) for t in range(5, int(duration), every)]


@dataclasses.dataclass
class Truth:
    """What one run caused. Edges count the actions that used them, see topology."""
    run: str = ""
    requests: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # (service, method, path without query): answers, repeated ones too
    actions: collections.Counter = dataclasses.field(default_factory=collections.Counter)   # actions of users that succeeded
    edges: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    served: collections.Counter = dataclasses.field(default_factory=collections.Counter)    # answers by the container (id, 12 digits) of api or reports
    orders: list = dataclasses.field(default_factory=list)
    failed: list = dataclasses.field(default_factory=list)      # actions given up, with the reason
    repeated: list = dataclasses.field(default_factory=list)    # answers and errors after which a request was made again
    acts: list = dataclasses.field(default_factory=list)        # (time, kind, what) of the operator
    restarted: list = dataclasses.field(default_factory=list)   # containers that went
    begun: float = 0.0
    ended: float = 0.0

    def add(self, other):
        for field in ("requests", "actions", "edges", "served"):
            getattr(self, field).update(getattr(other, field))
        for field in ("orders", "failed", "repeated", "acts", "restarted"):
            getattr(self, field).extend(getattr(other, field))
        self.ended = other.ended


class Traffic:
    """One run. stop() ends it early; .truth grows meanwhile."""

    def __init__(self, shop, duration, seed=1, rate=1.0, restarts=None, operator=True):
        self.shop, self.duration = shop, duration
        self.plan = plan(duration, seed, rate, restarts)
        if not operator:
            self.plan = Plan(self.plan.sessions, [])
        self.truth = Truth(run=secrets.token_hex(4))
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self):
        t = self.truth
        t.begun = time.time()
        begun = time.monotonic()
        jobs = sorted([(s.start, self._session, s) for s in self.plan.sessions] + [(a.start, self._act, a) for a in self.plan.acts], key=lambda j: j[0])
        with ThreadPoolExecutor(THREADS) as pool:
            started = []
            for start, call, what in jobs:
                if self._stop.wait(max(0, begun + start - time.monotonic())):
                    break
                started.append(pool.submit(call, what))
            else:
                self._stop.wait(max(0, begun + self.duration - time.monotonic()))
        for job in started:
            job.result()  # our own mistakes
        t.ended = time.time()
        return t

    def stop(self):
        self._stop.set()

    # ---- users ----

    def _session(self, session):
        state = {"cookie": "", "order": None, "agent": f"Mozilla/5.0 (X11; Linux x86_64) demo/{session.kind}"}
        for step in session.steps:
            if self._stop.wait(step.think):
                return
            try:
                self._do(step, state)
            except (OSError, http.client.HTTPException, DemoError, EngineError) as e:
                with self._lock:
                    self.truth.failed.append(f"{session.kind} {step.action}: {e}")
                return  # as people do

    def _do(self, step, state):
        action, x = step.action, step.argument
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        ok, service, body, headers = (200,), "front", None, {}
        method = "GET"
        if action in ("home", "cart", "sales"):
            path = {"home": "/", "cart": "/cart", "sales": "/sales"}[action]
            service = "reports" if action == "sales" else service
        elif action == "product":
            path = f"/product?id={x}"
        elif action == "search":
            path = f"/search?q={x}"
        elif action == "cart_add":
            method, path = "POST", f"/cart?id={x[0]}&n={x[1]}"
        elif action in ("checkout", "declined"):
            method, path, headers = "POST", "/checkout", form
            ok = (200,) if action == "checkout" else (402,)
            body = urllib.parse.urlencode({"email": x, "card": GOOD_CARD if action == "checkout" else BAD_CARD})
        elif action == "order":
            path = f"/order?id={state['order']}"
        elif action == "login":
            method, path, headers = "POST", "/login", form
            body = urllib.parse.urlencode({"name": "harbourmaster", "password": "fair-winds"})
        elif action == "admin":
            path = "/admin/orders"
        elif action == "lookup":
            path = f"/tools/lookup?host={x}"
        elif action == "terms":
            path = "/download?file=terms.txt"
        elif action == "upload":
            method, path, body = "POST", f"/upload?name={x[0]}", random.Random(x[2]).randbytes(x[1])
        else:
            path = f"/uploads/{x}"
        answer = self._ask(service, method, path, body, headers, state, ok)
        with self._lock:
            self.truth.actions[action] += 1
            self.truth.edges.update(topology.ACTIONS[action])
            if action == "checkout":
                state["order"] = int(answer.json["order"])
                self.truth.orders.append(state["order"])

    def _ask(self, service, method, path, body, headers, state, ok):
        """The answer, also when the first tries meet a replica that restarts."""
        headers = {"User-Agent": state["agent"], "X-Demo-Run": self.truth.run, "Accept": "application/json", **headers}
        for tries in range(6):
            if state["cookie"]:
                headers["Cookie"] = f"sid={state['cookie']}"
            problem = None
            try:
                answer = self.shop.request(method, path, body, headers, service=service, timeout=30)
            except (OSError, http.client.HTTPException) as e:
                problem = f"{method} {path}: {e or type(e).__name__}"
            else:
                with self._lock:
                    self.truth.requests[service, method, path.split("?")[0]] += 1
                    if "X-Served-By" in answer.headers:
                        self.truth.served[answer.headers["X-Served-By"]] += 1
                if cookie := answer.headers.get("Set-Cookie"):
                    state["cookie"] = cookie.split(";")[0].split("=", 1)[1]
                if answer.status in ok:
                    return answer
                problem = f"{method} {path}: {answer.status} {answer.text[-300:]}"
                if answer.status not in (502, 503, 504):
                    raise DemoError(problem)
            with self._lock:
                self.truth.repeated.append(problem)
            if self._stop.wait(0.3 * 2 ** tries):
                break
        raise DemoError(problem)

    # ---- the operator ----

    def _act(self, act):
        try:
            if act.kind == "exec":
                service, argv = OPERATOR[act.argument]
                status, out = self.shop.execute(service, argv)
                what = f"{service}: {' '.join(argv)}"
                if status != 0:
                    raise DemoError(f"{what}: status {status}: {out[-300:]}")
            elif act.kind == "job":
                what = self.shop.run_job().strip()
            else:
                gone = self.shop.restart_replica(act.argument)
                what = gone.name
                with self._lock:
                    self.truth.restarted.append(gone)
        except (EngineError, DemoError) as e:
            with self._lock:
                self.truth.failed.append(f"operator {act.kind}: {e}")
            return
        with self._lock:
            self.truth.acts.append((time.time(), act.kind, what))
            if act.kind == "job":
                self.truth.edges.update(topology.ACTIONS["job"])


def planned(made):
    """action -> how often the plan does it, when nothing fails."""
    return collections.Counter(step.action for s in made.sessions for step in s.steps)
