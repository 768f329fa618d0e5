"""The shapes of requests and answers, for OpenAPI: Structs at the edge that say what the wire looks like.

Requests are not decoded into them: the use cases read members one by one, so that each fault is refused by its own
code. A test holds every real answer against the schema made from its Struct.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from moneta.domain.limits import (
    CERTIFICATES_MAX,
    CURSOR_CHARS_MAX,
    JSON_INTEGER_MAX,
    KEYS_PER_ORGANIZATION_MAX,
    LIST_MEMBERS_MAX,
    NAME_CHARS_MAX,
    REASON_CHARS_MAX,
    SECRET_OVERLAP_S_MAX,
)

UUID4: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"

# fmt: off
Seconds      = Annotated[int, Meta(ge=0, le=JSON_INTEGER_MAX, description="Unix seconds")]
ChosenId     = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:~-]{1,128}$")]
OrgId        = Annotated[str, Meta(pattern=UUID4, description="UUID v4")]
Code         = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,12}$")]
KeyThumb     = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$", description="RFC 7638 SHA-256 thumbprint")]
Base64url    = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$")]
CompactJWS   = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
Secret       = Annotated[str, Meta(pattern=r"^whsec_[A-Za-z0-9+/]{43}=$")]
Name         = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Reason       = Annotated[str, Meta(max_length=REASON_CHARS_MAX)]
Revision     = Annotated[int, Meta(ge=1, description="counts commits")]
WebhookURL   = Annotated[str, Meta(pattern=r"^https?://", description="https, or http in local use")]
Cursor       = Annotated[str, Meta(min_length=1, max_length=CURSOR_CHARS_MAX)]
Digest       = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$", description="base64url of a SHA-256")]
Object       = Annotated[dict[str, Any], Meta(description="any JSON object")]  # JSON has no narrower type
OrganizationStatusName = Literal["Pending", "Active", "Suspended", "Destroyed"]
MPassStatusName        = Literal["Pending", "Active", "Locked", "Expired", "Revoked"]
KeyUseName             = Literal["auth", "contract"]
# fmt: on

ADR_NAMES: Final = {"created_at": "createdAt", "updated_at": "updatedAt"}


class Problem(Struct):
    """RFC 9457. Further members are the facts of the refusal."""

    type: Annotated[str, Meta(pattern=r"^/problems/[a-z0-9_]+$")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    code: str


class ProblemDescription(Struct):
    """What a problem code means."""

    code: str
    title: str
    status: int
    explanation: str


# Contracts and events.


class JWSEntry(Struct, forbid_unknown_fields=True):
    """One signature: RFC 7515, section 7.2.1, without an unprotected header."""

    protected: Base64url
    signature: Base64url


class ContractJWS(Struct, forbid_unknown_fields=True):
    """A contract on its way: JWS General JSON, signatures in signing order."""

    payload: Base64url
    signatures: Annotated[list[JWSEntry], Meta(min_length=1, max_length=16)]


class ContractData(Struct, forbid_unknown_fields=True):
    """What ``.submit`` and ``.sign`` carry."""

    contract: ContractJWS


class ActData(Struct, forbid_unknown_fields=True):
    """What ``.decline`` and ``.cancel`` carry."""

    act: CompactJWS


class ContractEvent(Struct):
    """A CloudEvent 1.0 that submits or signs a contract. Extension attributes are ignored."""

    specversion: Literal["1.0"]
    id: ChosenId
    source: OrgId
    type: Literal["moneta.contract.submit", "moneta.contract.sign"]
    subject: ChosenId
    data: ContractData
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    dataschema: str | UnsetType = UNSET


class ActEvent(Struct):
    """A CloudEvent 1.0 that declines or cancels a contract. Extension attributes are ignored."""

    specversion: Literal["1.0"]
    id: ChosenId
    source: OrgId
    type: Literal["moneta.contract.decline", "moneta.contract.cancel"]
    subject: ChosenId
    data: ActData
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    dataschema: str | UnsetType = UNSET


class EventAccepted(Struct):
    """The event is durably stored; what becomes of it, ``Location`` tells."""

    event_id: ChosenId
    contract_id: ChosenId
    status: Literal["accepted"]
    received_at: Seconds


class EventDocument(Struct, forbid_unknown_fields=True):
    """How far an event has come; ``problem`` of a rejected one."""

    event_id: ChosenId
    type: Literal["moneta.contract.submit", "moneta.contract.sign", "moneta.contract.decline", "moneta.contract.cancel"]
    contract_id: ChosenId
    status: Literal["accepted", "processed", "rejected"]
    received_at: Seconds
    processed_at: Seconds | None
    problem: Problem | None


class SignatureView(Struct, forbid_unknown_fields=True):
    """One signature by role; ``public_key`` is SPKI DER in base64url, shown and never trusted."""

    signature: Base64url
    timestamp: int
    public_key: Base64url | None
    kid: KeyThumb
    alg: str


class EventLog(Struct, forbid_unknown_fields=True):
    """One thing that happened to a contract."""

    event: str
    timestamp: Seconds
    actor: str
    revision: Revision


class ContractItem(Struct, forbid_unknown_fields=True):
    """A contract in a list."""

    contract_id: ChosenId
    template_id: str
    version: int
    mo_id: str | None
    publisher_id: str | None
    mpass_id: str | None
    status: str
    created_at: int
    received_at: Seconds
    finalized_at: Seconds | None
    revision: Revision


class ContractDocument(Struct, forbid_unknown_fields=True):
    """A contract as the hub shows it; ``jws`` has the signed bytes, ``payload`` is a view with amounts as strings."""

    contract_id: ChosenId
    template_id: str
    mo_id: str | None
    publisher_id: str | None
    org_id: str | None
    mpass_id: str | None
    version: int
    payload: Object
    signatures_map: dict[str, SignatureView]
    event_logs: list[EventLog]
    status: str
    created_at: int
    finalized_at: Seconds | None
    description: str | None
    supersedes: str | None
    superseded_by: str | None
    received_at: Seconds
    revision: Revision
    next_signers: list[str]
    jws: ContractJWS
    acts: list[CompactJWS]
    receipt: CompactJWS | None


class NewContract(Struct, forbid_unknown_fields=True):
    """What a contract says that Moneta begins; Moneta dates it. See the protocol's section 3."""

    contract_id: ChosenId
    template_id: ChosenId
    version: int
    payload: Object
    mo_id: ChosenId | UnsetType = UNSET
    publisher_id: ChosenId | UnsetType = UNSET
    org_id: ChosenId | UnsetType = UNSET
    mpass_id: ChosenId | UnsetType = UNSET
    description: str | UnsetType = UNSET
    expires_at: Seconds | UnsetType = UNSET
    supersedes: ChosenId | UnsetType = UNSET
    nonce: Base64url | UnsetType = UNSET


class ContractPage(Struct, forbid_unknown_fields=True):
    """A page of contracts, newest first."""

    items: list[ContractItem]
    next_cursor: str | None


class AttemptDocument(Struct, forbid_unknown_fields=True):
    """One try to send. ``status`` null: no answer, and ``failure`` says why; ``answer``: of a failed one, 1 KiB."""

    time: Seconds
    status: int | None
    duration_ms: Annotated[int, Meta(ge=0)]
    failure: str | None
    answer: str


class DeliveryDocument(Struct, forbid_unknown_fields=True):
    """A webhook message owed to the organization, with its attempts, oldest first.

    ``contract_id`` null: it is about the endpoint.
    """

    webhook_id: ChosenId
    organization_id: str
    type: str
    contract_id: str | None
    revision: Annotated[int, Meta(ge=0)]
    owed_at: Seconds
    status: Literal["pending", "delivered", "dead"]
    next_attempt_at: Seconds | None
    attempts: list[AttemptDocument]


class DeliveryPage(Struct, forbid_unknown_fields=True):
    """A page of deliveries, newest first."""

    items: list[DeliveryDocument]
    next_cursor: str | None


class ContractReplay(Struct, forbid_unknown_fields=True):
    """All messages about a contract. ``organization_id``: only its own; the operator alone may name another."""

    contract_id: ChosenId
    organization_id: ChosenId | UnsetType = UNSET
    cursor: Cursor | UnsetType | None = UNSET


class RangeReplay(Struct, forbid_unknown_fields=True, rename={"owed_from": "from", "owed_to": "to"}):
    """All messages owed from one second to another, both inclusive."""

    owed_from: Seconds
    owed_to: Seconds
    organization_id: ChosenId | UnsetType = UNSET
    cursor: Cursor | UnsetType | None = UNSET


class ReplayDocument(Struct, forbid_unknown_fields=True):
    """How many messages are owed now; ``next_cursor``, sent as ``cursor`` beside the same range, goes on."""

    count: Annotated[int, Meta(ge=0)]
    next_cursor: str | None


class DeadLetterDocument(Struct, forbid_unknown_fields=True):
    """An event that no try could process; ``reason`` names what it met at the last one."""

    id: ChosenId
    queue: Literal["events"]
    source: OrgId
    event_id: ChosenId
    contract_id: ChosenId
    tries: Annotated[int, Meta(ge=1)]
    died_at: Seconds
    reason: str


class DeadLetterPage(Struct, forbid_unknown_fields=True):
    """A page of dead letters, oldest first."""

    items: list[DeadLetterDocument]
    next_cursor: str | None


# Organizations and keys.


class NewKey(Struct, forbid_unknown_fields=True):
    """A public key to register; ``proof`` is a compact JWS by the key itself."""

    jwk: Object
    use: Annotated[list[KeyUseName], Meta(min_length=1, max_length=2)]
    proof: CompactJWS


class KeyDocument(Struct, forbid_unknown_fields=True):
    """A registered key; ``registry_seq`` and ``changed_at`` are those of its last change.

    ``ends_at``: when its rotation ends; what it signs from then on does not count.
    """

    kid: KeyThumb
    jwk: Object
    use: list[KeyUseName]
    status: Literal["active", "retired", "revoked", "compromised"]
    registry_seq: int
    registered_at: Seconds
    changed_at: Seconds
    since: Seconds | None
    ends_at: Seconds | None


class NewMO(Struct, forbid_unknown_fields=True):
    """A membership organization to register; ``metadata.webhook_url`` is required."""

    name: Name
    mic: Code
    metadata: Object
    keys: Annotated[list[NewKey], Meta(min_length=1, max_length=KEYS_PER_ORGANIZATION_MAX)]
    services: Annotated[list[str], Meta(max_length=LIST_MEMBERS_MAX)] | UnsetType = UNSET
    industries: Annotated[list[str], Meta(max_length=LIST_MEMBERS_MAX)] | UnsetType = UNSET
    policies: Object | UnsetType = UNSET
    certificates: Annotated[list[str], Meta(max_length=CERTIFICATES_MAX)] | UnsetType = UNSET


class NewPublisher(Struct, forbid_unknown_fields=True):
    """A publisher to register; ``metadata.webhook_url`` is required."""

    name: Name
    mpc: Code
    metadata: Object
    keys: Annotated[list[NewKey], Meta(min_length=1, max_length=KEYS_PER_ORGANIZATION_MAX)]
    services: Annotated[list[str], Meta(max_length=LIST_MEMBERS_MAX)] | UnsetType = UNSET
    industries: Annotated[list[str], Meta(max_length=LIST_MEMBERS_MAX)] | UnsetType = UNSET
    policies: Object | UnsetType = UNSET
    certificates: Annotated[list[str], Meta(max_length=CERTIFICATES_MAX)] | UnsetType = UNSET


class OrganizationUpdate(Struct, forbid_unknown_fields=True):
    """The members to replace."""

    name: Name | UnsetType = UNSET
    metadata: Object | UnsetType = UNSET
    services: Annotated[list[str], Meta(max_length=LIST_MEMBERS_MAX)] | UnsetType = UNSET
    industries: Annotated[list[str], Meta(max_length=LIST_MEMBERS_MAX)] | UnsetType = UNSET
    policies: Object | UnsetType = UNSET
    certificates: Annotated[list[str], Meta(max_length=CERTIFICATES_MAX)] | UnsetType = UNSET


class OrganizationStatusChange(Struct, forbid_unknown_fields=True):
    """The status asked for."""

    status: Literal["Active", "Suspended", "Destroyed"]
    reason: Reason | UnsetType = UNSET


class KeyStatusChange(Struct, forbid_unknown_fields=True):
    """The status asked for; ``since`` is a statement and changes nothing committed."""

    status: Literal["retired", "revoked", "compromised"]
    since: Seconds | UnsetType = UNSET


class SecretRotation(Struct, forbid_unknown_fields=True):
    """How long the old secret signs too, in seconds."""

    overlap_s: Annotated[int, Meta(ge=0, le=SECRET_OVERLAP_S_MAX)]


class SecretDocument(Struct, forbid_unknown_fields=True):
    """The new secret, shown this once; the ones before it sign until ``previous_until``."""

    webhook_secret: Secret
    previous_until: Seconds


class WebhookStanding(Struct, forbid_unknown_fields=True):
    """How the organization's endpoint stands; ``reason`` says why it is disabled: 410, or 5 days of failures alone.

    ``checked_at``: when this address last answered a signed check or test.
    """

    status: Literal["enabled", "failing", "disabled"]
    failing_since: Seconds | None
    disabled_at: Seconds | None
    reason: Literal["gone", "failing"] | None
    checked_at: Seconds | None


class OrganizationDocument(Struct, forbid_unknown_fields=True, rename=ADR_NAMES):
    """An organization: ``mic`` of a membership organization, ``mpc`` of a publisher."""

    id: OrgId
    name: str
    status: OrganizationStatusName
    created_at: Seconds
    updated_at: Seconds
    metadata: Object
    certificates: list[str]
    services: list[str]
    industries: list[str]
    policies: Object
    keys: list[KeyDocument]
    webhook: WebhookStanding
    mic: Code | UnsetType = UNSET
    mpc: Code | UnsetType = UNSET


class NewOrganizationDocument(OrganizationDocument, forbid_unknown_fields=True, rename=ADR_NAMES, kw_only=True):
    """A new organization, with its webhook secret this once; null on a replay."""

    webhook_secret: Secret | None


class OrganizationPage(Struct, forbid_unknown_fields=True):
    """A page of organizations, newest first."""

    items: list[OrganizationDocument]
    next_cursor: str | None


class JWK(Struct):
    """A public key of the one or the other type (RFC 7517), with what the hub tells of it."""

    kty: Literal["RSA", "EC", "OKP"]
    kid: KeyThumb
    alg: Literal["RS256", "PS256", "ES256", "EdDSA"]
    use: Literal["sig"]
    nbf: Seconds
    exp: Seconds
    revoked_at: Seconds | UnsetType = UNSET
    x5c: list[str] | UnsetType = UNSET


class PartnerJWK(Struct):
    """A partner's contract key (RFC 7517), with how it stands in the hub's registry."""

    kty: Literal["RSA", "EC", "OKP"]
    kid: KeyThumb
    alg: Literal["RS256", "PS256", "ES256", "EdDSA"]
    use: Literal["sig"]
    status: Literal["active", "retired", "revoked", "compromised"]
    registry_seq: int
    nbf: Seconds
    revoked_at: Seconds | UnsetType = UNSET
    exp: Seconds | UnsetType = UNSET


class PartnerJWKS(Struct, forbid_unknown_fields=True):
    """A partner's contract keys, ended ones too."""

    keys: list[PartnerJWK]


class JWKS(Struct, forbid_unknown_fields=True):
    """A set of public keys, ended ones too: what they signed stays to be verified."""

    keys: list[JWK]


# mPasses.


class NewMPass(Struct, forbid_unknown_fields=True):
    """An mPass to issue; ``member_ref`` is the MO's pseudonym, never personal data."""

    mo_id: OrgId
    member_ref: Name
    tier: Name | UnsetType | None = UNSET
    expires_at: Seconds | UnsetType | None = UNSET
    policy: Object | UnsetType | None = UNSET
    holder_jwk: Object | UnsetType | None = UNSET


class MPassStatusChange(Struct, forbid_unknown_fields=True):
    """``Active`` activates a Pending mPass and lifts the caller's own lock."""

    status: Literal["Active", "Locked", "Revoked"]
    reason: Reason | UnsetType | None = UNSET
    on_behalf_of: Literal["user"] | UnsetType | None = UNSET
    holder_proof: CompactJWS | UnsetType | None = UNSET


class MPassDocument(Struct, forbid_unknown_fields=True):
    """An mPass with the status that its facts add up to."""

    id: OrgId
    number: Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,12}[0-9]{17}$")]
    mo_id: OrgId
    status: MPassStatusName
    locks: list[Literal["admin", "mo", "org", "user"]]
    tier: str | None
    policy: Object
    issued_at: Seconds
    expires_at: Seconds | None


class MPassMoment(Struct, forbid_unknown_fields=True):
    """What a moment led to, and its cause: an action of a contract's; null where it was asked with a token."""

    at: Seconds
    status: MPassStatusName
    locks: list[Literal["admin", "mo", "org", "user"]]
    expires_at: Seconds | None
    action: Literal["activate", "lock", "unlock", "revoke", "renew", "rotate_holder_key"] | None
    reason_code: str | None
    contract_id: str | None


class MPassHistory(Struct, forbid_unknown_fields=True):
    """What became of an mPass, oldest first."""

    id: OrgId
    history: list[MPassMoment]


class CredentialDocument(Struct, forbid_unknown_fields=True):
    """An mPass as an SD-JWT VC, with every disclosure and without key binding: for its holder."""

    format: Literal["dc+sd-jwt"]
    credential: str
    expires_at: Seconds


class MPassPage(Struct, forbid_unknown_fields=True):
    """A page of mPasses, newest first."""

    items: list[MPassDocument]
    next_cursor: str | None


# What waits for a second operator.


class ChangeAsked(Struct, forbid_unknown_fields=True):
    """What was asked takes two: it is kept until another identity decides it."""

    change: OrgId
    state: Literal["awaiting_checker"]


class ChangeDecision(Struct, forbid_unknown_fields=True):
    """What another identity than the asker says to it."""

    decision: Literal["approve", "refuse"]
    reason: Reason | UnsetType = UNSET


class ChangeDocument(Struct, forbid_unknown_fields=True):
    """What was asked for, by whom, and what became of it; ``problem``: why the state of then said no to it."""

    id: OrgId
    state: Literal["awaiting_checker", "approved", "refused", "failed", "expired"]
    operation: str
    subject: str
    target: Annotated[dict[str, str], Meta(description="what the call's path named")]
    members: Annotated[dict[str, Any], Meta(description="the call's body")]
    if_match: int | None
    asked_by: ChosenId
    asked_at: Seconds
    expires_at: Seconds
    decided_by: ChosenId | None
    decided_at: Seconds | None
    reason: str | None
    problem: Problem | None


class ChangePage(Struct, forbid_unknown_fields=True):
    """A page of what was asked for, newest first."""

    items: list[ChangeDocument]
    next_cursor: str | None


# Templates.


class TemplateItem(Struct, forbid_unknown_fields=True):
    """One version of a template in a list."""

    template_name: str
    version: Annotated[int, Meta(ge=1)]
    description: str | None
    created_at: Seconds
    is_latest: bool
    status: Literal["draft", "published", "deprecated", "retired"]
    sha256: Digest


class TemplateDocument(TemplateItem, forbid_unknown_fields=True):
    """One version of a template; ``template_payload`` is its YAML, byte for byte."""

    template_payload: str


class TemplatePage(Struct, forbid_unknown_fields=True):
    """A page of versions, by name and version, without their YAML."""

    items: list[TemplateItem]
    next_cursor: str | None


class TemplateFault(Struct, forbid_unknown_fields=True):
    """What is wrong, and on which line, from 1."""

    line: Annotated[int, Meta(ge=1)]
    message: str


class LintDocument(Struct, forbid_unknown_fields=True):
    """Every problem, in the order of lines; none for a template that can be published."""

    problems: list[TemplateFault]


class TemplateStatusChange(Struct, forbid_unknown_fields=True):
    """A draft can only be published."""

    status: Literal["published", "deprecated", "retired"]


# The hub itself.


class Health(Struct, forbid_unknown_fields=True):
    """The process is alive."""

    status: Literal["ok"]


class ReadinessCheck(Struct, forbid_unknown_fields=True):
    """One check. ``fault``, ``remedy``: what was found and what to do about it, null while the check holds."""

    name: str
    holds: bool
    fault: str | None
    remedy: str | None


class Readiness(Struct, forbid_unknown_fields=True):
    """Whether events can be taken and will be processed."""

    status: Literal["ready", "not_ready"]
    checks: list[ReadinessCheck]
