"""Who may do what: the table whole, and the three ways in which it answers."""

import pytest

from moneta.application.access import (
    ANY,
    NONE,
    OWN,
    RIGHTS,
    Operation,
    authorize,
    check_right,
    not_found,
    visible_to,
)
from moneta.application.authenticate import Caller, CallerRole
from moneta.domain.errors import ForbiddenError, NotFoundError
from moneta.domain.identifiers import KeyId, OrganizationId
from moneta.domain.organizations import OrganizationStatus

ME, OTHER = OrganizationId("me"), OrganizationId("other")
PARTIES = (CallerRole.MO, CallerRole.PUBLISHER)
CHANGES = {
    Operation.SUBMIT_CONTRACT,
    Operation.SEND_EVENT,
    Operation.REDELIVER,
    Operation.REPLAY_DELIVERIES,
    Operation.REDRIVE,
    Operation.TEST_ENDPOINT,
    Operation.CREATE_ORGANIZATION,
    Operation.UPDATE_ORGANIZATION,
    Operation.CHANGE_ORGANIZATION_STATUS,
    Operation.ADD_KEY,
    Operation.CHANGE_KEY_STATUS,
    Operation.ROTATE_WEBHOOK_SECRET,
    Operation.ISSUE_MPASS,
    Operation.CHANGE_MPASS_STATUS,
    Operation.ISSUE_CREDENTIAL,
    Operation.PUBLISH_TEMPLATE,
    Operation.CHANGE_TEMPLATE_STATUS,
    Operation.DECIDE_CHANGE,
}
ONBOARDING = {
    Operation.SEND_EVENT,
    Operation.READ_EVENT,
    Operation.READ_CONTRACT,
    Operation.LIST_CONTRACTS,
    Operation.READ_DELIVERY,
    Operation.LIST_DELIVERIES,
    Operation.TEST_ENDPOINT,
    Operation.UPDATE_ORGANIZATION,
    Operation.READ_ORGANIZATION,
    Operation.LIST_ORGANIZATIONS,
    Operation.ADD_KEY,
    Operation.CHANGE_KEY_STATUS,
    Operation.READ_PARTNER_KEYS,
    Operation.ROTATE_WEBHOOK_SECRET,
    Operation.READ_TEMPLATE,
    Operation.LIST_TEMPLATES,
}


def caller(role, status=None):
    status = status or (OrganizationStatus.ACTIVE if role in PARTIES else None)
    return Caller(caller_id=ME, role=role, key_id=KeyId("k"), token_id="t", status=status)  # noqa: S106  # an id


def test_every_operation_has_a_row():
    assert set(RIGHTS) == set(Operation)


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("role", CallerRole)
def test_a_right_is_refused_hidden_or_given(operation, role):
    right = RIGHTS[operation]
    scope = getattr(right, role)
    if scope is NONE:
        for owner in (ME, OTHER, None):
            with pytest.raises(ForbiddenError):
                authorize(caller(role), operation, owner=owner)
        with pytest.raises(ForbiddenError):
            visible_to(caller(role), operation)
    elif scope is OWN:
        authorize(caller(role), operation, owner=ME)
        for owner in (OTHER, None):
            with pytest.raises(NotFoundError):
                authorize(caller(role), operation, owner=owner)
        assert visible_to(caller(role), operation) == ME
    else:
        for owner in (ME, OTHER, None):
            authorize(caller(role), operation, owner=owner)
        assert visible_to(caller(role), operation) is None


@pytest.mark.parametrize("operation", Operation)
def test_the_auditor_and_the_checker_read_everything_and_change_nothing_but_a_checker_decides(operation):
    right = RIGHTS[operation]
    expected = NONE if operation in CHANGES else ANY
    assert right.auditor == expected
    assert right.checker == (ANY if operation is Operation.DECIDE_CHANGE else expected)


@pytest.mark.parametrize("operation", Operation)
def test_an_organization_reaches_no_further_than_its_own_but_for_templates(operation):
    right = RIGHTS[operation]
    scopes = {right.mo, right.publisher, right.pending}
    assert ANY not in scopes or operation in {
        Operation.LINT_TEMPLATE,
        Operation.READ_TEMPLATE,
        Operation.LIST_TEMPLATES,
    }


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("role", PARTIES)
def test_a_pending_organization_does_onboarding_only(operation, role):
    pending = caller(role, OrganizationStatus.PENDING)
    if operation in ONBOARDING:
        assert check_right(pending, operation) is getattr(RIGHTS[operation], role)
    else:
        with pytest.raises(ForbiddenError):
            check_right(pending, operation)


@pytest.mark.parametrize("role", PARTIES)
def test_a_suspended_organization_keeps_its_rights(role):
    for operation in Operation:
        if getattr(RIGHTS[operation], role) is not NONE:
            check_right(caller(role, OrganizationStatus.SUSPENDED), operation)


def test_what_is_hidden_and_what_is_not_there_look_the_same():
    with pytest.raises(NotFoundError) as hidden:
        authorize(caller(CallerRole.MO), Operation.READ_MPASS, owner=OTHER)
    assert (hidden.value.detail, hidden.value.facts) == (not_found().detail, not_found().facts)
