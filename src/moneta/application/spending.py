"""What contracts spend on mPasses: reserved in the commit in which Moneta signs, given back where they come to nothing.

The counters are the store's, and it alone keeps them within their limits, whoever writes at once; the guard that asked
them before says no early, with a reason. Only the limits for a day or a month have counters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from moneta.domain.contract_body import ContractBody
from moneta.domain.contracts import Contract, EndStatus, end_of
from moneta.domain.errors import Refused
from moneta.domain.identifiers import MPassId, UnixMillis
from moneta.domain.mpass_policies import Spending, SpendingKey, amounts_of, counters_of, read_policy
from moneta.domain.mpasses import MPass
from moneta.domain.templates import Guard, Role, Template


def keys_of_counters(
    bodies: Iterable[ContractBody], mpasses: Mapping[MPassId, MPass], at: UnixMillis
) -> list[SpendingKey]:
    """Return the counters that the guards will ask for these contracts; none where no mPass has a limit."""
    return sorted({key for body in bodies for key in _keys(body, mpasses, at)})


def spending_between(
    before: Contract | None,
    after: Contract,
    template: Template,
    mpasses: Mapping[MPassId, MPass],
    *,
    now: UnixMillis,
) -> tuple[Spending, ...]:
    """Return what the step from ``before`` to ``after`` adds to the counters of the contract's mPass."""
    if Guard.MPASS_ACTIVE not in template.guards:
        return ()
    had_signed = before is not None and Role.MONETA in before.signed_roles
    is_kept = end_of(after) in {None, EndStatus.FINALIZED}
    if not had_signed and is_kept and Role.MONETA in after.signed_roles:
        return tuple(_counted(after.body, mpasses, now))
    if had_signed and not is_kept:
        return tuple(
            replace(one, units=-one.units, limit_units=None)
            for one in _counted(after.body, mpasses, _reserved_at(after))
        )
    return ()


def _keys(body: ContractBody, mpasses: Mapping[MPassId, MPass], at: UnixMillis) -> Iterable[SpendingKey]:
    try:
        return [one.key for one in _counted(body, mpasses, at)]
    except Refused:
        return ()  # nobody has judged it yet, and whoever does will say so


def _counted(body: ContractBody, mpasses: Mapping[MPassId, MPass], at: UnixMillis) -> tuple[Spending, ...]:
    mpass = None if body.mpass_id is None else mpasses.get(body.mpass_id)
    if mpass is None or "limits" not in mpass.policy:
        return ()
    return counters_of(read_policy(mpass.policy), amounts_of(body.payload), mpass_id=mpass.mpass_id, at=at)


def _reserved_at(contract: Contract) -> UnixMillis:
    signed = next(one for one in contract.signatures if one.role is Role.MONETA)
    return UnixMillis(signed.issued_at * 1000)
