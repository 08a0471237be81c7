"""`narrowgate policy`: check files, put them in force, ask why, and look at what was in force before."""

from __future__ import annotations

import difflib
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from narrowgate.cli.failure import DONE, REFUSED, Failed
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table
from narrowgate.cli.policy_check import SourceFile, Verdict, check, read_sources

if TYPE_CHECKING:
    from narrowgate.config import Config
    from narrowgate.store.port import PolicyRevision


@click.group()
def policy() -> None:
    """Policies: check them, put them in force, ask why, look back."""


@policy.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@config_option
@output_option
def check_command(files: tuple[Path, ...], config: str | None, output: str) -> int:
    """Check policy FILES (or folders; without any, the gate's own) and say everything that is wrong with them.

    Errors come as file:line, exit code 1. Warnings are about policies that work and give more than people mean to.
    """
    sources = read_sources(files) if files else _in_force(config)
    verdict = check(sources)
    if output == "json":
        write_json(_verdict_document(verdict))
    else:
        _say(verdict, len(sources))
    return DONE if verdict.good else REFUSED


@policy.command("apply")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check and say what would change; write nothing.")
@config_option
@output_option
def apply_command(files: tuple[Path, ...], dry_run: bool, config: str | None, output: str) -> int:
    """Put policy FILES into the gate's policies folder, after checking them together with all that is there.

    A file replaces the one of its name. Nothing is written unless the whole set is good; a running gate takes it up by
    itself, and the set becomes a new revision.
    """
    from narrowgate.config import find_config

    found = find_config(config)
    new = _by_name(read_sources(files))
    there = {Path(source.name).name: source for source in _folder(found)}
    after = {**there, **new}
    verdict = check(after.values())
    if not verdict.good:
        _say(verdict, len(after))
        note(f"nothing was written to {found.policies}")
        return REFUSED
    changed = [name for name, source in new.items() if name not in there or there[name].text != source.text]
    if dry_run:
        number = None
    else:
        _write(found.policies, {name: new[name].text for name in changed})
        number = _add_revision(found, [(name, source.text) for name, source in after.items()])
    if output == "json":
        write_json({**_verdict_document(verdict), "changed": changed, "revision": number, "dryRun": dry_run})
        return DONE
    _say(verdict, len(after))
    told = ", ".join(changed) or "no file"
    note(
        f"{told} would be written to {found.policies}"
        if dry_run
        else f"{told} written to {found.policies}, revision {number}"
    )
    return DONE


@policy.command("explain")
@click.option(
    "--as", "whom", multiple=True, required=True, metavar="KIND:NAME", help="Who asks; several for a chain, root first."
)
@click.option(
    "--group", "groups", multiple=True, help="A group of the one who asks; registered agents have theirs already."
)
@click.option("-n", "--namespace", default="", help="Namespace; without it, all of them, or a cluster-scoped resource.")
@click.option("--cluster", default="", help="Cluster; may be left out where the configuration has one.")
@click.option("--subresource", default="", help="Such as exec, log, scale, status.")
@click.option(
    "-f", "--filename", type=click.Path(dir_okay=False, path_type=Path), help="The object that would be written."
)
@click.option("-c", "--container", default="", help="The container that exec or attach enters.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the pod that is entered.")
@click.option(
    "--look", is_flag=True, help="Ask the cluster, with the gate's account, what the accounts of pods may do."
)
@click.option(
    "--rights",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Take that from a file instead: kubectl get clusterroles,roles,clusterrolebindings,rolebindings -A -o json",
)
@click.option(
    "--policies", type=click.Path(path_type=Path), help="Policy file or folder to ask instead of the gate's own."
)
@config_option
@output_option
@click.argument("verb")
@click.argument("resource", metavar="RESOURCE[.GROUP][/NAME]")
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
def explain_command(output: str, **words: Any) -> int:
    """Say what the policies answer to a request, and why: every rule that was considered, and what has a say of pods.

    \b
    narrowgate policy explain --as agent:demo get pods -n default
    narrowgate policy explain --as agent:demo patch deployments.apps/web -n ci -f web.yaml
    narrowgate policy explain --as agent:demo create pods/web --subresource exec -n ci -- ls /tmp
    narrowgate policy explain --as agent:demo create deployments.apps -n ci -f web.yaml --look

    Exit code 0 where the gate would let it pass, 1 where it would not.
    """
    from narrowgate.cli.policy_explain import Asked, explained

    explanation = explained(Asked(**words))
    if output == "json":
        write_json(explanation)
    else:
        click.echo(str(explanation))
    return DONE if explanation.answer == "allow" else REFUSED


@policy.command("revisions")
@click.argument("number", required=False, type=click.IntRange(min=1))
@click.option("--diff", is_flag=True, help="Show what that revision changed against the one before it.")
@click.option("--against", type=click.IntRange(min=1), help="Compare with this revision instead (implies --diff).")
@config_option
@output_option
def revisions_command(number: int | None, diff: bool, against: int | None, config: str | None, output: str) -> int:
    """List the sets of policies that were in force; with NUMBER, show one of them, or what it changed."""
    from narrowgate.config import find_config
    from narrowgate.store.open import open_store

    found = find_config(config)
    store = open_store(found.store, found.data_dir)
    try:
        if number is None:
            if diff or against:
                raise click.UsageError("--diff needs the number of a revision", click.get_current_context())
            newest_first = store.revisions()
            if output == "json":
                write_json(newest_first)
                return DONE
            rows = [
                (one.number, _when(one.made_at), one.made_by, one.file_count, one.digest[:12]) for one in newest_first
            ]
            write_table(
                ("REVISION", "MADE", "BY", "FILES", "DIGEST"),
                rows,
                "no revision yet: the gate makes one when it starts",
            )
            return DONE
        shown = store.revision(number)
        before = store.revision(against or number - 1) if against or (diff and number > 1) else None
    finally:
        store.close()
    if output == "json":
        write_json(shown)
    elif diff or against:
        click.echo(revision_diff(before, shown), nl=False)
    else:
        for name, text in shown.files:
            click.echo(f"# {name}\n{text}")
    return DONE


def revision_diff(before: PolicyRevision | None, after: PolicyRevision) -> str:
    """What `after` changed, as a unified diff over its files; `before` is None for the very first."""
    old, new = dict(before.files) if before else {}, dict(after.files)
    parts: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        parts += difflib.unified_diff(
            old.get(name, "").splitlines(keepends=True),
            new.get(name, "").splitlines(keepends=True),
            fromfile=f"{name} (revision {before.number})" if before and name in old else os.devnull,
            tofile=f"{name} (revision {after.number})" if name in new else os.devnull,
        )
    return "".join(part if part.endswith("\n") else f"{part}\n" for part in parts)


def _in_force(config: str | None) -> list[SourceFile]:
    from narrowgate.config import find_config

    return _folder(find_config(config))


def _folder(config: Config) -> list[SourceFile]:
    from narrowgate.config import load_policy_files

    return [SourceFile(str(config.policies / name), text) for name, text in load_policy_files(config.policies)]


def _by_name(sources: list[SourceFile]) -> dict[str, SourceFile]:
    """Files by the name they will have in the folder. Raises Failed where two would have the same, or none could."""
    named: dict[str, SourceFile] = {}
    for source in sources:
        path = Path(source.name)
        if path.suffix not in (".yaml", ".yml") or path.name.startswith((".", "#")):
            raise Failed("not a name the gate would load", source.name, "call it something.yaml")
        if path.name in named:
            raise Failed(f'two files are called "{path.name}"', source.name, "give each a name of its own")
        named[path.name] = source
    return named


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write all files beside their places first, then rename them: a full disk changes nothing."""
    waiting: list[tuple[str, Path]] = []
    try:
        for name, text in texts.items():
            handle, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=folder)
            waiting.append((temporary, folder / name))
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
        for temporary, place in waiting:
            Path(temporary).replace(place)
    finally:
        for temporary, _ in waiting:
            Path(temporary).unlink(missing_ok=True)


def _add_revision(config: Config, files: list[tuple[str, str]]) -> int:
    from narrowgate.store.open import open_store

    store = open_store(config.store, config.data_dir)
    try:
        return store.add_revision(files, by=local_operator(), at=time.time()).number
    finally:
        store.close()


def _verdict_document(verdict: Verdict) -> dict[str, object]:
    return {
        "policies": [one.name for one in verdict.policies],
        "errors": [msgspec.to_builtins(one) for one in verdict.errors],
        "warnings": [msgspec.to_builtins(one) for one in verdict.warnings],
    }


def _say(verdict: Verdict, files: int) -> None:
    """Complaints on stderr, as compilers write them; one line of result on stdout."""
    for error in verdict.errors:
        note(f"error: {error}")
    for warning in verdict.warnings:
        note(f"warning: {warning}")
    said = {"rule": sum(len(one.rules) for one in verdict.policies)}
    said |= {"mask": sum(len(one.masks) for one in verdict.policies)}
    said |= {"reveal": sum(len(one.reveals) for one in verdict.policies)}
    parts = ", ".join(_count(number, noun) for noun, number in said.items() if number or noun == "rule")
    counts = f"{_count(len(verdict.errors), 'error')}, {_count(len(verdict.warnings), 'warning')}"
    click.echo(f"{_count(files, 'file')}, {_count(len(verdict.policies), 'policy')}, {parts}: {counts}")


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
