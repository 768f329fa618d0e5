"""What an organization hands to the hub's operator to be registered: itself, and its keys, each with its proof.

Protocol, section 12.
"""

from collections.abc import Mapping
from typing import Final

from moneta.client.keys import key_proof, public_jwk
from moneta.domain.identifiers import UnixSeconds
from moneta.domain.templates import Role
from moneta.signing.statements import SigningKey

CODE_MEMBERS: Final[Mapping[Role, str]] = {Role.MO: "mic", Role.PUBLISHER: "mpc"}


def registration(
    role: Role,
    *,
    name: str,
    code: str,
    webhook_url: str,
    hub: str,
    auth_key: SigningKey,
    contract_key: SigningKey,
    now: UnixSeconds,
    **metadata: str,
) -> Mapping[str, object]:
    """Return the body of ``POST /organizations/{role}``; the proofs in it are good for 300 seconds.

    ``code``: the MIC of an MO, the MPC of a publisher.
    """
    uses = {"auth": auth_key, "contract": contract_key}
    by_kid = {key.public.key_id: key for key in uses.values()}
    return {
        "name": name,
        CODE_MEMBERS[role]: code,
        "metadata": {"webhook_url": webhook_url, **metadata},
        "keys": [
            {
                "jwk": public_jwk(key),
                "use": [use for use, used in uses.items() if used.public.key_id == kid],
                "proof": key_proof(key, hub=hub, subject=code, now=now),
            }
            for kid, key in by_kid.items()
        ],
    }
