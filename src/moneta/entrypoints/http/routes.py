"""Every call that takes a token, a row each: method, path, right, use case, and what goes in and out.

The handlers, the OpenAPI document and the matrix of tenants in the tests are all made from this table, so that a new
row is served, described and tested, or fails. ``POST /event`` stands apart (``event_route``), and so does what needs
no token (``open_routes``).
"""

from typing import Final

from moneta.application import (
    checked,
    credentials,
    dead_letters,
    endpoint_tests,
    mpasses,
    organization_keys,
    organizations,
    pending_changes,
    queries,
    redelivery,
    submit,
    templates,
    webhook_secrets,
)
from moneta.application.access import Operation
from moneta.domain import errors
from moneta.domain.identifiers import ContractId, EventId, KeyId, MPassId, WebhookId
from moneta.entrypoints.http import schemas
from moneta.entrypoints.http.calls import CHANGE_PATH, JSON_BODY, YAML_BODY, Route

PAGE: Final = ("limit", "cursor")
KEY_FAULTS: Final = (errors.WeakKeyError, errors.InvalidProofError, errors.KeyTakenError, errors.MalformedJWSError)
NO_WAY: Final = (errors.TransitionRefusedError,)

SUBMISSION_FAULTS: Final = (
    errors.AmbiguousFieldError,
    errors.ContractExistsError,
    errors.ContractExpiredError,
    errors.InvalidAmountError,
    errors.KeyTakenError,
    errors.MPassNotActiveError,
    errors.NotSupersedableError,
    errors.OrganizationNotActiveError,
    errors.OrganizationNotPendingError,
    errors.OrganizationSuspendedError,
    errors.SchemaMismatchError,
    errors.TemplateRetiredError,
    errors.TransitionRefusedError,
    errors.UnknownMPassError,
    errors.UnknownOrganizationError,
    errors.UnknownTemplateError,
    errors.WeakKeyError,
    errors.WrongSignerError,
)
"""What a submission is refused for, here at once."""

ROUTES: Final = (
    # Events, contracts and deliveries.
    Route(
        method="GET",
        path="/events/{event_id}",
        operation=Operation.READ_EVENT,
        summary="How far an event of the caller's has come",
        use_case=lambda call: queries.read_event(
            call.hub, call.caller, EventId(call.path["event_id"]), call.parameters
        ),
        answer=schemas.EventDocument,
        query=("source",),
    ),
    Route(
        method="GET",
        path="/contracts",
        operation=Operation.LIST_CONTRACTS,
        summary="The contracts that name the caller, newest first",
        use_case=lambda call: queries.list_contracts(call.hub, call.caller, call.parameters),
        answer=schemas.ContractPage,
        query=(*queries.CONTRACT_FILTERS, *PAGE),
    ),
    Route(
        method="POST",
        path="/contracts",
        operation=Operation.SUBMIT_CONTRACT,
        summary="Begin a contract whose template Moneta signs first",
        use_case=lambda call: submit.submit_as_moneta(
            call.hub, call.caller, call.members, idempotency_key=call.idempotency_key
        ),
        answer=schemas.ContractDocument,
        body=JSON_BODY,
        request=(schemas.NewContract,),
        may_wait=True,
        is_idempotent=True,
        location="/contracts/{contract_id}",
        problems=SUBMISSION_FAULTS,
    ),
    Route(
        method="GET",
        path="/contracts/{contract_id}",
        operation=Operation.READ_CONTRACT,
        is_revised=True,
        summary="A contract with its signatures, acts and receipt",
        use_case=lambda call: queries.read_contract(call.hub, call.caller, ContractId(call.path["contract_id"])),
        answer=schemas.ContractDocument,
        problems=(errors.UnknownContractError,),
    ),
    Route(
        method="GET",
        path="/deliveries",
        operation=Operation.LIST_DELIVERIES,
        summary="The webhook messages owed to the caller, newest first",
        use_case=lambda call: queries.list_deliveries(call.hub, call.caller, call.parameters),
        answer=schemas.DeliveryPage,
        query=("contract_id", "status", *PAGE),
    ),
    Route(
        method="GET",
        path="/deliveries/{webhook_id}",
        operation=Operation.READ_DELIVERY,
        summary="A webhook message with its attempts",
        use_case=lambda call: queries.read_delivery(call.hub, call.caller, WebhookId(call.path["webhook_id"])),
        answer=schemas.DeliveryDocument,
    ),
    Route(
        method="POST",
        path="/deliveries/{webhook_id}/redeliver",
        operation=Operation.REDELIVER,
        summary="Send a webhook message again, under the same webhook-id, whatever became of it",
        use_case=lambda call: redelivery.redeliver(call.hub, call.caller, WebhookId(call.path["webhook_id"])),
        answer=schemas.DeliveryDocument,
        is_deferred=True,
        problems=NO_WAY,
    ),
    Route(
        method="POST",
        path="/deliveries/replay",
        operation=Operation.REPLAY_DELIVERIES,
        summary="Send the webhook messages of a contract, or of a range of time, again",
        use_case=lambda call: redelivery.replay_deliveries(
            call.hub, call.caller, call.members, idempotency_key=call.idempotency_key
        ),
        answer=schemas.ReplayDocument,
        body=JSON_BODY,
        request=(schemas.ContractReplay, schemas.RangeReplay),
        is_idempotent=True,
        is_deferred=True,
        problems=(errors.NotFoundError,),
    ),
    Route(
        method="GET",
        path="/dlq",
        operation=Operation.LIST_DEAD_LETTERS,
        summary="The events that no try could process, oldest first",
        use_case=lambda call: dead_letters.list_dead_letters(call.hub, call.caller, call.parameters),
        answer=schemas.DeadLetterPage,
        query=PAGE,
    ),
    Route(
        method="POST",
        path="/dlq/{letter_id}/redrive",
        operation=Operation.REDRIVE,
        summary="Give an event that no try could process back to its queue",
        use_case=lambda call: dead_letters.redrive(call.hub, call.caller, call.path["letter_id"]),
        answer=schemas.DeadLetterDocument,
        is_deferred=True,
    ),
    # Organizations and their keys.
    Route(
        method="POST",
        path="/organizations/{kind}",
        operation=Operation.CREATE_ORGANIZATION,
        summary="Register an organization, Pending, with its keys",
        use_case=lambda call: organizations.create_organization(
            call.hub, call.caller, call.kind, call.members, idempotency_key=call.idempotency_key
        ),
        answer=schemas.NewOrganizationDocument,
        body=JSON_BODY,
        request=(schemas.NewMO, schemas.NewPublisher),
        is_idempotent=True,
        location="/organizations/{kind}/{id}",
        problems=(*KEY_FAULTS, errors.CodeTakenError, errors.InvalidCertificateError),
    ),
    Route(
        method="GET",
        path="/organizations/{kind}",
        operation=Operation.LIST_ORGANIZATIONS,
        summary="Organizations of a kind, newest first; an organization sees itself alone",
        use_case=lambda call: organizations.list_organizations(call.hub, call.caller, call.kind, call.parameters),
        answer=schemas.OrganizationPage,
        query=("mic", "mpc", "status", *PAGE),
    ),
    Route(
        method="GET",
        path="/organizations/{kind}/{organization_id}",
        operation=Operation.READ_ORGANIZATION,
        is_revised=True,
        summary="An organization with its keys",
        use_case=lambda call: organizations.read_organization(call.hub, call.caller, call.kind, call.organization_id),
        answer=schemas.OrganizationDocument,
    ),
    Route(
        method="PUT",
        path="/organizations/{kind}/{organization_id}",
        operation=Operation.UPDATE_ORGANIZATION,
        summary="Replace the members sent; an organization may replace its own metadata",
        use_case=lambda call: organizations.update_organization(
            call.hub, call.caller, call.kind, call.organization_id, call.members, if_match=call.if_match
        ),
        answer=schemas.OrganizationDocument,
        body=JSON_BODY,
        request=(schemas.OrganizationUpdate,),
        is_conditional=True,
        problems=(*NO_WAY, errors.InvalidCertificateError),
    ),
    Route(
        method="PUT",
        path="/organizations/{kind}/{organization_id}/status",
        operation=Operation.CHANGE_ORGANIZATION_STATUS,
        summary="Activate, suspend or destroy; an organization may suspend itself",
        use_case=lambda call: organizations.change_organization_status(
            call.hub, call.caller, call.kind, call.organization_id, call.members, if_match=call.if_match
        ),
        answer=schemas.OrganizationDocument,
        body=JSON_BODY,
        request=(schemas.OrganizationStatusChange,),
        is_conditional=True,
        may_wait=True,
        problems=(*NO_WAY, errors.EndpointNotCheckedError),
    ),
    Route(
        method="POST",
        path="/organizations/{kind}/{organization_id}/keys",
        operation=Operation.ADD_KEY,
        summary="Register one more key; an organization's own token adds auth keys only",
        use_case=lambda call: organization_keys.add_key(
            call.hub,
            call.caller,
            call.kind,
            call.organization_id,
            call.members,
            idempotency_key=call.idempotency_key,
        ),
        answer=schemas.KeyDocument,
        body=JSON_BODY,
        request=(schemas.NewKey,),
        is_idempotent=True,
        location="/organizations/{kind}/{organization_id}",
        may_wait=True,
        problems=(*KEY_FAULTS, *NO_WAY),
    ),
    Route(
        method="PUT",
        path="/organizations/{kind}/{organization_id}/keys/{kid}/status",
        operation=Operation.CHANGE_KEY_STATUS,
        summary="Retire or revoke a key, or mark it as compromised",
        use_case=lambda call: organization_keys.change_key_status(
            call.hub,
            call.caller,
            call.kind,
            call.organization_id,
            KeyId(call.path["kid"]),
            call.members,
            if_match=call.if_match,
        ),
        answer=schemas.KeyDocument,
        body=JSON_BODY,
        request=(schemas.KeyStatusChange,),
        is_conditional=True,
        may_wait=True,
        problems=NO_WAY,
    ),
    Route(
        method="GET",
        path="/organizations/{kind}/{organization_id}/jwks",
        operation=Operation.READ_PARTNER_KEYS,
        summary="A partner's contract keys, for those who share a contract with it",
        use_case=lambda call: organization_keys.read_partner_keys(
            call.hub, call.caller, call.kind, call.organization_id
        ),
        answer=schemas.PartnerJWKS,
    ),
    Route(
        method="POST",
        path="/organizations/{kind}/{organization_id}/webhook-secret",
        operation=Operation.ROTATE_WEBHOOK_SECRET,
        summary="Make a new webhook secret, shown this once",
        use_case=lambda call: webhook_secrets.rotate_webhook_secret(
            call.hub, call.caller, call.kind, call.organization_id, call.members, if_match=call.if_match
        ),
        answer=schemas.SecretDocument,
        body=JSON_BODY,
        request=(schemas.SecretRotation,),
        is_conditional=True,
        problems=NO_WAY,
    ),
    Route(
        method="POST",
        path="/organizations/{kind}/{organization_id}/webhook-test",
        operation=Operation.TEST_ENDPOINT,
        summary="Send a signed test message to the organization's endpoint, once, even if it is disabled",
        use_case=lambda call: endpoint_tests.send_endpoint_test(call.hub, call.caller, call.kind, call.organization_id),
        answer=schemas.DeliveryDocument,
        is_deferred=True,
        location="/deliveries/{webhook_id}",
        problems=NO_WAY,
    ),
    # mPasses.
    Route(
        method="POST",
        path="/mpass",
        operation=Operation.ISSUE_MPASS,
        summary="Issue an mPass, Pending",
        use_case=lambda call: mpasses.issue_mpass(
            call.hub, call.caller, call.members, idempotency_key=call.idempotency_key
        ),
        answer=schemas.MPassDocument,
        body=JSON_BODY,
        request=(schemas.NewMPass,),
        is_idempotent=True,
        location="/mpass/{id}",
        problems=(errors.OrganizationSuspendedError, errors.OrganizationNotActiveError, errors.WeakKeyError),
    ),
    Route(
        method="GET",
        path="/mpass",
        operation=Operation.LIST_MPASSES,
        summary="mPasses, newest first; an MO sees its own",
        use_case=lambda call: mpasses.list_mpasses(call.hub, call.caller, call.parameters),
        answer=schemas.MPassPage,
        query=("mo_id", "status", *PAGE),
    ),
    Route(
        method="GET",
        path="/mpass/{mpass_id}",
        operation=Operation.READ_MPASS,
        is_revised=True,
        summary="An mPass with its status and locks",
        use_case=lambda call: mpasses.read_mpass(
            call.hub, call.caller, MPassId(call.path["mpass_id"]), call.parameters
        ),
        answer=schemas.MPassDocument,
        query=("at",),
    ),
    Route(
        method="GET",
        path="/mpass/{mpass_id}/history",
        operation=Operation.READ_MPASS_HISTORY,
        summary="What became of an mPass, oldest first: each moment, and its cause",
        use_case=lambda call: mpasses.read_mpass_history(call.hub, call.caller, MPassId(call.path["mpass_id"])),
        answer=schemas.MPassHistory,
    ),
    Route(
        method="PUT",
        path="/mpass/{mpass_id}/status",
        operation=Operation.CHANGE_MPASS_STATUS,
        summary="Activate, lock, unlock or revoke an mPass",
        use_case=lambda call: mpasses.change_mpass_status(
            call.hub, call.caller, MPassId(call.path["mpass_id"]), call.members, if_match=call.if_match
        ),
        answer=schemas.MPassDocument,
        body=JSON_BODY,
        request=(schemas.MPassStatusChange,),
        is_conditional=True,
        problems=(*NO_WAY, errors.InvalidProofError),
    ),
    Route(
        method="POST",
        path="/mpass/{mpass_id}/credential",
        operation=Operation.ISSUE_CREDENTIAL,
        summary="Issue an mPass as an SD-JWT VC, for its holder",
        use_case=lambda call: credentials.issue_credential(call.hub, call.caller, MPassId(call.path["mpass_id"])),
        answer=schemas.CredentialDocument,
        problems=(errors.MPassNotActiveError, errors.MissingFieldError),
    ),
    # What waits for a second operator.
    Route(
        method="GET",
        path="/changes",
        operation=Operation.LIST_CHANGES,
        summary="What operators asked for that takes two of them, newest first",
        use_case=lambda call: pending_changes.list_changes(call.hub, call.caller, call.parameters),
        answer=schemas.ChangePage,
        query=("state", *PAGE),
    ),
    Route(
        method="GET",
        path=CHANGE_PATH,
        operation=Operation.READ_CHANGE,
        is_revised=True,
        summary="What an operator asked for, and what became of it",
        use_case=lambda call: pending_changes.read_change(call.hub, call.caller, call.path["change_id"]),
        answer=schemas.ChangeDocument,
    ),
    Route(
        method="PUT",
        path=CHANGE_PATH,
        operation=Operation.DECIDE_CHANGE,
        summary="Approve what another asked for, which does it, or refuse it",
        use_case=lambda call: checked.decide_change(
            call.hub, call.caller, call.path["change_id"], call.members, if_match=call.if_match
        ),
        answer=schemas.ChangeDocument,
        body=JSON_BODY,
        request=(schemas.ChangeDecision,),
        is_conditional=True,
        problems=(*NO_WAY, *KEY_FAULTS, errors.PreconditionFailedError, errors.EndpointNotCheckedError),
    ),
    # Templates.
    Route(
        method="POST",
        path="/templates",
        operation=Operation.PUBLISH_TEMPLATE,
        summary="Publish a version of a template, or with ?status=draft keep it",
        use_case=lambda call: templates.publish_template(call.hub, call.caller, call.raw, call.parameters),
        answer=schemas.TemplateDocument,
        body=YAML_BODY,
        query=("status",),
        location="/templates/{template_name}/{version}",
        problems=(errors.TemplateInvalidError, errors.TemplateExistsError),
    ),
    Route(
        method="GET",
        path="/templates",
        operation=Operation.LIST_TEMPLATES,
        summary="Every version of every template",
        use_case=lambda call: templates.list_templates(call.hub, call.caller, call.parameters),
        answer=schemas.TemplatePage,
        query=("status", *PAGE),
    ),
    Route(
        method="POST",
        path="/templates/lint",
        operation=Operation.LINT_TEMPLATE,
        summary="What is wrong with a template, by line; nothing is stored",
        use_case=lambda call: templates.lint_template(call.hub, call.caller, call.raw),
        answer=schemas.LintDocument,
        body=YAML_BODY,
    ),
    Route(
        method="GET",
        path="/templates/{name}",
        operation=Operation.READ_TEMPLATE,
        is_revised=True,
        summary="The latest version of a template",
        use_case=lambda call: templates.read_template(call.hub, call.caller, call.path["name"]),
        answer=schemas.TemplateDocument,
    ),
    Route(
        method="GET",
        path="/templates/{name}/{version}",
        operation=Operation.READ_TEMPLATE,
        is_revised=True,
        summary="One version of a template, with its YAML",
        use_case=lambda call: templates.read_template(call.hub, call.caller, call.path["name"], call.version),
        answer=schemas.TemplateDocument,
    ),
    Route(
        method="PUT",
        path="/templates/{name}/{version}/status",
        operation=Operation.CHANGE_TEMPLATE_STATUS,
        summary="Publish a draft, deprecate or retire a version",
        use_case=lambda call: templates.change_template_status(
            call.hub, call.caller, call.path["name"], call.version, call.members, if_match=call.if_match
        ),
        answer=schemas.TemplateDocument,
        body=JSON_BODY,
        request=(schemas.TemplateStatusChange,),
        is_conditional=True,
        problems=NO_WAY,
    ),
)
