"""Contract templates: what a contract of a kind must contain, who signs, in which order, and what is checked first.

Here stand the values only. ``template_rules`` reads a parsed YAML document into them, or says what is wrong with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from moneta.domain.identifiers import UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.lifecycle import lifecycle
from moneta.domain.money import MoneyRule


class Role(StrEnum):
    """Who signs in a contract: ``org`` is an organization of either kind, ``org_new_key`` it with the payload's key."""

    MO = "mo"
    PUBLISHER = "publisher"
    MONETA = "moneta"
    ORG = "org"
    ORG_NEW_KEY = "org_new_key"


class Guard(StrEnum):
    """The closed list of checks that a template can ask for before Moneta signs."""

    ORGANIZATIONS_ACTIVE = "organizations_active"
    MPASS_ACTIVE = "mpass_active"
    ORGANIZATION_PENDING = "organization_pending"
    ONBOARDING_MATCHES = "onboarding_matches"
    ROTATION_POSSIBLE = "rotation_possible"
    ORGANIZATIONS_AGREE = "organizations_agree"


class EffectPhase(StrEnum):
    """When a template's verbs are done: in the commit in which Moneta signs, and in that which ends the contract."""

    ON_RESERVE = "on_reserve"
    ON_FINALIZED = "on_finalized"
    ON_DECLINED = "on_declined"
    ON_EXPIRED = "on_expired"


class Effect(StrEnum):
    """The closed list of what a contract can do to the directory."""

    ISSUE_MPASS = "issue_mpass"
    ISSUE_MPASSES = "issue_mpasses"
    CHANGE_MPASS = "change_mpass"
    CHANGE_MPASS_AS_ADMIN = "change_mpass_as_admin"
    ACTIVATE_ORGANIZATION = "activate_organization"
    SUSPEND_ORGANIZATION = "suspend_organization"
    DESTROY_ORGANIZATION = "destroy_organization"
    ROTATE_KEY = "rotate_key"


class TemplateStatus(StrEnum):
    """How a version stands: a draft takes no contracts, a retired one takes no new ones."""

    DRAFT = "draft"
    PUBLISHED = "published"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class TemplateActor(StrEnum):
    """Who can change a version's status."""

    OPERATOR = "operator"


DRAFT, PUBLISHED, DEPRECATED, RETIRED = TemplateStatus
_OPERATOR: Final = frozenset(TemplateActor)

# fmt: off
TEMPLATE_LIFECYCLE = lifecycle("template", DRAFT, (
    # from          event        to           by
    (DRAFT,         PUBLISHED,   PUBLISHED,   _OPERATOR),
    (PUBLISHED,     DEPRECATED,  DEPRECATED,  _OPERATOR),
    (PUBLISHED,     RETIRED,     RETIRED,     _OPERATOR),
    (DEPRECATED,    PUBLISHED,   PUBLISHED,   _OPERATOR),
    (DEPRECATED,    RETIRED,     RETIRED,     _OPERATOR),
    (RETIRED,       PUBLISHED,   PUBLISHED,   _OPERATOR),
    (RETIRED,       DEPRECATED,  DEPRECATED,  _OPERATOR),
))
# fmt: on

SigningOrder = tuple[tuple[Role, ...], ...]
"""A list of steps; each a role, or a group that signs in parallel; the first is one role, the initiator."""


def roles_of_initiator(order: SigningOrder) -> frozenset[Role]:
    """Return the roles whose signatures leave the initiator free to cancel: its own, and Moneta's.

    An organization that signs with its old and with its new key is one party.
    """
    initiator = order[0][0]
    return frozenset({initiator, Role.MONETA} | ({Role.ORG_NEW_KEY} if initiator is Role.ORG else set()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One version of a template, compiled. It never changes; its status stands beside it, in ``TemplateRecord``.

    ``sha256``: base64url of the digest of the YAML bytes. ``expires_in_s``: None where it sets no term.
    ``acknowledge``: roles that are asked once the order is complete, each with the seconds after which its silence
    counts. ``notify``: roles whose organizations are told of the end though they do not sign. ``whole_order``: the
    signing order, and the step of those that acknowledge after it. ``roles``: all in it.
    """

    name: str
    version: int
    description: str | None
    sha256: str
    signing_order: SigningOrder
    required_fields: tuple[str, ...]
    guards: frozenset[Guard]
    money_rules: tuple[MoneyRule, ...] = ()
    json_schema: Mapping[str, Value] | bool | None = None
    expires_in_s: int | None = None
    effects: Mapping[EffectPhase, tuple[Effect, ...]] = field(default_factory=dict)
    acknowledge: tuple[tuple[Role, int], ...] = ()
    notify: tuple[Role, ...] = ()
    whole_order: SigningOrder = field(init=False, repr=False, compare=False)
    roles: frozenset[Role] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: every event on a contract asks for them.
        asked = tuple(role for role, _ in self.acknowledge)
        whole = (*self.signing_order, asked) if asked else self.signing_order
        object.__setattr__(self, "whole_order", whole)
        object.__setattr__(self, "roles", frozenset(role for step in whole for role in step))

    @property
    def initiator(self) -> Role:
        """The role that signs first."""
        return self.signing_order[0][0]

    @property
    def deem_after_s(self) -> int | None:
        """How long after the order is complete silence counts: the longest of the waits; None if nobody is asked."""
        return max((wait_s for _, wait_s in self.acknowledge), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRecord:
    """A version as the store keeps it: the YAML bytes, and how it stands."""

    name: str
    version: int
    description: str | None
    payload: bytes
    sha256: str
    status: TemplateStatus
    created_at: UnixSeconds
    revision: int = 1


def check_transition(record: TemplateRecord, status: TemplateStatus) -> None:
    """Refuse a change of status that the table has no row for.

    Raises:
        TransitionRefusedError: With ``allowed``.
    """
    TEMPLATE_LIFECYCLE.follow(record.status, status, by=TemplateActor.OPERATOR)
