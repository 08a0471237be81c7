"""OpenAPI 3.1 of the API, made from the table of calls and the types that they read and answer with."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from narrowgate.control.api.calls import PREFIX, Call
from narrowgate.control.api.idempotency import HEADER
from narrowgate.control.api.reading import JSON, MERGE_PATCH, needs_body
from narrowgate.control.problems import CONTENT_TYPE, ProblemDocument
from narrowgate.core.call_rights import RIGHTS, Reach, roles_for

_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")

_DESCRIPTION = """\
The gate's own API. Every call is judged by the caller's roles (`x-narrowgate-roles`: `own` reaches only what is the
caller's own), and is in the trail. Refusals are problem documents (RFC 9457); their `instance` names the entry.
"""


def openapi_document(calls: tuple[Call, ...], url: str, version: str) -> dict[str, Any]:
    """The document of these calls at a gate whose control port is reached at `url`."""
    shapes: set[type[Any]] = {
        kind for call in calls for kind in (call.body, call.answer, call.query) if kind is not None
    }
    shapes.add(ProblemDocument)
    ordered = sorted(shapes, key=lambda kind: kind.__name__)
    references, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(ordered, references, strict=True))
    queries = {call.query.__name__ for call in calls}
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        path = PREFIX + _PARAMETER.sub(r"{\1}", call.path)
        parameters = components[call.query.__name__]["properties"]
        paths.setdefault(path, {})[call.method.lower()] = _operation(call, schemas, parameters)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Narrowgate",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}, {"console": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in queries},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "console": {"type": "apiKey", "in": "cookie", "name": "__Host-narrowgate-session"},
            },
        },
    }


def _operation(call: Call, schemas: dict[type[Any], dict[str, Any]], query: dict[str, Any]) -> dict[str, Any]:
    reaches = RIGHTS[call.action]
    operation: dict[str, Any] = {
        "operationId": call.id,
        "summary": call.summary,
        "tags": [call.resource],
        "x-narrowgate-roles": {
            role.value: "own" if reaches[role] is Reach.OWN else "all" for role in roles_for(call.action)
        },
        "parameters": _parameters(call, query),
        "responses": _responses(call, schemas),
    }
    if call.body is not None:
        content = {JSON: {"schema": schemas[call.body]}}
        if call.method == "PATCH":
            content[MERGE_PATCH] = {"schema": schemas[call.body]}
        operation["requestBody"] = {"required": needs_body(call.body), "content": content}
    return operation


def _parameters(call: Call, query: dict[str, Any]) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in _PARAMETER.findall(call.path)
    ]
    found += [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in query.items()]
    if call.changes:
        found.append({"name": HEADER, "in": "header", "required": False, "schema": text})
    if call.tagged:
        found.append({"name": "If-Match", "in": "header", "required": False, "schema": text})
    return found


def _responses(call: Call, schemas: dict[type[Any], dict[str, Any]]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done."}
    if call.answer is not None:
        done["content"] = {JSON: {"schema": schemas[call.answer]}}
    problem = {"description": "Refused.", "content": {CONTENT_TYPE: {"schema": schemas[ProblemDocument]}}}
    return {str(call.status): done, "default": problem}
