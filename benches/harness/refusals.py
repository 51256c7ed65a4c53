"""Which target cannot do a case at all: each is asked, with the first requests of that kind of load."""

import socket

from .processes import Failed
from .resp import Client

REQUESTS = {
    "multi": [("MULTI",), ("GET", "probe"), ("SET", "probe", "x"), ("EXEC",)],
    "blpop": [("RPUSH", "probe:list", "x"), ("BLPOP", "probe:list", "1")],
    "pubsub": [("SUBSCRIBE", "probe:channel"), ("UNSUBSCRIBE", "probe:channel")],
}
# These two speak Redis as Redis does. If one of them refuses, it is a fault that must not look like a dash.
NEVER = ("direct", "redhold")


def ask_all(stage, cases):
    """The reason by name of the case and of the target, for those that refuse."""
    found, asked = {}, {}
    for case in cases:
        for target in stage.targets:
            known = (case.mix, target.name)
            if known not in asked:
                asked[known] = refusal(target, case.mix)
            if asked[known]:
                found.setdefault(case.name, {})[target.name] = asked[known]
    return found


def refusal(target, mix):
    """What the target says against such requests, one at a time; None when it executes them."""
    reason = None
    try:
        with Client(target.port) as client:
            for request in REQUESTS.get(mix, []):
                reason = _against(client, request)
                if reason:
                    break
    except socket.timeout:
        raise Failed(f"{target.name}: no reply to {request[0]}") from None
    if reason and target.name in NEVER:
        raise Failed(f"{target.name}: {reason}")
    return reason


def _against(client, request):
    try:
        client.ask(*request)
    except RuntimeError as error:
        return f"{request[0]}: `-{error}`"
    except ConnectionError:
        return f"{request[0]}: closes the connection"
    return None
