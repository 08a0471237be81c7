"""`narrowgate mask`: an object of one's own as an agent would see it."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from narrowgate.cli.failure import DONE, Failed
from narrowgate.cli.output import note, write_json

if TYPE_CHECKING:
    from narrowgate.core.identity import Chain
    from narrowgate.core.mask_trial import Difference, ResourceName, Seen
    from narrowgate.core.policy import Policy

BESIDE = 24
"""Characters shown on each side of what differs within one line."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the command line; empty means not given."""

    file: Path
    policies: Path | None
    whom: tuple[str, ...]
    groups: tuple[str, ...]
    cluster: str
    resource: str | None


@click.group()
def mask() -> None:
    """Masks: see what they do to an object."""


@mask.command("try")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--policies", type=click.Path(path_type=Path), help="Policy file or folder with masks and reveals.")
@click.option("--as", "whom", multiple=True, metavar="KIND:NAME", help="Who looks; several for a chain, root first.")
@click.option("--group", "groups", multiple=True, help="A group of the one who looks.")
@click.option("--cluster", default="", help="Cluster; may be left out where the policies name one.")
@click.option(
    "--resource",
    metavar="RESOURCE[.GROUP][/SUBRESOURCE]",
    help="What it is an object of; needed for kinds that are not Kubernetes' own.",
)
@click.option(
    "-o", "--output", type=click.Choice(["diff", "yaml", "json"]), default="diff", show_default=True,
    help="What is masked, value by value; or the whole object, masked.",
)  # fmt: skip
def try_command(output: str, **words: Any) -> int:
    """Show the object or list in FILE (YAML or JSON, - for stdin) as an agent, or whoever --as names, would see it.

    \b
    kubectl get secret app -o yaml | narrowgate mask try -
    narrowgate mask try app.yaml --policies ./policies --as agent:ci

    Without --policies it shows what the gate masks by itself. Whether the object may be read is not asked, nor is
    anybody whom a reveal would ask. Values of Secrets that a gate knows from its cluster are not looked for here.
    """
    asked = Asked(**words)
    if asked.policies is not None and not asked.whom:
        raise click.UsageError("--policies needs --as: policies mask for those they name", click.get_current_context())
    seen = _seen(asked)
    if output == "json":
        write_json(seen.document)
    elif output == "yaml":
        click.echo(_yaml(seen.document), nl=False)
    else:
        for line in _difference(seen):
            click.echo(line)
    _summary(seen)
    return DONE


def _seen(asked: Asked) -> Seen:
    import secrets

    from narrowgate.cli.policy_check import parse_all, read_sources
    from narrowgate.cli.question import chain_in, cluster_meant
    from narrowgate.core.malformed import Malformed
    from narrowgate.core.mask_trial import KindUnknown, see
    from narrowgate.core.masking.masked_value import KEY_BYTES, ValueMasker
    from narrowgate.core.policy import EVERYTHING
    from narrowgate.core.rulebook import compile_policies

    written = parse_all(read_sources([asked.policies])) if asked.policies is not None else []
    named = sorted({name for policy in written for name in policy.clusters} - {EVERYTHING})
    cluster = cluster_meant(asked.cluster, named or ["any"])
    chain = chain_in(asked.whom or ("agent:anybody",), asked.groups)
    if written:
        _note_strangers(chain, cluster, written)
    where = "stdin" if str(asked.file) == "-" else str(asked.file)
    document = _document(asked.file, where)
    values = ValueMasker(secrets.token_bytes(KEY_BYTES))
    try:
        return see(document, chain, cluster, compile_policies(written, revision=0), values, _resource(asked.resource))
    except Malformed as error:
        raise Failed(error.message, where, "give one object or list, with apiVersion and kind") from None
    except KindUnknown as error:
        raise Failed(
            f'"{error}" is no kind of Kubernetes\' own', where, "add --resource RESOURCE.GROUP: widgets.example.com"
        ) from None


def _document(file: Path, where: str) -> Any:
    from narrowgate.config.document import LARGEST_FILE, read_bytes
    from narrowgate.core.documents import parse_json, parse_yaml
    from narrowgate.core.malformed import Malformed

    if str(file) == "-":
        content = sys.stdin.buffer.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise Failed(f"more than {LARGEST_FILE} bytes", where, "give fewer objects")
    else:
        content = read_bytes(file, "the object")
    try:
        return parse_json(content) if content.lstrip()[:1] == b"{" else parse_yaml(content)
    except Malformed as error:
        raise Failed(error.message, where, "give one object or list in YAML or JSON") from None


def _resource(words: str | None) -> ResourceName | None:
    from narrowgate.cli.question import intent_of
    from narrowgate.core.mask_trial import ResourceName

    if words is None:
        return None
    thing, slash, subresource = words.partition("/")
    info = intent_of("get", thing, "", "", "").info
    if not info.is_resource_request:
        raise Failed(f'"{words}" is no resource', "--resource", "write it like widgets.example.com")
    return ResourceName(info.api_group, f"{info.resource}{slash}{subresource}")


def _note_strangers(chain: Chain, cluster: str, policies: list[Policy]) -> None:
    """A misspelt name masks nothing, and would look as if the policy did."""
    from narrowgate.core.refusals import who
    from narrowgate.core.rulebook import compile_policies

    book = compile_policies(policies, revision=0)
    for member in chain:
        if not book.speaks_to(member, cluster):
            note(f"no policy here names {who(member)} on cluster {cluster}: only what the gate masks by itself holds")


def _difference(seen: Seen) -> list[str]:
    lines = []
    for one in seen.objects:
        title = _printable(one.title)
        lines.append(title if one.differences else f"{title}: nothing is masked")
        for found in one.differences:
            lines.append(f"  {_printable(found.path)}")
            lines += [f"    {line}" for line in _sides(found)]
    return lines


def _sides(found: Difference) -> list[str]:
    """Before and after, of long texts the lines that differ."""
    if not isinstance(found.before, str) or not isinstance(found.after, str):
        return [f"- {_compact(found.before)}", f"+ {_compact(found.after)}"]
    before, after = found.before.splitlines(), found.after.splitlines()
    if len(before) != len(after):
        return [*(f"- {_printable(line)}" for line in before), *(f"+ {_printable(line)}" for line in after)]
    lines = []
    for old, new in zip(before, after, strict=True):
        if old != new:
            start, end = _alike(old, new)
            lines += [f"- {_around(old, start, end)}", f"+ {_around(new, start, end)}{_decoded(new)}"]
    return lines or [f"- {_compact(found.before)}", f"+ {_compact(found.after)}"]


def _alike(old: str, new: str) -> tuple[int, int]:
    """How many characters at the beginning and at the end are the same and need not be shown."""
    shortest = min(len(old), len(new))
    start = next((at for at in range(shortest) if old[at] != new[at]), shortest)
    end = next((at for at in range(shortest - start) if old[-1 - at] != new[-1 - at]), shortest - start)
    return max(0, start - BESIDE), max(0, end - BESIDE)


def _around(text: str, start: int, end: int) -> str:
    shown = text[start : len(text) - end]
    return f"{'…' if start else ''}{_printable(shown)}{'…' if end else ''}"


def _printable(text: str) -> str:
    """On one line, and nothing in it that a terminal would obey."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _decoded(text: str) -> str:
    """What a masked value in base64 says."""
    if not text.startswith("W21hc2tlZD"):
        return ""
    try:
        return f"   ({base64.b64decode(text, validate=True).decode('ascii')})"
    except (binascii.Error, ValueError):
        return ""


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


def _yaml(document: Any) -> str:
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _summary(seen: Seen) -> None:
    if not seen.counts:
        note("nothing is masked")
        return
    told = ", ".join(f"{count} by {rule}" for rule, count in sorted(seen.counts.items()))
    note(f"masked: {told}")
    note("the digits of masked values are those of a key made for this run: a gate's are others")
