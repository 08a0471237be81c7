"""What a policy says, as values: subjects, clusters, rules, masks. The format is `narrowgate.dev/v1alpha1` `Policy`.

Here is only what was written, checked and made plain; reading the text is `policy_file`, compiling it `rulebook`,
judging with it `decide`. What the fields of a rule mean, once and for all:

* **Subjects.** An identity is meant when a subject has its kind and name, or when a `Group` subject names one of its
  groups. `"*"` is every one of that kind; `Group` `"*"` is everybody who is in some group.
* **Clusters.** Names, or `"*"`. There is no default: a policy without clusters says nothing.
* **Verbs, groups, resources** match as RBAC's do (k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go): `"*"` is
  everything, `*/scale` that subresource of everything, and `pods` does not speak for `pods/log`.
* **Namespaces.** `["*"]` is everywhere: every namespace, requests over all namespaces, cluster-scoped resources. A
  list is those namespaces, and, as in RBAC, the objects `namespaces/<name>` themselves. Left out, it is
  cluster-scoped resources alone where a rule gives something (allow, grantable), and everywhere where it guards
  (deny, approve): what was not written never switches a guard off.
* **Names.** Left out, any name. A rule that gives covers exactly those names, so never a request without one (list,
  watch, deletecollection, create with generateName). A rule that guards also holds for such requests, because they
  would reveal or delete what it guards. The name of a create is the one in its body; RBAC cannot look there, the gate
  can.
* **Guarding all namespaces.** A guard over namespace `ci` also holds for a request over all namespaces.
* **nonResourceURLs** match as RBAC's do: exactly, or as a prefix when they end in `*`.
* **containers, commands, podSelector** are about getting into pods (`entering`). What is not known of a request covers
  nothing where the rule gives, and is within what the rule guards.
* **pods** narrows what a rule gives to pods that are as it says (`pod_judging`).
* **when** is a condition on the request and the object (`conditions`). One that cannot be decided covers nothing where
  the rule gives, and refuses where it guards.
"""

from __future__ import annotations

import enum

import msgspec

from narrowgate.core.pod_rules import PodRules

API_VERSION = "narrowgate.dev/v1alpha1"

EVERYTHING = "*"
"""The wildcard of subjects, clusters, verbs, groups, resources and namespaces; always written out, always linted."""

BUILT_IN = "narrowgate"
"""Policy name of the rules that the gate brings along (`decide`); no policy file may use it."""


class Effect(enum.Enum):
    """What a rule does to the requests it matches."""

    DENY = "deny"
    """Refused, whatever else is written and whoever approves."""
    ALLOW = "allow"
    """Covered, at any time."""
    GRANTABLE = "grantable"
    """May be covered by a task's grant, for at most `max_duration`."""
    APPROVE = "approve"
    """Held until people answer; their answer covers that one request."""


class MountedSecrets(enum.Enum):
    """What becomes of an exec, attach or debug into a pod that holds Secrets which its sender may not read."""

    MASK = "mask"
    """It is let in, and what comes back is masked as text is."""
    APPROVE = "approve"
    """People are asked."""
    DENY = "deny"
    """It is refused."""


class OnEnd(enum.Enum):
    """What becomes of the workloads that were created under a task when it is over."""

    LEAVE = "leave"
    DELETE_WORKLOADS = "deleteWorkloads"
    """The gate deletes them (`leftovers`)."""


class SubjectKind(enum.Enum):
    """Who a subject can name; the first three are kinds of identity (`identity.Kind`)."""

    AGENT = "Agent"
    PERSON = "Person"
    SERVICE_ACCOUNT = "ServiceAccount"
    GROUP = "Group"


class Subject(msgspec.Struct, frozen=True):
    """One identity, one group, or (`name == "*"`) all of a kind. A service account's name is `namespace/name`."""

    kind: SubjectKind
    name: str


class Approvers(msgspec.Struct, frozen=True):
    """How many members of a group must say yes."""

    group: str
    count: int


class Approval(msgspec.Struct, frozen=True):
    """Who must say yes (all of `approvers`), and within how many seconds; afterwards the question lapses."""

    approvers: tuple[Approvers, ...]
    within: float
    not_by_owner: bool = False
    """Whether whoever answers for the agent may not answer: a person never may; with this, neither may the members of a
    group that does."""


LONGEST_EMERGENCY = 3_600.0
"""Seconds that an emergency rule may grant: whoever needs longer has time to ask somebody."""

LONGEST_REVIEW = 7 * 86_400.0
"""Seconds within which an emergency must be looked at: later nobody remembers what happened."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. Either `resources` or `non_resource_urls` is written, never both; the file opens with what they
    mean.
    """

    id: str
    effect: Effect
    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()
    namespaces: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    when: str = ""
    """CEL; empty where there is no condition."""
    max_duration: float | None = None
    """Seconds a grant from this rule may last; set on grantable rules and no others."""
    approval: Approval | None = None
    """Always set on approve rules; on grantable ones None means that nobody is asked (`approval: none`). On allow rules
    it is for `mounted_secrets` alone.
    """
    max_requests: int | None = None
    """Requests that a grant from this rule covers in all; None: any number. On grantable rules only, as what follows.
    """
    max_streams: int | None = None
    """Streams (watch, exec, attach, port-forward, followed logs) that it covers at one time; None: any number."""
    links: tuple[str, ...] | None = None
    """What the link of its task must begin with, any of them; None where no link is asked for."""
    on_end: OnEnd = OnEnd.LEAVE
    """What becomes of what was created under a task that rests on this rule, when the task is over."""
    review: Approval | None = None
    """Set on emergency rules: they grant to emergency tasks alone, at once, and these people look at it afterwards."""
    mounted_secrets: MountedSecrets | None = None
    """Set on rules that let somebody into pods. None: MASK where the values of the cluster's Secrets are masked for
    whoever comes, else APPROVE.
    """
    containers: tuple[str, ...] | None = None
    """Names of containers; None: any. On rules about getting into pods alone, as what follows (`entering`)."""
    commands: tuple[tuple[str, ...], ...] | None = None
    """Patterns of the commands that may be run, or are guarded (`commands`), word by word; None: any."""
    pod_labels: tuple[tuple[str, str], ...] | None = None
    """Labels that the pod has, all of them (`podSelector.matchLabels`); None: any pod."""
    lines: tuple[tuple[str, ...], ...] | None = None
    """Patterns of what ends a session when it is typed into it (`lines.deny`); None: nothing does."""
    asked_lines: tuple[tuple[str, ...], ...] | None = None
    """Patterns of lines that are held until people say yes (`lines.approve`); None: none are."""
    lines_approval: Approval | None = None
    """Who those people are (`lines.approval`, else the rule's own); set where `asked_lines` is."""
    pods: PodRules | None = None
    """What the pods may be that are made, or entered, by what the rule gives; None: nothing is said of them."""
    reveals: bool = False
    """Whether this is what a reveal asks people: it holds the `get` of one object that is covered, and offers nothing.
    """
    line: int = 0
    """Where the rule begins in its file, for findings; 0 where it came from no file."""

    @property
    def guards(self) -> bool:
        """Whether the rule withholds something (deny, approve) rather than giving it."""
        return self.effect in (Effect.DENY, Effect.APPROVE)

    @property
    def looks_inside(self) -> bool:
        """Whether it hangs on what a request into a pod would do there, and in which pod."""
        return self.containers is not None or self.commands is not None or self.pod_labels is not None


class Mask(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that leave the gate masked, for everybody whom its policy names: `masking.field_paths` says how they are
    written. `namespaces` left out means everywhere.
    """

    id: str
    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    fields: tuple[str, ...]
    namespaces: tuple[str, ...] | None = None
    line: int = 0


class Reveal(msgspec.Struct, frozen=True, kw_only=True):
    """What takes masks off again, for everybody whom its policy names; it gives no access by itself."""

    id: str
    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    namespaces: tuple[str, ...] | None = None
    """None: everywhere."""
    names: tuple[str, ...] | None = None
    masks: tuple[str, ...] | None = None
    """`policy/mask`, or `narrowgate/...` for those that the gate brings along; None: whatever masks those objects."""
    approval: Approval | None = None
    """Who must say yes, for one `get` of one object; None: nobody, and then it holds for lists and watches too."""
    line: int = 0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: for these subjects, on these clusters, these rules, masks and reveals."""

    name: str
    subjects: tuple[Subject, ...]
    clusters: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    masks: tuple[Mask, ...] = ()
    reveals: tuple[Reveal, ...] = ()
    file: str = ""
    """The file it was read from, as given to `parse_policies`."""
    line: int = 0
