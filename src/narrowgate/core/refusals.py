"""The sentences of refusals: who may not do what, which rule says so, and what to do about it.

Each is one line that an agent can act on. Names come from requests, so they are quoted, shortened, and never able to
break the line or to write to a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, assert_never

import msgspec

from narrowgate.core.commands import shown
from narrowgate.core.decision import Deny, NeedsApproval
from narrowgate.core.denied_request import put_together
from narrowgate.core.grants import granted_rule
from narrowgate.core.identity import DELEGATES, Chain, Identity, Kind
from narrowgate.core.intent import Use
from narrowgate.core.judging import Held, Refused, Uncovered
from narrowgate.core.matching import CompiledRule, Question
from narrowgate.core.policy import EVERYTHING, Approval, Effect, MountedSecrets, Rule
from narrowgate.core.rulebook import Holding
from narrowgate.core.wanted import MOST_WANTED, WantedRefused, read_wanted

MAX_QUOTED: Final = 256
"""Characters of a name or path in a message; names of objects have at most 253."""

MAX_REASON: Final = 512
"""Characters of what is said about pods: an account, two of its rights with their bindings, and who lacks them."""

MAX_NEAR: Final = 3
"""Rules mentioned in a hint; more would not be read."""

MAX_LISTED: Final = 6
"""Verbs, names or namespaces of one rule mentioned in a hint."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked what, for the sentence, and which part of it was judged."""

    chain: Chain
    cluster: str
    request: Question
    member: Identity
    """The member of the chain that was judged."""
    judged: Question
    """What was judged: the request, or what it uses."""
    use: Use | None = None

    def __str__(self) -> str:
        sender = self.chain[-1]
        speaking = "" if self.member is sender else f", speaking for {who(self.member)},"
        return f"{who(sender)}{speaking} may not {action(self.request)} on cluster {quoted(self.cluster)}"


def quoted(text: str) -> str:
    """A name in quotes, on one line, shortened, with everything unprintable escaped."""
    shown = text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def who(identity: Identity) -> str:
    """`agent "ci-reviewer"`."""
    match identity.kind:
        case Kind.AGENT:
            noun = "agent"
        case Kind.PERSON:
            noun = "person"
        case Kind.WORKLOAD:
            noun = "service account"
        case _:
            assert_never(identity.kind)
    return f"{noun} {quoted(identity.name)}"


def action(question: Question) -> str:
    """`delete pods "web-1" in namespace "prod"`."""
    verbs = " or ".join(_word(verb) for verb in question.verbs) or "do anything"
    if not question.resource:
        return f"{verbs} path {quoted(question.path)}"
    name = f" {quoted(question.name)}" if question.name else ""
    return f"{verbs} {resource(question)}{name}{_where(question)}"


def resource(question: Question) -> str:
    """`deployments.apps/scale`, as kubectl writes resources."""
    base = f"{question.resource}.{question.group}" if question.group else question.resource
    return _word(f"{base}/{question.subresource}" if question.subresource else base)


def denied(asked: Asked, refused: Refused) -> Deny:
    """A guard withholds it."""
    rule, judged = refused.rule, asked.judged
    if refused.because:
        return _let_in_by(asked, refused)
    does = "denies it" if rule.effect is Effect.DENY else "holds it for approval"
    reason = f"rule {rule.rule.id} of policy {rule.ref.policy} {does}{_because(asked)}"
    hint = "no approval lifts a deny rule; ask for something it does not match"
    if rule.rule.commands is not None:
        guarded = _some(shown(pattern) for pattern in rule.rule.commands)
        hint = (
            f"the rule guards the commands {guarded}, and whatever could run them unseen: shells, interpreters, "
            "attach, debug containers; run a program that it does not mean by itself"
        )
    if refused.undecided:
        reason += f": its condition cannot be decided: {refused.undecided}"
        hint = "a condition that cannot be decided denies; change the object or the rule"
    elif not judged.namespace and judged.resource and rule.namespaces and EVERYTHING not in rule.namespaces:
        guarded = _listed(rule.rule.namespaces or (), "namespace")
        hint = f"the rule guards {guarded}, which this would reach; name another one"
    elif rule.names is not None and not judged.name:
        hint = f"the rule guards {_listed(rule.rule.names or (), 'name')}, which this would reach; name an object"
    return Deny(message=f"{asked}: {reason}", hint=hint, rule=rule.ref)


def _let_in_by(asked: Asked, refused: Refused) -> Deny:
    """The rule that would let it into a pod does not let it in to what the pod holds."""
    rule = refused.rule
    would = f"rule {rule.rule.id} of policy {rule.ref.policy}"
    if refused.hint:
        return Deny(message=f"{asked}: {_line(refused.because, MAX_REASON)}", hint=refused.hint, rule=rule.ref)
    if rule.rule.mounted_secrets is MountedSecrets.DENY:
        hint = f"{would} says mountedSecrets: deny; a pod without those Secrets can be entered"
    else:
        hint = (
            f"{would} can say mountedSecrets: mask, or approve with whom to ask; without it they are masked where the "
            "cluster is registered with maskKnownValues"
        )
    return Deny(message=f"{asked}: {_line(refused.because)}", hint=hint, rule=rule.ref)


def delegated_by_nobody(member: Identity) -> Deny:
    """A delegate came without the one who delegated to it."""
    return Deny(message=f"{who(member)} comes without the one whose task {member.delegated_by} was delegated to it")


def uncovered(asked: Asked, answer: Uncovered, holding: Holding) -> Deny:
    """No rule gives it."""
    judged, member = asked.judged, asked.member
    if member.delegated_by:
        giver = quoted(member.name.rpartition(DELEGATES)[0])
        reason = f"task {member.task}, which {giver} delegated to it, does not cover it{_because(asked)}"
        hint = f"what {giver} may do for task {member.delegated_by} can be delegated anew: narrowgate tasks delegate"
        return Deny(message=f"{asked}: {reason}", hint=hint)
    if not holding.holds and not answer.away:
        return _holds_nothing(asked, answer, holding)
    reason = f"no rule allows {answer.away or 'it'}{_because(asked)}"
    if answer.undecided is not None:
        rule, why = answer.undecided
        reason += f"; rule {rule.rule.id} of policy {rule.ref.policy} would, but its condition cannot be decided: {why}"
    return Deny(message=f"{asked}: {reason}", hint=_request_task(asked, answer) or _near(holding, judged))


def held(asked: Asked, answer: Held) -> NeedsApproval:
    """An approve rule matches, the first of those that do."""
    rule = answer.rules[0]
    does = f"holds it for approval, because {_line(answer.because)}" if answer.because else "holds it for approval"
    if rule.rule.reveals and asked.use is None:
        does = "asks people before it shows what is masked in it"
    return NeedsApproval(
        rule=rule.ref, message=f"{asked} yet: rule {rule.rule.id} of policy {rule.ref.policy} {does}{_because(asked)}"
    )


def with_all_asks(first: Deny | NeedsApproval, held: Sequence[CompiledRule]) -> Deny | NeedsApproval:
    """The question that asks for everything at once, each rule that holds the request a single time."""
    rules = {rule.ref: rule.rule.approval for rule in held}
    asks = {ref: approval for ref, approval in rules.items() if approval is not None}
    # A rule that says to ask nobody is lifted by nobody.
    if isinstance(first, Deny) or len(asks) != len(rules):
        return first
    people = dict.fromkeys(asked_people(approval) for approval in asks.values())
    hint = f"it needs approval by {' and by '.join(people)}"
    if all(rule.rule.reveals for rule in held):
        # Lists are masked and never held: whoever needs no more than that need not wait.
        hint += "; a list (--field-selector metadata.name=...) shows it masked at once"
    reveals = tuple(dict.fromkeys(rule.ref for rule in held if rule.rule.reveals))
    return msgspec.structs.replace(first, rules=tuple(asks), asks=tuple(asks.values()), hint=hint, reveals=reveals)


def with_all_missing(first: Deny, lacking: Sequence[tuple[Asked, Uncovered]]) -> Deny:
    """The refusal with all that its sender lacks, where words can ask for it: who asks for one part is not to be
    refused the next one then.
    """
    if asked_by_delegate(lacking):
        return first
    if len(lacking) > MOST_WANTED or any(answer.away for _, answer in lacking):
        # Words name no command: a task for them would be refused the same.
        return first
    words = [_wanted(asked, answer.grantable) for asked, answer in lacking]
    # What another member of the chain lacks is not the sender's to ask for.
    if not all(words) or any(asked.member is not asked.chain[-1] for asked, _ in lacking):
        return first
    missing = put_together(words) if len(words) > 1 else tuple(words)
    rules = {answer.grantable.ref: answer.grantable for _, answer in lacking if answer.grantable is not None}
    if len(words) > 1 and len(missing) <= MAX_LISTED and all(answer.grantable for _, answer in lacking):
        return msgspec.structs.replace(
            first, missing=missing, hint=_command(lacking[0][0], list(rules.values()), missing)
        )
    return msgspec.structs.replace(first, missing=missing)


def asked_by_delegate(lacking: Sequence[tuple[Asked, Uncovered]]) -> bool:
    """Whether a delegate sent it: no words give it more, and only its root asks for tasks."""
    return any(asked.chain[-1].delegated_by for asked, _ in lacking)


def asked_people(approval: Approval) -> str:
    """`2 of group sre, 1 of group security`."""
    return ", ".join(f"{needed.count} of group {needed.group}" for needed in approval.approvers)


def streamed(held: NeedsApproval) -> Deny:
    """People cannot say yes to bytes that nobody has seen yet."""
    return Deny(
        message=f"{held.message}, and a body that is streamed (behind proxy) cannot be approved",
        hint="only requests without a body can be approved there",
        rule=held.rule,
    )


def used_elsewhere(held: NeedsApproval, approval: str) -> Deny:
    """The approval counted a moment ago and could not be spent."""
    return Deny(
        message=f"{held.message}, and approval {approval} was used by another request like this, or does not count "
        "any more",
        hint="send it again to ask anew",
        rule=held.rule,
    )


def no_request_left(task: str, limit: int) -> Deny:
    """A task has had all the requests that it covers."""
    return Deny(
        message=f"task {task} has used up its {limit} request{'s' if limit > 1 else ''}",
        hint="what it has running goes on; for more ask for a new task: narrowgate tasks request",
    )


def no_stream_left(task: str, limit: int) -> Deny:
    """A task has as many streams under way as it covers at one time."""
    streams = f"{limit} streams" if limit > 1 else "1 stream"
    return Deny(
        message=f"task {task} has its {streams} at one time under way already (watch, exec, attach, port-forward, "
        "followed logs, proxy)",
        hint="end one, or ask for a task with more: narrowgate tasks request --max-streams",
    )


def limits_moved(task: str) -> Deny:
    """What a task may do was changed while a request of it was counted."""
    return Deny(message=f"the limits of task {task} were changed this moment", hint="send it again")


def stream_not_counted() -> Deny:
    """A stream cannot go on because nobody can tell any more how many there are."""
    return Deny(message="the streams of this task could not be counted with other processes of the gate for a while")


def expired(chain: Chain, member: Identity) -> Deny:
    """A credential of the chain has ended."""
    whose = "" if member is chain[-1] else f" of {who(member)}, for whom it speaks,"
    return Deny(
        message=f"{who(chain[-1])} may not do anything: the credential{whose} has expired",
        hint="get a new credential and ask again",
    )


def other_cluster(member: Identity, cluster: str) -> Deny:
    """The credential opens one cluster, and this is another."""
    return Deny(
        message=f"{who(member)} may not reach cluster {quoted(cluster)}: its credential opens cluster "
        f"{quoted(member.cluster)} alone",
        hint=f"use the credential for cluster {quoted(cluster)}",
    )


def unseen(chain: Chain, what: str) -> Deny:
    """The request uses something that it does not show, and nobody has looked it up."""
    return Deny(
        message=f"{who(chain[-1])} may not do this: {_line(what)}, so it cannot be judged",
        hint="send the whole object with PUT",
    )


def nobody() -> Deny:
    """A chain without members, which `chain_of` does not make."""
    return Deny(message="nobody may do anything: the request came without an identity", hint="authenticate first")


def _holds_nothing(asked: Asked, answer: Uncovered, holding: Holding) -> Deny:
    hint = _request_task(asked, answer)
    if not hint and holding.offered:
        hint = "some access can be asked for: narrowgate tasks request"
    return Deny(
        message=f"{asked}: {who(asked.member)} holds nothing on this cluster{_because(asked)}",
        hint=hint or f"a policy has to name {who(asked.member)} and cluster {quoted(asked.cluster)}",
    )


def _because(asked: Asked) -> str:
    if asked.use is None:
        return ""
    return f" to {action(asked.judged)}, which it needs ({_word(asked.use.because)})"


def _request_task(asked: Asked, answer: Uncovered) -> str:
    """How a task is asked for that would cover it; empty where no rule would grant one."""
    if answer.grantable is None:
        return ""
    wanted = _wanted(asked, answer.grantable)
    if not wanted:
        by = _granting([answer.grantable])
        return f"{by}; it has no words that `narrowgate tasks request` could read, so ask for what is around it"
    return _command(asked, [answer.grantable], [wanted])


def _command(asked: Asked, rules: Sequence[CompiledRule], words: Iterable[str]) -> str:
    """The command that asks for just these words, by these grantable rules; the end of the line, to be copied."""
    # What is copied as it stands is refused, as the reason is: the ticket is for whoever asks to find.
    link = " --link ..." if any(rule.rule.links for rule in rules) else ""
    wanted = " ".join(f"--allow {quoted(one)}" for one in words)
    return f"{_granting(rules)}: narrowgate tasks request --cluster {_word(asked.cluster)} --reason ...{link} {wanted}"


def _granting(rules: Sequence[CompiledRule]) -> str:
    first = rules[0]
    by = f"rule {first.rule.id} of policy {first.ref.policy}"
    linked = next((rule.rule.links for rule in rules if rule.rule.links), None)
    to = f" to a task whose link begins with {' or '.join(linked[:MAX_NEAR])}" if linked else ""
    return f"{by}{' and others' if len(rules) > 1 else ''} can grant it for a time{to}"


def _wanted(asked: Asked, grantable: CompiledRule | None) -> str:
    """The words that ask for just this, by that rule where there is one; empty where none would be read as this."""
    judged = asked.judged
    verb = judged.verbs[0] if judged.verbs else ""
    if grantable is not None:
        verb = next((one for one in judged.verbs if EVERYTHING in grantable.verbs or one in grantable.verbs), "")
    if not judged.resource or not verb:
        return ""
    name = f"/{judged.name}" if judged.name else ""
    # A request over all namespaces is one that names none.
    namespace = judged.namespace or (EVERYTHING if judged.namespaced else "")
    words = f"{verb} {resource(judged)}{name}{f' -n {namespace}' if namespace else ''}"
    read = _read(words)
    return words if read is not None and read.covers(judged) else ""


@lru_cache(maxsize=1024)
def _read(words: str) -> CompiledRule | None:
    """What the words ask for; None where they are none. Who is refused once is refused the same again and again."""
    try:
        return granted_rule(read_wanted(words, 1), "")
    except WantedRefused:
        return None


def _near(holding: Holding, judged: Question) -> str:
    """What the identity may do to the same resource."""
    near = [rule for rule in holding.on_resource(judged) if rule.effect is Effect.ALLOW]
    if not near:
        return "a policy has to allow it first"
    what = resource(judged) if judged.resource else quoted(judged.path)
    allowed = "; ".join(_summary(rule) for rule in near[:MAX_NEAR])
    return f"on {what} it may: {allowed}" + ("; and more" if len(near) > MAX_NEAR else "")


def _summary(rule: CompiledRule) -> str:
    verbs = "do everything" if EVERYTHING in rule.verbs else _some(rule.rule.verbs)
    names = f" {_listed(rule.rule.names, 'name')}" if rule.rule.names is not None else ""
    if rule.rule.namespaces is None:
        where = "" if rule.urls else " on cluster-scoped resources"
    else:
        where = (
            " everywhere" if EVERYTHING in rule.rule.namespaces else f" in {_listed(rule.rule.namespaces, 'namespace')}"
        )
    narrowed = f" ({_inside(rule.rule)})" if rule.inside is not None else ""
    return f"{verbs}{names}{where}{narrowed}{' on a condition' if rule.condition else ''}"


def _inside(rule: Rule) -> str:
    """What a rule says of ways into pods."""
    said = []
    if rule.commands is not None:
        said.append(f"commands {_some(shown(pattern) for pattern in rule.commands)}")
    if rule.containers is not None:
        said.append(_listed(rule.containers, "container"))
    if rule.pod_labels is not None:
        said.append(f"pods with {_some(f'{key}={value}' for key, value in rule.pod_labels)}")
    return ", ".join(said)


def _listed(names: Iterable[str], noun: str) -> str:
    listed = list(names)
    return f"{noun}{'s' if len(listed) > 1 else ''} {_some(listed)}"


def _some(words: Iterable[str]) -> str:
    listed = list(words)
    return ", ".join(listed[:MAX_LISTED]) + (", ..." if len(listed) > MAX_LISTED else "")


def _where(question: Question) -> str:
    if question.namespaced and not question.namespace:
        return " in all namespaces"
    if not question.namespaced or question.is_of_namespaces:
        return ""
    return f" in namespace {quoted(question.namespace)}"


def _line(text: str, most: int = MAX_QUOTED) -> str:
    """A sentence of our own about something of the caller's, on one printable line."""
    return "".join(character if character.isprintable() else "?" for character in text[:most])


def _word(text: str) -> str:
    """A verb, resource or field as it is where it is ordinary, and quoted where it is not."""
    ordinary = text.isprintable() and len(text) <= MAX_QUOTED and not any(character.isspace() for character in text)
    return text if ordinary and text else quoted(text)
