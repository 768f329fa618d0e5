from itertools import product

import pytest

from moneta.domain.errors import (
    InvalidFieldError,
    OrganizationNotActiveError,
    OrganizationSuspendedError,
    TransitionRefusedError,
)
from moneta.domain.organizations import (
    CAPABILITIES,
    ORGANIZATION_LIFECYCLE,
    Capability,
    Organization,
    OrganizationActor,
    OrganizationEvent,
    OrganizationKind,
    OrganizationStatus,
    check_active,
    check_code,
)

PENDING, ACTIVE, SUSPENDED, DESTROYED = OrganizationStatus
ACTIVATE, SUSPEND, DESTROY = OrganizationEvent
OPERATOR, ITSELF, CONTRACT = OrganizationActor


def organization(status=PENDING, **members):
    return Organization(
        **{
            "organization_id": "o1",
            "kind": OrganizationKind.MO,
            "code": "ACME",
            "name": "Acme",
            "history": ((1_000, status),),
            "updated_at": 1_000,
            "metadata": {"webhook_url": "https://mo.example/hooks"},
            "policies": {},
            **members,
        }
    )


ALLOWED = {
    (PENDING, ACTIVATE, OPERATOR): ACTIVE,
    (PENDING, DESTROY, OPERATOR): DESTROYED,
    (ACTIVE, SUSPEND, OPERATOR): SUSPENDED,
    (ACTIVE, SUSPEND, ITSELF): SUSPENDED,
    (ACTIVE, DESTROY, OPERATOR): DESTROYED,
    (SUSPENDED, ACTIVATE, OPERATOR): ACTIVE,
    (SUSPENDED, DESTROY, OPERATOR): DESTROYED,
}
# What the operator can do, a contract can that its template lets.
ALLOWED |= {(state, event, CONTRACT): to for (state, event, by), to in ALLOWED.items() if by is OPERATOR}


@pytest.mark.parametrize(
    ("state", "event", "actor"), list(product(OrganizationStatus, OrganizationEvent, OrganizationActor))
)
def test_every_change_of_an_organization_is_a_row_or_refused(state, event, actor):
    before = organization(state)
    target = ALLOWED.get((state, event, actor))
    if target is None:
        with pytest.raises(TransitionRefusedError) as refusal:
            before.changed(event, by=actor, at=2_000)
        assert set(refusal.value.facts["allowed"]) == {
            name for source, name, by in ALLOWED if (source, by) == (state, actor)
        }
        assert refusal.value.facts["state"] == state
    else:
        after = before.changed(event, by=actor, at=2_000)
        assert (after.status, after.updated_at, after.revision) == (target, 2_000, before.revision + 1)
        assert after.history == (*before.history, (2_000, target))


def test_every_state_is_reachable_and_a_tombstone_stays():
    assert set(ORGANIZATION_LIFECYCLE.states()) == set(OrganizationStatus)
    assert not any(source is DESTROYED for source, _, _, _ in ORGANIZATION_LIFECYCLE.rows)


CAN = {
    PENDING: {Capability.AUTHENTICATE, Capability.ONBOARD},
    ACTIVE: {Capability.AUTHENTICATE, Capability.CONTINUE_CONTRACTS, Capability.START_CONTRACTS},
    SUSPENDED: {Capability.AUTHENTICATE, Capability.CONTINUE_CONTRACTS},
    DESTROYED: set(),
}


@pytest.mark.parametrize(("status", "capability"), list(product(OrganizationStatus, Capability)))
def test_the_state_alone_says_what_an_organization_can(status, capability):
    assert organization(status).may(capability) is (capability in CAN[status])


def test_every_state_has_its_capabilities():
    assert set(CAPABILITIES) == set(OrganizationStatus)


def test_the_history_tells_the_state_at_any_moment():
    known = (
        organization()
        .changed(ACTIVATE, by=OPERATOR, at=2_000)
        .changed(SUSPEND, by=ITSELF, at=3_000)
        .changed(ACTIVATE, by=OPERATOR, at=4_000)
    )
    moments = (0, 1_000, 1_999, 2_000, 2_999, 3_000, 3_999, 4_000, 9_000)
    stood = [known.status_at(moment) for moment in moments]
    assert stood == [PENDING, PENDING, PENDING, ACTIVE, ACTIVE, SUSPENDED, SUSPENDED, ACTIVE, ACTIVE]
    assert (known.created_at, known.updated_at, known.revision) == (1_000, 4_000, 4)


def test_deliveries_go_to_the_webhook_url():
    assert organization().webhook_url == "https://mo.example/hooks"


@pytest.mark.parametrize("statuses", [(), (ACTIVE,), (ACTIVE, ACTIVE)])
def test_an_active_organization_may_start(statuses):
    check_active(organization(), statuses)


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        ((SUSPENDED,), OrganizationSuspendedError),
        ((ACTIVE, SUSPENDED), OrganizationSuspendedError),
        ((SUSPENDED, ACTIVE), OrganizationSuspendedError),
        ((PENDING, ACTIVE), OrganizationNotActiveError),
        ((ACTIVE, DESTROYED), OrganizationNotActiveError),
        ((PENDING,), OrganizationNotActiveError),
    ],
)
def test_an_organization_that_was_not_active_may_not_start(statuses, error):
    with pytest.raises(error) as refusal:
        check_active(organization(), statuses)
    assert refusal.value.facts["organization"] == "o1"


@pytest.mark.parametrize("code", ["AB", "00", "A1", "ABCDEF123456"])
def test_a_code_is_two_to_twelve_of_its_alphabet(code):
    assert check_code(code, field="mic") == code


@pytest.mark.parametrize(
    "code", ["", "A", "ABCDEF1234567", "ab", "A B", "AB\n", "ÀB", "A\u0661", None, 12, ["AB"], True]
)
def test_another_code_is_refused_by_name(code):
    with pytest.raises(InvalidFieldError) as refusal:
        check_code(code, field="mpc")
    assert refusal.value.facts == {"field": "mpc"}
