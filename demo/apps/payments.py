"""Charges cards. No real ones."""
import itertools
import json
import threading
import time

import service
from service import Reply

KEY = "sk_demo_51H8q2kV3kqXh0"  # what a request forgery finds here
numbers = itertools.count(int(time.time()))
lock = threading.Lock()


def valid(card):
    """The check digit (Luhn)."""
    digits = [int(c) for c in card if c.isdigit()]
    if len(digits) < 12:
        return False
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))) % 10 == 0


def charge(request):
    wanted = json.loads(request.body())
    time.sleep(0.02)  # the bank
    if not valid(wanted["card"]):
        raise Reply(402, "declined\n")
    with lock:
        number = next(numbers)
    service.log("charged", wanted["amount"])
    return {"id": f"pay_{number:x}_{service.HOST}"}


service.serve(8080, {("GET", "/healthz"): lambda r: Reply(200, "ok\n"), ("POST", "/charge"): charge,
                     ("GET", "/internal/keys"): lambda r: {"key": KEY}})
