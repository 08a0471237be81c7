"""What a request means to Kubernetes, as k8s.io/apiserver/pkg/endpoints/request/requestinfo.go reads it."""

from __future__ import annotations

import msgspec


class RequestInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The API server's own reading of method and target. Field meanings follow `request.RequestInfo` in Go."""

    is_resource_request: bool
    path: str
    verb: str
    api_prefix: str = ""
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()
    field_selector: str = ""
    label_selector: str = ""
