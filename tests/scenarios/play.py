"""A contract moved by words: ``mo submits``, ``publisher declines``; what the tables of the scenarios are made of."""

import json

from moneta.application.end_contracts import expire_contracts
from moneta.application.ports import DeliveryQuery, EventStatus, EventType
from moneta.domain.contracts import status_of
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, EventId
from moneta.domain.organizations import OrganizationKind
from moneta.signing import chain, statements

ACT_TYPES = {"decline": EventType.DECLINE, "cancel": EventType.CANCEL}
LATER_S = 3_600


class Play:
    """One contract between one MO and one publisher; ``members`` replace those of its body."""

    def __init__(self, house, template="transaction-contract", **members):
        self.house = house
        self.mo = house.register(OrganizationKind.MO, "MOA", "RS256")
        self.publisher = house.register(OrganizationKind.PUBLISHER, "PUBA", "ES256")
        self.parties = {"mo": self.mo, "publisher": self.publisher}
        self.mpass_id = house.issue_mpass(self.mo)
        named = {"mpass_id": self.mpass_id, "template_id": template, **members}
        self.body = house.body(self.mo, self.publisher, **named)
        self.contract_id = ContractId(json.loads(self.body)["contract_id"])
        self.count = 0

    @property
    def contract(self):
        return self.house.contract(self.contract_id)

    @property
    def status(self):
        found = self.house.hub.contracts.read([self.contract_id])
        return status_of(found[self.contract_id]) if found else "none"

    def does(self, words):
        """Do what ``words`` say, and tell what became of it: ``processed``, or the code of the problem."""
        who, what = words.split()
        self.count += 1
        event_id = f"event-{self.count}"
        match what:
            case "passes":
                self.house.clock.advance(LATER_S)
                return "processed"
            case "expires":
                return "processed" if expire_contracts(self.house.hub) else "nothing"
            case "submits":
                return self.sends(who, EventType.SUBMIT, self.house.sign_first(self.parties[who], self.body), event_id)
            case "signs":
                signed = self.house.sign_next(self.parties[who], self.contract)
                return self.sends(who, EventType.SIGN, signed, event_id)
            case _:
                return self.acts(who, what.removesuffix("s"), event_id)

    def acts(self, who, name, event_id, **changed):
        data = {"act": self.act(who, name, **changed)}
        return self.handles(who, ACT_TYPES[name], data, event_id)

    def act(self, who, name, **changed):
        members = {
            "name": name,
            "contract_id": self.contract_id,
            "reason_code": "changed_mind",
            "reason": "No longer wanted",
            "prev": chain.head_of(self.contract.signatures[:1]),
            "issued_at": self.house.hub.now_s(),
            "audience": self.house.hub.base_url,
            **changed,
        }
        return statements.make_act(members.pop("key", self.parties[who].key), **members)

    def sends(self, who, type_, contract, event_id):
        return self.handles(who, type_, {"contract": contract}, event_id)

    def handles(self, who, type_, data, event_id):
        """Send an event and process it; return ``processed``, or the code of what refused it."""
        party = self.parties[who]
        answer = self.house.send(party, self.house.event(party, type_, self.contract_id, data, event_id))
        if isinstance(answer, Refused):
            return answer.code
        self.house.process()
        return self.outcome(who, event_id)

    def outcome(self, who, event_id):
        record = self.house.hub.events.find(self.parties[who].organization_id, EventId(event_id))
        return json.loads(record.problem)["code"] if record.status is EventStatus.REJECTED else str(record.status)

    def owed(self):
        """Every message owed so far, as ``to whom: what``."""
        names = {party.organization_id: name for name, party in self.parties.items()}
        page = self.house.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=200))
        return sorted(f"{names[one.owed.organization_id]}: {one.owed.type.rpartition('.')[2]}" for one in page.items)
