"""What a partner installs: sign, submit, receive, countersign, verify. Needs ``signing`` and ``domain`` alone.

``docs/partner-guide.md`` shows the way through. A party's own values come first (``Party``, ``keys``), then what it
sends (``build_contract``, ``sign_first``, ``HubClient``), then what it receives (``Keyring``, ``Verifier``,
``Receiver``). Whatever is signed in answer to somebody was verified before; there is no way around that.
"""

from moneta.client import errors, keys
from moneta.client.caller import Caller
from moneta.client.clock import system_clock
from moneta.client.contracts import (
    SignedAct,
    SignedContract,
    build_contract,
    cancel,
    decline,
    mpass_id_of,
    new_contract_id,
    new_mpass_number,
    respond,
    sign_first,
)
from moneta.client.decisions import Decide, Decision, Decline, Later, Sign
from moneta.client.errors import (
    ClientError,
    ContractEndedError,
    HubProblemError,
    HubUnreachableError,
    InvalidContractError,
    KeyFileError,
    KeysUnavailableError,
    MessageRefusedError,
    MessageTooLargeError,
    NotOurTurnError,
    ReplayStoreError,
    StatusUnavailableError,
    WaitTimeoutError,
    WebhookSignatureError,
)
from moneta.client.hub import Accepted, ContractView, DeliveryState, Event, EventState, HubClient, build_event
from moneta.client.messages import MESSAGE_BYTES_MAX, Message, MessageType, receive
from moneta.client.mpass import DISCLOSABLE, MPassVerifier, VerifiedMPass, present, verify_mpass
from moneta.client.party import Party, Tokens, load_party
from moneta.client.receiver import Answer, Receiver, answer
from moneta.client.registration import registration
from moneta.client.replay import FileReplayStore, MemoryReplayStore, ReplayStore
from moneta.client.server import WebhookServer
from moneta.client.trust import Keyring, TrustedKey
from moneta.client.verified import KnownTemplate, VerifiedContract, VerifiedEnd
from moneta.client.verify import Verifier
from moneta.domain.templates import Role

__all__ = [
    "DISCLOSABLE",
    "MESSAGE_BYTES_MAX",
    "Accepted",
    "Answer",
    "Caller",
    "ClientError",
    "ContractEndedError",
    "ContractView",
    "Decide",
    "Decision",
    "Decline",
    "DeliveryState",
    "Event",
    "EventState",
    "FileReplayStore",
    "HubClient",
    "HubProblemError",
    "HubUnreachableError",
    "InvalidContractError",
    "KeyFileError",
    "Keyring",
    "KeysUnavailableError",
    "KnownTemplate",
    "Later",
    "MPassVerifier",
    "MemoryReplayStore",
    "Message",
    "MessageRefusedError",
    "MessageTooLargeError",
    "MessageType",
    "NotOurTurnError",
    "Party",
    "Receiver",
    "ReplayStore",
    "ReplayStoreError",
    "Role",
    "Sign",
    "SignedAct",
    "SignedContract",
    "StatusUnavailableError",
    "Tokens",
    "TrustedKey",
    "VerifiedContract",
    "VerifiedEnd",
    "VerifiedMPass",
    "Verifier",
    "WaitTimeoutError",
    "WebhookServer",
    "WebhookSignatureError",
    "answer",
    "build_contract",
    "build_event",
    "cancel",
    "decline",
    "errors",
    "keys",
    "load_party",
    "mpass_id_of",
    "new_contract_id",
    "new_mpass_number",
    "present",
    "receive",
    "registration",
    "respond",
    "sign_first",
    "system_clock",
    "verify_mpass",
]
