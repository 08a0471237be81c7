"""Requests that may take as long as they like: which those are, and how often what allowed them is looked at again."""

from __future__ import annotations

from narrowgate.core.identity import Identity
from narrowgate.core.task_limits import TELL_SECONDS
from narrowgate.core.understand import is_proxied, is_streaming
from narrowgate.proxy.exchange import Exchange, Understood


def is_stream(what: Understood) -> bool:
    """Whether a request counts against how many streams a task may have at one time: all that may take as long as they
    like, but for logs that are not followed.

    The API server takes every `follow` but "0" and "false" for a yes (k8s.io/apimachinery/pkg/runtime/conversion.go,
    `Convert_Slice_string_To_bool`).
    """
    if what.intent.info.subresource != "log":
        return is_long_running(what)
    return any(key == "follow" and value.lower() not in ("0", "false") for key, value in what.target.query)


def is_cut(what: Understood) -> bool:
    """Whether a log may end in the middle of a line, wherever its reader would have it."""
    return what.intent.info.subresource == "log" and any(key == "limitBytes" for key, _ in what.target.query)


def is_long_running(what: Understood) -> bool:
    """Whether an answer may take as long as it likes, as k8s.io/apiserver/pkg/server/filters/longrunning.go has it."""
    info = what.intent.info
    if info.verb == "watch" or is_proxied(info):
        return True
    return info.subresource in ("exec", "attach", "portforward", "log")


def recheck_seconds(exchange: Exchange, sender: Identity) -> float | None:
    """How often a running request is looked at although nothing has changed; None: never."""
    if exchange.taken is None or not exchange.taken.streams:
        return sender.recheck_seconds
    return TELL_SECONDS if sender.recheck_seconds is None else min(TELL_SECONDS, sender.recheck_seconds)


def is_refused_exec(what: Understood, code: int) -> bool:
    """Whether an exec, attach or port-forward ended with the API server's refusal, which is short."""
    return is_streaming(what.intent.info) and code >= 400
