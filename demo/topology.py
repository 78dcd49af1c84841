"""What in the demo talks to what, as its applications are written: the truth that maps are compared with.

An Edge's source is who connects. OUTSIDE is this machine (a published port's proxy, or the driver itself). Besides these every container asks
Docker's name server at 127.0.0.11:53, which is inside its own network namespace, and health checks ask the container's own loopback address.
"""
import collections

OUTSIDE = "outside"
PORTS = {"front": 80, "api": 8000, "payments": 8080, "cache": 6379, "db": 5432, "reports": 8080, "memo": 11211, "broker": 1883}

Edge = collections.namedtuple("Edge", "source target port protocol")


def edge(source, target):
    return Edge(source, target, PORTS[target], "tcp")


def edges(*pairs):
    return tuple(edge(*p.split(">")) for p in pairs)


# Without any traffic: opened at the start and kept (pools, subscriptions), or by the start's own checks.
BACKGROUND = frozenset(edges("api>cache", "api>db", "api>payments", "front>api", "worker>cache", "worker>db", "worker>broker", "reports>db", "reports>memo",
                             "reports>broker", f"{OUTSIDE}>front", f"{OUTSIDE}>reports"))
# By the cron container's jobs.
JOBS = {"report": edges("cron>reports"), "backup": edges("cron>db"), "vacuum": edges("cron>db")}

# By an action of a user. The first ones of each carry one connection for each request, the others are mostly kept open.
_WEB = edges(f"{OUTSIDE}>front", "front>api")
_WORK = edges("worker>cache", "worker>db", "worker>broker")
ACTIONS = {
    "home": _WEB + edges("api>cache", "api>db"),
    "product": _WEB + edges("api>cache", "api>db"),
    "search": _WEB + edges("api>db"),
    "cart_add": _WEB + edges("api>cache"),
    "cart": _WEB + edges("api>cache"),
    "checkout": _WEB + edges("api>payments", "api>cache", "api>db") + _WORK,
    "declined": _WEB + edges("api>payments", "api>cache", "api>db"),
    "order": _WEB + edges("api>db"),
    "login": _WEB + edges("api>cache", "api>db"),
    "admin": _WEB + edges("api>cache", "api>db"),
    "lookup": _WEB,
    "terms": _WEB,
    "upload": _WEB,
    "picture": _WEB,
    "sales": edges(f"{OUTSIDE}>reports", "reports>memo"),
    "job": edges("cron>reports", "reports>memo"),
}
# One connection for each request, or more where nginx tries another replica.
PER_REQUEST = frozenset(edges(f"{OUTSIDE}>front", "front>api", "api>payments", f"{OUTSIDE}>reports", "cron>reports"))

# Never, unless somebody attacks: what a finding of lateral movement is about. Not complete.
NEVER = frozenset(edges("front>db", "front>cache", "front>payments", "payments>db", "memo>db", "cache>db", "db>payments", "api>broker", "api>reports"))
