"""Which accounts the pods of an object may run as after a patch, without knowing what the patch makes of it.

Those that it names now, those that the patch names, and `default` wherever the patch may have taken a name away. That
is more than enough, so that nothing has to be tried out first.
"""

from __future__ import annotations

from typing import Any

from narrowgate.core.patches import laid, written
from narrowgate.core.pod_templates import restart_of, templates_of, touches_metadata_alone
from narrowgate.core.pods_seen import DEFAULT_ACCOUNT
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.uses import JSON_PATCH, POD_SPECS

_APPLY = "application/apply-patch+yaml"


def changes_pods(info: RequestInfo, content_type: str, patch: Any) -> bool:
    """Whether a patch may change what runs, or how much of it; False only where it shows that it does not."""
    if content_type == _APPLY:
        # What it leaves out it may take away.
        return True
    if content_type != JSON_PATCH:
        return not touches_metadata_alone(info, patch)
    place = POD_SPECS.get((info.api_group, info.resource))
    if place is None or not isinstance(patch, list):
        return True
    restart = "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in restart_of(place))
    return not all(
        isinstance(operation, dict)
        and operation.get("op") in ("add", "replace", "remove", "test")
        and (str(operation.get("path")).startswith("/metadata/") or operation.get("path") == restart)
        for operation in patch
    )


def accounts_after(info: RequestInfo, content_type: str, patch: Any, old: Any) -> tuple[str, ...]:
    """The names, each once; `old` is the object as it is now, None where there is none. Raises Malformed."""
    is_json_patch = content_type == JSON_PATCH
    fragments = [laid(write) for write in written(patch) if write.shown] if is_json_patch else [patch]
    templates = [template for one in (old, *fragments) if one is not None for template in templates_of(info, one)]
    names = [name for template in templates for name in template.accounts]
    if old is not None and (is_json_patch or content_type == _APPLY):
        names.append(DEFAULT_ACCOUNT)
    return tuple(dict.fromkeys(names))
