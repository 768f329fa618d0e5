"""What a refusal looks like to a client: one table from error class to HTTP status, title and explanation.

The same problem document (RFC 9457) answers a request, is stored as an event's outcome and goes out in ``.rejected``;
so the table stands here and not at the HTTP edge. ``docs/problems.md`` and ``GET /problems/{code}`` are made from it.

400 is malformed; 409 means that a state stands in the way, so that the same request can succeed when that changes;
422 is well-formed and refused for what it says. Protocol, section 10.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moneta.domain import errors
from moneta.domain.errors import Fact, Refused


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row: the HTTP status, RFC 9457's ``title``, and one sentence for whoever looks the code up."""

    status: int
    title: str
    explanation: str


PROBLEM_TYPES: Final[Mapping[type[Refused], ProblemType]] = {
    # Malformed.
    errors.MalformedJSONError: ProblemType(
        400,
        "Malformed JSON",
        "The bytes are not I-JSON (RFC 7493): UTF-8, no duplicate names, no NaN or Infinity, no unpaired "
        "surrogates, integers within ±(2^53-1), depth at most 16.",
    ),
    errors.MalformedRequestError: ProblemType(
        400,
        "Malformed request",
        "It is JSON, but the request does not have the members, the types or the headers that this call takes.",
    ),
    errors.MalformedJWSError: ProblemType(
        400,
        "Malformed JWS",
        "The JWS, or one of its parts, has not exactly the form that the protocol asks for.",
    ),
    errors.InvalidParameterError: ProblemType(
        400,
        "Invalid parameter",
        "A query parameter is unknown, doubled or out of range, or a cursor is not one that this list gave.",
    ),
    errors.TooLargeError: ProblemType(
        413,
        "Too large",
        "The request has more bytes than the limit, which `limit` names; the connection may be closed.",
    ),
    errors.UnsupportedMediaTypeError: ProblemType(
        415,
        "Unsupported media type",
        "The Content-Type, or a Content-Encoding, is not one that this call takes.",
    ),
    errors.MethodNotAllowedError: ProblemType(
        405,
        "Method not allowed",
        "The path exists and does not take this method; the `Allow` header lists those it takes.",
    ),
    # Who is calling, and may they.
    errors.UnauthorizedError: ProblemType(
        401,
        "Unauthorized",
        "No valid bearer token came. The answer is one and the same for every cause: absent, unknown, expired, "
        "wrong audience, wrong algorithm, bad signature.",
    ),
    errors.ForbiddenError: ProblemType(
        403,
        "Forbidden",
        "The token is valid and its owner may not do this.",
    ),
    errors.NotFoundError: ProblemType(
        404,
        "Not found",
        "There is no such thing, or none that the caller may know of.",
    ),
    errors.UnknownContractError: ProblemType(
        404,
        "Unknown contract",
        "There is no contract of that id that names the sender.",
    ),
    # What a contract or its signature lacks.
    errors.MissingFieldError: ProblemType(
        422,
        "Missing field",
        "A required member is absent or null; `field` names it.",
    ),
    errors.AmbiguousFieldError: ProblemType(
        422,
        "Ambiguous field",
        "A name that the template requires is found at more than one place; a dotted path in the template would "
        "say which.",
    ),
    errors.InvalidFieldError: ProblemType(
        422,
        "Invalid field",
        "A member is there and its value has not the form it must have; `field` names it.",
    ),
    errors.UnknownFieldError: ProblemType(
        422,
        "Unknown field",
        "A member that the protocol does not know; `field` names it.",
    ),
    errors.InvalidAmountError: ProblemType(
        422,
        "Invalid amount",
        "An amount or its currency is not money: a decimal string without exponent, no more decimals than the "
        "currency has, an ISO 4217 code in upper case.",
    ),
    errors.SchemaMismatchError: ProblemType(
        422,
        "Schema mismatch",
        "The payload does not satisfy the template's JSON Schema; `field` is the path of the first fault.",
    ),
    errors.UnknownTemplateError: ProblemType(
        422,
        "Unknown template",
        "No template of that name and version takes contracts.",
    ),
    errors.TemplateRetiredError: ProblemType(
        409,
        "Template retired",
        "That version of the template takes no new contracts; those under way finish.",
    ),
    errors.TemplateMismatchError: ProblemType(
        422,
        "Template mismatch",
        "`template_sha256` in the signature is not the digest of that version's YAML bytes.",
    ),
    errors.UnknownOrganizationError: ProblemType(
        422,
        "Unknown organization",
        "No organization of that id and kind.",
    ),
    errors.UnknownMPassError: ProblemType(
        422,
        "Unknown mPass",
        "No mPass of that id that belongs to the contract's membership organization.",
    ),
    errors.OrganizationNotActiveError: ProblemType(
        409,
        "Organization not active",
        "An organization that the contract names is Pending or Destroyed.",
    ),
    errors.OnboardingMismatchError: ProblemType(
        422,
        "Onboarding mismatch",
        "The onboarding agreement states something else of the organization than was registered; `expected` is that.",
    ),
    errors.OrganizationNotPendingError: ProblemType(
        409,
        "Organization not pending",
        "The organization that the contract would onboard is not Pending any more.",
    ),
    errors.OrganizationSuspendedError: ProblemType(
        409,
        "Organization suspended",
        "An organization that the contract names is Suspended: what is under way goes on, nothing new begins.",
    ),
    errors.OrganizationPolicyError: ProblemType(
        409,
        "Organization policy",
        "The policies of `organization` do not admit a contract with these parties or for this service, or it is a "
        "publisher that does not sell the service; `rule` says which of them.",
    ),
    errors.MPassNotActiveError: ProblemType(
        409,
        "mPass not active",
        "The mPass is Pending, Locked, Expired or Revoked.",
    ),
    errors.MPassPolicyError: ProblemType(
        409,
        "mPass policy refused",
        "The mPass's policy does not admit this use; `rule` names the member of the policy that does not.",
    ),
    errors.MPassLimitExceededError: ProblemType(
        409,
        "mPass limit exceeded",
        "A limit of the mPass's policy leaves less than the contract would spend; `currency` and `per` name the limit.",
    ),
    errors.MPassNumberTakenError: ProblemType(
        409,
        "mPass number taken",
        "The number was given to an mPass before; draw another one. Numbers are given once for ever.",
    ),
    errors.WrongSignerError: ProblemType(
        422,
        "Wrong signer",
        "The one new signature, or the act, is not by the event's source.",
    ),
    errors.UnknownKeyError: ProblemType(
        422,
        "Unknown key",
        "The `kid` is not a key of the organization that claims to sign.",
    ),
    errors.KeyNotValidError: ProblemType(
        422,
        "Key not valid",
        "The key was retired, revoked or compromised, or is registered for another use.",
    ),
    errors.WrongAlgorithmError: ProblemType(
        422,
        "Wrong algorithm",
        "The header's `alg` is not the one that the key was registered with.",
    ),
    errors.InvalidSignatureError: ProblemType(
        422,
        "Invalid signature",
        "The signature does not verify, or its protected header is not the one that must be signed.",
    ),
    errors.SignatureTimeError: ProblemType(
        422,
        "Signature time",
        "`iat` is more than 300 s after the receipt, or in a first signature more than 24 h before it.",
    ),
    errors.SubjectMismatchError: ProblemType(
        422,
        "Subject mismatch",
        "The event's `subject` is not the `contract_id` inside.",
    ),
    errors.EventIdReusedError: ProblemType(
        422,
        "Event id reused",
        "The same source sent other bytes with this `id` before. The same bytes again would have been answered as "
        "the first time.",
    ),
    errors.IdempotencyKeyReusedError: ProblemType(
        422,
        "Idempotency key reused",
        "The same caller sent another request with this `Idempotency-Key` before.",
    ),
    errors.NotSupersedableError: ProblemType(
        409,
        "Not supersedable",
        "What `supersedes` names is no finalized contract of the same parties, mPass and template, or has been"
        " superseded already.",
    ),
    errors.ContractExpiredError: ProblemType(
        422,
        "Contract expired",
        "A first submission that was received at or after the contract's own expiry.",
    ),
    # State or revision does not allow it.
    errors.ContractExistsError: ProblemType(
        409,
        "Contract exists",
        "The `contract_id` is taken, whoever holds it.",
    ),
    errors.ContractClosedError: ProblemType(
        409,
        "Contract closed",
        "The contract has reached its end.",
    ),
    errors.RevisionConflictError: ProblemType(
        409,
        "Revision conflict",
        "The contract, or the object, is no longer what the sender built upon; read it again.",
    ),
    errors.NotNextSignerError: ProblemType(
        409,
        "Not next signer",
        "The signing order does not allow this role to sign yet.",
    ),
    errors.ActNotAllowedError: ProblemType(
        409,
        "Act not allowed",
        "This party can't decline or cancel this contract now.",
    ),
    errors.TransitionRefusedError: ProblemType(
        409,
        "Transition refused",
        "The state does not allow it; `allowed` lists what it allows to this caller.",
    ),
    errors.EndpointNotCheckedError: ProblemType(
        409,
        "Endpoint not checked",
        "The organization's endpoint has not answered a signed `moneta.endpoint.check` with a 2xx since its "
        "`webhook_url` was set. Activation sends one and waits 10 s; `webhook-test` sends another.",
    ),
    errors.CodeTakenError: ProblemType(
        409,
        "Code taken",
        "The MIC or MPC was given out before; codes are unique for ever.",
    ),
    errors.TemplateExistsError: ProblemType(
        409,
        "Template exists",
        "That version is there; a published version never changes.",
    ),
    errors.PreconditionFailedError: ProblemType(
        412,
        "Precondition failed",
        "`If-Match` does not name the object as it is now; `ETag` of a fresh read does.",
    ),
    # Keys and templates.
    errors.WeakKeyError: ProblemType(
        422,
        "Weak key",
        "The key is too weak, of low order, not canonical, or not of an allowed type.",
    ),
    errors.KeyTakenError: ProblemType(
        409,
        "Key taken",
        "The key stands with an organization already.",
    ),
    errors.InvalidCertificateError: ProblemType(
        422,
        "Invalid certificate",
        "The certificate is not yet or no longer valid, or it certifies a key that the organization has not registered "
        "or no longer uses. Register the key first.",
    ),
    errors.CertificateExpiringError: ProblemType(
        409,
        "Certificate expiring",
        "No refusal, but what a `moneta.certificate.expiring` message carries: `certificate` (base64url of the SHA-256 "
        "of its DER) ends at `expires_at`, in no more than `days` days. Have the operator replace it.",
    ),
    errors.InvalidProofError: ProblemType(
        422,
        "Invalid proof",
        "The proof of possession does not hold: a compact JWS by the key itself, over the hub, the owner, the "
        "`kid` and a time at most 300 s old.",
    ),
    errors.TemplateInvalidError: ProblemType(
        422,
        "Template invalid",
        "The template has problems; `problems` lists each with its line.",
    ),
    # The hub's own.
    errors.TooManyRequestsError: ProblemType(
        429,
        "Too many requests",
        "More than the caller may send now; `Retry-After` says in how many seconds to try again, `RateLimit` what is "
        "left. Nothing of the request was kept.",
    ),
    errors.HubBusyError: ProblemType(
        503,
        "Hub busy",
        "The hub has accepted as much as it can process and deliver in time, and refuses the rest early; "
        "`Retry-After` says in how many seconds to try again. Nothing of the request was kept.",
    ),
    errors.UnavailableError: ProblemType(
        503,
        "Unavailable",
        "The request could not be made durable and nothing of it was kept; `Retry-After` says in how many seconds "
        "to try again.",
    ),
    errors.InternalError: ProblemType(
        500,
        "Internal error",
        "A bug of the hub's; tell its operator the `request_id`.",
    ),
}

ERRORS_BY_CODE: Final[Mapping[str, type[Refused]]] = {error.code: error for error in PROBLEM_TYPES}

Document = dict[str, Fact]


def problem_document(error: Refused) -> Document:
    """Return the problem document of ``error``: RFC 9457's members, ``code``, and the error's facts.

    A fact can't take the name of one of the five standing members.
    """
    kind = PROBLEM_TYPES[type(error)]
    document: Document = {
        "type": f"/problems/{error.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail,
        "code": error.code,
    }
    return {**error.facts, **document} if document.keys() & error.facts.keys() else {**document, **error.facts}


def http_status(error: Refused) -> int:
    """Return the HTTP status of ``error``."""
    return PROBLEM_TYPES[type(error)].status


def problem_section(code: str) -> Sequence[str]:
    """Return what the documentation says of ``code``, as lines of Markdown."""
    kind = PROBLEM_TYPES[ERRORS_BY_CODE[code]]
    return (f"## {code}", "", f"**{kind.title}**, HTTP {kind.status}.", "", kind.explanation)


def problems_page() -> str:
    """Return ``docs/problems.md``: one section a code, in the table's order."""
    lines: list[str] = [*_PAGE_HEAD]
    for code in ERRORS_BY_CODE:
        lines += ["", *problem_section(code)]
    return "\n".join(lines) + "\n"


_PAGE_HEAD: Final = (
    "# Problems",
    "",
    "Every refusal is a problem document (RFC 9457, `application/problem+json`):",
    '`{"type": "/problems/<code>", "title", "status", "detail", "code", ...facts}`.',
    "The same document answers the request, is stored as the event's outcome and goes out in `.rejected`.",
    "This page is made from the table in `application/problems.py` by `python -m moneta.entrypoints.http.openapi`.",
)
