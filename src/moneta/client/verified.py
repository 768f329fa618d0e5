"""What verification gives: values that exist only for contracts whose every signature has been checked."""

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Final, NamedTuple

from moneta.client.errors import MessageRefusedError
from moneta.domain.contract_body import ContractBody
from moneta.domain.contracts import EndStatus
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.money import Money, parse_money
from moneta.domain.templates import Role, SigningOrder
from moneta.signing.chain import SignedTexts
from moneta.signing.jws import Entry

SEAL: Final = object()
"""Held by ``verify`` alone: so a contract that nobody verified can't be made into a verified one by mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTemplate:
    """A template version that a party has read and pinned: its digest, and the order that it was read to have.

    ``sha256``: base64url of the digest of the YAML bytes, as ``GET /templates/{name}/{version}`` shows it.
    ``acknowledge``: the roles that are asked after the order is complete, and whose silence may count.
    """

    name: str
    version: int
    sha256: str
    signing_order: SigningOrder
    acknowledge: tuple[Role, ...] = ()

    @property
    def whole_order(self) -> SigningOrder:
        """The signing order, and the step of those that acknowledge after it."""
        return (*self.signing_order, self.acknowledge) if self.acknowledge else self.signing_order


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedContract:
    """A contract whose form, signatures, chain and parties hold. Only a ``Verifier`` makes one.

    ``payload``: the base64url text that every signature covers. ``steps``: the complete ones, first first.
    ``head``: what the next signature or an act carries as ``prev``. ``template_sha256``: as signed; None if nobody
    did. ``is_template_known``: one of the pinned templates said the order. ``turn``: the role of ours that the hub's
    request asks to sign; None where nothing was asked.
    """

    seal: InitVar[object]
    body: ContractBody
    body_bytes: bytes
    payload: str
    entries: tuple[Entry, ...]
    steps: tuple[tuple[Entry, ...], ...]
    head: str
    template_sha256: str | None
    is_template_known: bool
    turn: Role | None = None

    def __post_init__(self, seal: object) -> None:
        if seal is not SEAL:
            raise TypeError("only moneta.client.verify makes a VerifiedContract")

    @property
    def contract_id(self) -> ContractId:
        """The id that the initiator chose."""
        return self.body.contract_id

    @property
    def signed_roles(self) -> tuple[str, ...]:
        """The roles that signed, in the order recorded."""
        return tuple(entry.header.role or "" for entry in self.entries)

    @property
    def initiator(self) -> Role:
        """The role that signed first."""
        return Role(self.signed_roles[0])

    def is_expired_at(self, moment: UnixSeconds) -> bool:
        """Tell whether the body's own term is over; the template may set an earlier one."""
        return self.body.expires_at is not None and moment >= self.body.expires_at

    def money(self, path: str = "") -> Money:
        """Return the ``amount`` and ``currency`` of the payload, or of the object at the dotted ``path`` in it.

        Exact: ``units`` is an integer at the ledger's scale, ``digits`` the amount as it was written.

        Raises:
            MessageRefusedError: There is no such object, or its members are not money.
        """
        place: Value = self.body.payload
        for name in path.split(".") if path else ():
            place = place.get(name) if isinstance(place, Mapping) else None
        if not isinstance(place, Mapping):
            raise MessageRefusedError(f"contract {self.contract_id}: no object {path!r}", code="missing_field")
        where = f"{path}.amount" if path else "amount"
        try:
            return parse_money(place.get("amount"), place.get("currency"), where=where)
        except Refused as error:
            raise MessageRefusedError(error.detail, code=error.code) from error

    def to_json(self) -> Mapping[str, object]:
        """Return the contract as it travels, every text as it came."""
        return jws_json(self.payload, self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEnd:
    """How a contract ended, by Moneta's receipt. ``act``: the compact act that ended it, and by whom; None if none did.

    ``finalized_at``: Moneta's time of that end, whichever it is.
    """

    status: EndStatus
    finalized_at: UnixSeconds
    receipt: str
    act: str | None = None
    actor: Role | None = None
    reason_code: str | None = None
    reason: str | None = None


class SignatureTexts(NamedTuple):
    """A signature as the two base64url texts of a JWS entry."""

    protected: str
    signature: str


def jws_json(payload: str, signatures: Sequence[SignedTexts]) -> Mapping[str, object]:
    """Return the JWS General JSON of a payload and its signatures, every text as it is."""
    entries = [{"protected": one.protected, "signature": one.signature} for one in signatures]
    return {"payload": payload, "signatures": entries}
