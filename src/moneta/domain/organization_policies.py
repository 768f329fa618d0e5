"""With whom and for what an organization trades: its policies, read strictly, and asked before Moneta signs.

1. Every member is optional, and no other is known: a rule that was misspelt must not be a rule that is not there.
2. Each party's policies are asked about each other party: its industries, its id, and the service that the payload
   names. ``allowed`` for industries wants every industry of the other's among them, and one at least.
3. A publisher that names its services sells no other: a payload's ``service`` is one of them.
4. They are those of the moment at which Moneta signs; what is under way is not undone when one changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from moneta.domain.errors import OrganizationPolicyError
from moneta.domain.ijson import Value
from moneta.domain.mpass_policies import Names, check_known, read_names
from moneta.domain.organizations import Organization, OrganizationKind

MEMBERS = ("industries", "publishers", "mos", "services")
RULE_OF_KIND = {OrganizationKind.PUBLISHER: "publishers", OrganizationKind.MO: "mos"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationPolicies:
    """The policies of one organization as they were read. None: there is no such rule."""

    industries: Names | None = None
    publishers: Names | None = None
    mos: Names | None = None
    services: Names | None = None

    def broken_by(self, other: Organization, service: str | None) -> str | None:
        """Return the first rule that does not admit a contract with ``other`` for ``service``; None if all do."""
        partners = RULE_OF_KIND[other.kind]
        held = {
            "industries": self.industries is None or _admits_all(self.industries, other.industries),
            partners: _admits(self.publishers if partners == "publishers" else self.mos, other.organization_id),
            "services": _admits(self.services, service),
        }
        return next((rule for rule, is_held in held.items() if not is_held), None)


def read_policies(policies: Mapping[str, Value], *, prefix: str = "policies.") -> OrganizationPolicies:
    """Return the policies that ``policies`` are. ``prefix``: the path that leads to its members, for errors.

    Raises:
        UnknownFieldError, InvalidFieldError: The first member that is wrong.
    """
    check_known(policies, MEMBERS, prefix)
    return OrganizationPolicies(**{name: read_names(policies, name, prefix) for name in MEMBERS})


def have_rules(parties: Sequence[Organization]) -> bool:
    """Tell whether there is anything that ``check_agreement`` could refuse."""
    return any(party.policies or party.services for party in parties)


def check_agreement(parties: Sequence[Organization], services: Sequence[str | None]) -> None:
    """Return if every party's policies admit each other party for each service, and the publisher sells it.

    Raises:
        OrganizationPolicyError: ``organization`` names whose rule does not, ``rule`` which; not what it says.
    """
    for party in parties:
        policies = read_policies(party.policies)
        for other, service in product(parties, services):
            rule = None if other is party else policies.broken_by(other, service)
            if rule is not None:
                raise _refusal(party, f"policies.{rule}")
        if party.kind is OrganizationKind.PUBLISHER and party.services and set(services) - {None, *party.services}:
            raise _refusal(party, "services")


def _admits(names: Names | None, name: str | None) -> bool:
    return names is None or names.admits(name)


def _admits_all(names: Names, industries: Sequence[str]) -> bool:
    return all(map(names.admits, industries)) and bool(industries or not names.is_allowed)


def _refusal(party: Organization, rule: str) -> OrganizationPolicyError:
    return OrganizationPolicyError(
        f"organization {party.organization_id}: {rule} does not admit this contract",
        organization=party.organization_id,
        rule=rule,
    )
