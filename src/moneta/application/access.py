"""Who may do what: one table, an operation a row, a role a column. Deny by default.

1. A role without a right to the operation is refused (403) before anything is looked up, so that the answer tells
   nothing of what exists.
2. A Pending organization may do onboarding only: of events those under a template that has the guard
   ``organization_pending``, which is the processor's to know (``judgement``).
3. A right to one's own is answered as if nothing else existed (404): another's object and none look the same.

Every route that takes a token has a row; ``POST /event`` has its right checked in ``ingest_events``, where it stands
in the order that the protocol fixes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from moneta.application.authenticate import Caller, CallerRole
from moneta.domain.errors import ForbiddenError, NotFoundError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.organizations import OrganizationStatus


class Operation(StrEnum):
    """What can be asked of the hub with a token: one for each HTTP route."""

    SEND_EVENT = "send_event"
    READ_EVENT = "read_event"
    READ_CONTRACT = "read_contract"
    LIST_CONTRACTS = "list_contracts"
    SUBMIT_CONTRACT = "submit_contract"
    READ_DELIVERY = "read_delivery"
    LIST_DELIVERIES = "list_deliveries"
    REDELIVER = "redeliver"
    REPLAY_DELIVERIES = "replay_deliveries"
    LIST_DEAD_LETTERS = "list_dead_letters"
    REDRIVE = "redrive"
    CREATE_ORGANIZATION = "create_organization"
    UPDATE_ORGANIZATION = "update_organization"
    READ_ORGANIZATION = "read_organization"
    LIST_ORGANIZATIONS = "list_organizations"
    CHANGE_ORGANIZATION_STATUS = "change_organization_status"
    ADD_KEY = "add_key"
    CHANGE_KEY_STATUS = "change_key_status"
    READ_PARTNER_KEYS = "read_partner_keys"
    ROTATE_WEBHOOK_SECRET = "rotate_webhook_secret"  # noqa: S105  # a name of what is done, no secret
    TEST_ENDPOINT = "test_endpoint"
    ISSUE_MPASS = "issue_mpass"
    READ_MPASS = "read_mpass"
    READ_MPASS_HISTORY = "read_mpass_history"
    LIST_MPASSES = "list_mpasses"
    CHANGE_MPASS_STATUS = "change_mpass_status"
    ISSUE_CREDENTIAL = "issue_credential"
    PUBLISH_TEMPLATE = "publish_template"
    LINT_TEMPLATE = "lint_template"
    READ_TEMPLATE = "read_template"
    LIST_TEMPLATES = "list_templates"
    CHANGE_TEMPLATE_STATUS = "change_template_status"
    LIST_CHANGES = "list_changes"
    READ_CHANGE = "read_change"
    DECIDE_CHANGE = "decide_change"


class Scope(StrEnum):
    """How far a right reaches."""

    NONE = "none"
    OWN = "own"
    ANY = "any"


NONE, OWN, ANY = Scope


@dataclass(frozen=True, slots=True)
class Right:
    """One row: each role's scope, and that of an organization of either kind while it is Pending."""

    operator: Scope
    checker: Scope
    auditor: Scope
    mo: Scope
    publisher: Scope
    pending: Scope

    def scope_for(self, caller: Caller) -> Scope:
        """Return the scope that the caller has."""
        if caller.status is OrganizationStatus.PENDING:
            return self.pending
        scopes = {
            CallerRole.OPERATOR: self.operator,
            CallerRole.CHECKER: self.checker,
            CallerRole.AUDITOR: self.auditor,
            CallerRole.MO: self.mo,
            CallerRole.PUBLISHER: self.publisher,
        }
        return scopes[caller.role]


# fmt: off
RIGHTS: Final[Mapping[Operation, Right]] = {
    # operation                                  operator  checker  auditor  mo     publisher  pending
    Operation.SEND_EVENT:                  Right(NONE,     NONE,    NONE,    OWN,   OWN,       OWN),
    Operation.READ_EVENT:                  Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.READ_CONTRACT:               Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.LIST_CONTRACTS:              Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.SUBMIT_CONTRACT:             Right(ANY,      NONE,    NONE,    NONE,  NONE,      NONE),
    # A Pending organization has its endpoint's tests to see.
    Operation.READ_DELIVERY:               Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.LIST_DELIVERIES:             Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.REDELIVER:                   Right(ANY,      NONE,    NONE,    OWN,   OWN,       NONE),
    Operation.REPLAY_DELIVERIES:           Right(ANY,      NONE,    NONE,    OWN,   OWN,       NONE),
    Operation.LIST_DEAD_LETTERS:           Right(ANY,      ANY,     ANY,     NONE,  NONE,      NONE),
    Operation.REDRIVE:                     Right(ANY,      NONE,    NONE,    NONE,  NONE,      NONE),
    Operation.CREATE_ORGANIZATION:         Right(ANY,      NONE,    NONE,    NONE,  NONE,      NONE),
    Operation.UPDATE_ORGANIZATION:         Right(ANY,      NONE,    NONE,    OWN,   OWN,       OWN),
    Operation.READ_ORGANIZATION:           Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.LIST_ORGANIZATIONS:          Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.CHANGE_ORGANIZATION_STATUS:  Right(ANY,      NONE,    NONE,    OWN,   OWN,       NONE),
    Operation.ADD_KEY:                     Right(ANY,      NONE,    NONE,    OWN,   OWN,       OWN),
    Operation.CHANGE_KEY_STATUS:           Right(ANY,      NONE,    NONE,    OWN,   OWN,       OWN),
    # OWN is here: itself, and an organization that it shares a contract with.
    Operation.READ_PARTNER_KEYS:           Right(ANY,      ANY,     ANY,     OWN,   OWN,       OWN),
    Operation.ROTATE_WEBHOOK_SECRET:       Right(ANY,      NONE,    NONE,    OWN,   OWN,       OWN),
    Operation.TEST_ENDPOINT:               Right(ANY,      NONE,    NONE,    OWN,   OWN,       OWN),
    Operation.ISSUE_MPASS:                 Right(NONE,     NONE,    NONE,    OWN,   NONE,      NONE),
    Operation.READ_MPASS:                  Right(ANY,      ANY,     ANY,     OWN,   NONE,      NONE),
    Operation.READ_MPASS_HISTORY:          Right(ANY,      ANY,     ANY,     OWN,   NONE,      NONE),
    Operation.LIST_MPASSES:                Right(ANY,      ANY,     ANY,     OWN,   NONE,      NONE),
    Operation.CHANGE_MPASS_STATUS:         Right(ANY,      NONE,    NONE,    OWN,   NONE,      NONE),
    Operation.ISSUE_CREDENTIAL:            Right(NONE,     NONE,    NONE,    OWN,   NONE,      NONE),
    Operation.PUBLISH_TEMPLATE:            Right(ANY,      NONE,    NONE,    NONE,  NONE,      NONE),
    Operation.LINT_TEMPLATE:               Right(ANY,      ANY,     ANY,     ANY,   ANY,       NONE),
    Operation.READ_TEMPLATE:               Right(ANY,      ANY,     ANY,     ANY,   ANY,       ANY),
    Operation.LIST_TEMPLATES:              Right(ANY,      ANY,     ANY,     ANY,   ANY,       ANY),
    Operation.CHANGE_TEMPLATE_STATUS:      Right(ANY,      NONE,    NONE,    NONE,  NONE,      NONE),
    Operation.LIST_CHANGES:                Right(ANY,      ANY,     ANY,     NONE,  NONE,      NONE),
    Operation.READ_CHANGE:                 Right(ANY,      ANY,     ANY,     NONE,  NONE,      NONE),
    # The one thing that a checker changes, and never what it asked for itself.
    Operation.DECIDE_CHANGE:               Right(ANY,      ANY,     NONE,    NONE,  NONE,      NONE),
}
# fmt: on

IDENTITY_ROLES: Final = frozenset({CallerRole.OPERATOR, CallerRole.CHECKER, CallerRole.AUDITOR})


def check_right(caller: Caller, operation: Operation) -> Scope:
    """Return how far the caller's right to ``operation`` reaches: OWN or ANY.

    Raises:
        ForbiddenError: It has none, or is Pending and this is no onboarding.
    """
    scope = RIGHTS[operation].scope_for(caller)
    if scope is NONE:
        raise ForbiddenError(f"{operation} is not for the role {caller.role}, status {caller.status}", role=caller.role)
    return scope


def authorize(caller: Caller, operation: Operation, *, owner: OrganizationId | None) -> None:
    """Return if the caller may do ``operation`` on what ``owner`` owns; None: it is nobody's.

    Raises:
        ForbiddenError: See ``check_right``.
        NotFoundError: It may, but only on its own: to this caller there is no such thing.
    """
    if check_right(caller, operation) is OWN and owner != caller.caller_id:
        raise not_found()


def visible_to(caller: Caller, operation: Operation) -> OrganizationId | None:
    """Return whose things a list shows the caller: its own, or with None everybody's.

    Raises:
        ForbiddenError: See ``check_right``.
    """
    return caller.caller_id if check_right(caller, operation) is OWN else None


def not_found() -> NotFoundError:
    """Return the one answer to what is not there and to what the caller may not know of."""
    return NotFoundError("there is no such thing, or none that the caller may know of")
