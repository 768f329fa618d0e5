"""What a verb of a template's effects is given: the contract as it is after the step, and where to read the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from moneta.application.ports import Hub
from moneta.domain.contract_body import ContractBody
from moneta.domain.contracts import Contract
from moneta.domain.identifiers import OrganizationId, RegistrySeq, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.organizations import Organization


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectContext:
    """One step's. ``registry_seq``: the position that the step was judged by."""

    hub: Hub
    contract: Contract
    now: UnixMillis
    registry_seq: RegistrySeq

    @property
    def body(self) -> ContractBody:
        """What the contract says."""
        return self.contract.body

    def mo(self) -> Organization:
        """Return the MO that the body names, as it is now. The verb's needs have ``mo_id``, so that there is one."""
        mo_id = cast("OrganizationId", self.body.mo_id)
        return self.hub.directory.organizations([mo_id], is_fresh=True)[mo_id]

    def organization(self) -> Organization:
        """Return the organization that the body names as ``org_id``, as it is now; the verb's needs have that."""
        org_id = cast("OrganizationId", self.body.org_id)
        return self.hub.directory.organizations([org_id], is_fresh=True)[org_id]

    def part(self, name: str) -> Mapping[str, Value]:
        """Return an object of the payload that the verb's needs have a member of, so that it is there."""
        return cast("Mapping[str, Value]", self.body.payload[name])
