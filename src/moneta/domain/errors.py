"""Why the hub says no: one class per reason that a client or operator would act on differently.

``Refused`` is final: the outcome is stored and the message done. ``TryAgain`` is not: the message stays.
Anything else that is raised is a bug. The status and title of each code stand in ``application/problems.py``.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

Fact = str | int | bool | None | Sequence[str]


class MonetaError(Exception):
    """What every error of the hub's own is."""


class Refused(MonetaError):  # noqa: N818  # "refused" is the outcome's name; the classes below end in Error
    """A final no, with the facts that explain it.

    ``detail`` says what was expected, what came, and which thing; never a secret or a whole payload.
    ``facts`` become members of the problem document (RFC 9457, section 3.2).
    """

    code: ClassVar[str]

    def __init__(self, detail: str, /, **facts: Fact) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts: Mapping[str, Fact] = facts


class TryAgainError(MonetaError):
    """Not now: nothing was decided, and the same message can be tried again."""


class StoreUnavailableError(TryAgainError):
    """The store could not make it durable: nothing of the batch is known to be kept."""


class MisconfiguredError(StoreUnavailableError):
    """What the hub needs is not there, or does not let it in. The text names it: only an operator can mend it.

    Until then it is as if the store were away: whoever calls is told to come again, and no message is lost.
    """


class StoreVersionError(MonetaError):
    """The store was made by another version of the program than this one can use."""


class RetentionError(MonetaError):
    """What is over would be forgotten sooner than something else needs it. Only an operator can mend the settings."""


class BackupError(MonetaError):
    """A backup can't be made, is not sound, or can't be put where it should go. The text says what to do."""


class StatusListStaleError(MonetaError):
    """A status list that has ended, or is of a time that has not come: nothing is known until it is fetched again."""


class CredentialExpiredError(MonetaError):
    """A credential that was one, and has ended; its holder has to get a new one."""


# Malformed: the bytes are not what the protocol says they are.


class MalformedJSONError(Refused):
    """The bytes are not I-JSON (RFC 7493) within the limits."""

    code = "malformed_json"


class MalformedRequestError(Refused):
    """JSON, but not the members or the types that this request has."""

    code = "malformed_request"


class MalformedJWSError(Refused):
    """A JWS or one of its parts has not exactly the form of protocol section 3."""

    code = "malformed_jws"


class InvalidParameterError(Refused):
    """A query parameter is unknown, or its value is out of range."""

    code = "invalid_parameter"


class TooLargeError(Refused):
    """More bytes than the named limit."""

    code = "too_large"


class UnsupportedMediaTypeError(Refused):
    """The Content-Type is not one that this call takes."""

    code = "unsupported_media_type"


class MethodNotAllowedError(Refused):
    """The path is there, the method is not."""

    code = "method_not_allowed"


# Who is calling, and may they.


class UnauthorizedError(Refused):
    """No valid token. One and the same answer for every cause, so that it teaches an attacker nothing."""

    code = "unauthorized"


class ForbiddenError(Refused):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFoundError(Refused):
    """There is none, or none that the caller may know of."""

    code = "not_found"


class UnknownContractError(NotFoundError):
    """No contract of that id that names the sender."""

    code = "unknown_contract"


# What a contract or its signature lacks.


class MissingFieldError(Refused):
    """A required member is missing or null."""

    code = "missing_field"


class AmbiguousFieldError(Refused):
    """A required name is found at more than one place."""

    code = "ambiguous_field"


class InvalidFieldError(Refused):
    """A member is there and its value is not of the form it must have."""

    code = "invalid_field"


class UnknownFieldError(Refused):
    """A member that the protocol does not know."""

    code = "unknown_field"


class InvalidAmountError(Refused):
    """An amount or its currency is not money of the form of protocol section 3."""

    code = "invalid_amount"


class SchemaMismatchError(Refused):
    """The payload does not satisfy the template's JSON Schema."""

    code = "schema_mismatch"


class UnknownTemplateError(Refused):
    """No template of that name and version takes contracts."""

    code = "unknown_template"


class TemplateRetiredError(Refused):
    """That version takes no new contracts."""

    code = "template_retired"


class TemplateMismatchError(Refused):
    """``template_sha256`` in a signature is not the digest of the template's bytes."""

    code = "template_mismatch"


class UnknownOrganizationError(Refused):
    """No organization of that id and kind."""

    code = "unknown_organization"


class UnknownMPassError(Refused):
    """No mPass of that id that belongs to the contract's MO."""

    code = "unknown_mpass"


class OrganizationNotActiveError(Refused):
    """The organization is not Active, and neither Suspended: Pending or Destroyed."""

    code = "organization_not_active"


class OrganizationNotPendingError(Refused):
    """The organization is not Pending: its onboarding is over."""

    code = "organization_not_pending"


class OnboardingMismatchError(Refused):
    """An onboarding states what was not registered. ``field`` says what, ``expected`` what was."""

    code = "onboarding_mismatch"


class OrganizationSuspendedError(Refused):
    """The organization is Suspended: what is under way goes on, nothing new begins."""

    code = "organization_suspended"


class OrganizationPolicyError(Refused):
    """A party's policies, or a publisher's services, do not admit the contract; ``rule`` says which."""

    code = "organization_policy"


class MPassNotActiveError(Refused):
    """The mPass is Pending, Locked, Expired or Revoked."""

    code = "mpass_not_active"


class MPassPolicyError(Refused):
    """The mPass's policy does not admit this use; ``rule`` names the member that does not."""

    code = "mpass_policy_refused"


class MPassLimitExceededError(Refused):
    """A limit of the mPass's leaves less than the contract would spend; ``per`` and ``currency`` name it."""

    code = "mpass_limit_exceeded"


class MPassNumberTakenError(Refused):
    """The number was given to an mPass before; numbers are given once for ever."""

    code = "mpass_number_taken"


class WrongSignerError(Refused):
    """The one new signature, or the act, is not by the event's source."""

    code = "wrong_signer"


class UnknownKeyError(Refused):
    """The kid is not a key of the organization that claims to sign."""

    code = "unknown_key"


class KeyNotValidError(Refused):
    """The key was retired, revoked or compromised, or is for another use."""

    code = "key_not_valid"


class WrongAlgorithmError(Refused):
    """The header's alg is not the one that the key was registered with."""

    code = "wrong_algorithm"


class InvalidSignatureError(Refused):
    """The signature does not verify, or its header is not the one that must be signed."""

    code = "invalid_signature"


class SignatureTimeError(Refused):
    """``iat`` is too far ahead of the receipt, or too far behind it in a first signature."""

    code = "signature_time"


class SubjectMismatchError(Refused):
    """The event's subject is not the contract_id inside."""

    code = "subject_mismatch"


class EventIdReusedError(Refused):
    """The same source sent other bytes with this id before."""

    code = "event_id_reused"


class IdempotencyKeyReusedError(Refused):
    """The same caller sent another body with this Idempotency-Key before."""

    code = "idempotency_key_reused"


class NotSupersedableError(Refused):
    """The contract that ``supersedes`` names is not finalized, is superseded already, or is between others."""

    code = "not_supersedable"


class ContractExpiredError(Refused):
    """A first submission that was received at or after the contract's expiry."""

    code = "contract_expired"


# State or revision does not allow it.


class ContractExistsError(Refused):
    """The contract_id is taken, whoever holds it."""

    code = "contract_exists"


class ContractClosedError(Refused):
    """The contract has reached its end."""

    code = "contract_closed"


class RevisionConflictError(Refused):
    """The contract, or the object, is no longer what the sender built upon."""

    code = "revision_conflict"


class NotNextSignerError(Refused):
    """The signing order does not allow this role yet."""

    code = "not_next_signer"


class ActNotAllowedError(Refused):
    """This party can't decline or cancel this contract now."""

    code = "act_not_allowed"


class TransitionRefusedError(Refused):
    """The state table has no such row; ``allowed`` lists those it has."""

    code = "transition_refused"


class EndpointNotCheckedError(Refused):
    """The organization's endpoint has not answered a signed check since its address was set."""

    code = "endpoint_not_checked"


class CodeTakenError(Refused):
    """The MIC or MPC was given out before; codes are unique for ever."""

    code = "code_taken"


class TemplateExistsError(Refused):
    """That version is there; a published version never changes."""

    code = "template_exists"


class PreconditionFailedError(Refused):
    """``If-Match`` does not name the object as it is now."""

    code = "precondition_failed"


# Keys.


class WeakKeyError(Refused):
    """A key that is too weak, of low order, not canonical, or not of an allowed type."""

    code = "weak_key"


class KeyTakenError(Refused):
    """The key stands with an organization already."""

    code = "key_taken"


class InvalidCertificateError(Refused):
    """The certificate is not valid now, or certifies a key that the organization has not registered."""

    code = "invalid_certificate"


class CertificateExpiringError(Refused):
    """No refusal: what an organization is told before a certificate of its ends."""

    code = "certificate_expiring"


class InvalidProofError(Refused):
    """The proof of possession does not hold."""

    code = "invalid_proof"


class TemplateInvalidError(Refused):
    """The template has problems; ``problems`` lists each with its line."""

    code = "template_invalid"


# The hub's own.


class TooManyRequestsError(Refused):
    """More than the caller may send; ``retry_after_s`` says when to try again."""

    code = "too_many_requests"


class HubBusyError(Refused):
    """More than the hub can bring to its end in time, or hold meanwhile; nothing was kept."""

    code = "hub_busy"


class UnavailableError(Refused):
    """The request could not be made durable; nothing was kept."""

    code = "unavailable"


class InternalError(Refused):
    """A bug of the hub's; logged with the request's id."""

    code = "internal_error"
