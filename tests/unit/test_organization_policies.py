"""With whom an organization trades and for what: each rule alone, read strictly, and both sides asked."""

import pytest

from moneta.domain.errors import InvalidFieldError, OrganizationPolicyError, UnknownFieldError
from moneta.domain.organization_policies import OrganizationPolicies, check_agreement, read_policies
from moneta.domain.organizations import Organization, OrganizationKind


def organization(kind, **members):
    return Organization(
        **{
            "organization_id": f"{kind}-1",
            "kind": kind,
            "code": "ACME",
            "name": "Acme",
            "history": ((1_000, "Active"),),
            "updated_at": 1_000,
            "metadata": {},
            "policies": {},
            **members,
        }
    )


MO, PUBLISHER = OrganizationKind
ALLOWS, DENIES = "allowed", "denied"

# ruff: noqa: E501  # a row a rule
# fmt: off
CASES = {
    # what the MO's policies say                          the publisher       service  rule that is broken
    "nothing is said":            ({},                                        {},                             None,    None),
    "an industry is allowed":     ({"industries": {ALLOWS: ["news", "tv"]}},  {"industries": ("news", "tv")}, None,    None),
    "one of two is not":          ({"industries": {ALLOWS: ["news"]}},        {"industries": ("news", "tv")}, None,    "policies.industries"),
    "it says none":               ({"industries": {ALLOWS: ["news"]}},        {},                             None,    "policies.industries"),
    "an industry is denied":      ({"industries": {DENIES: ["bets"]}},        {"industries": ("tv", "bets")}, None,    "policies.industries"),
    "none is denied":             ({"industries": {DENIES: ["bets"]}},        {"industries": ("tv",)},        None,    None),
    "none is said to be denied":  ({"industries": {DENIES: ["bets"]}},        {},                             None,    None),
    "the publisher is allowed":   ({"publishers": {ALLOWS: ["publisher-1"]}}, {},                             None,    None),
    "another is allowed":         ({"publishers": {ALLOWS: ["publisher-2"]}}, {},                             None,    "policies.publishers"),
    "the publisher is denied":    ({"publishers": {DENIES: ["publisher-1"]}}, {},                             None,    "policies.publishers"),
    "another is denied":          ({"publishers": {DENIES: ["publisher-2"]}}, {},                             None,    None),
    "MOs are not publishers":     ({"mos": {ALLOWS: []}},                     {},                             None,    None),
    "the service is allowed":     ({"services": {ALLOWS: ["news"]}},          {},                             "news",  None),
    "another service is":         ({"services": {ALLOWS: ["news"]}},          {},                             "tv",    "policies.services"),
    "no service is named":        ({"services": {ALLOWS: ["news"]}},          {},                             None,    "policies.services"),
    "the service is denied":      ({"services": {DENIES: ["news"]}},          {},                             "news",  "policies.services"),
    "none is named to be denied": ({"services": {DENIES: ["news"]}},          {},                             None,    None),
    "the publisher sells it":     ({},                                        {"services": ("news",)},        "news",  None),
    "the publisher does not":     ({},                                        {"services": ("news",)},        "tv",    "services"),
    "nobody asks which":          ({},                                        {"services": ("news",)},        None,    None),
    "its own policy denies":      ({},                                        {"policies": {"mos": {DENIES: ["mo-1"]}}}, None, "policies.mos"),
    "its own policy allows":      ({},                                        {"policies": {"mos": {ALLOWS: ["mo-1"]}}}, None, None),
}
# fmt: on


@pytest.mark.parametrize("name", CASES)
def test_a_rule_admits_or_names_itself(name):
    policies, publisher, service, broken = CASES[name]
    parties = [organization(MO, policies=policies), organization(PUBLISHER, **publisher)]
    if broken is None:
        check_agreement(parties, [service])
        return
    with pytest.raises(OrganizationPolicyError) as refused:
        check_agreement(parties, [service])
    asker = "publisher-1" if "policies" in publisher or broken == "services" else "mo-1"
    assert refused.value.facts == {"organization": asker, "rule": broken}


def test_an_mo_that_names_services_sells_nothing():
    check_agreement([organization(MO, services=("lounge",)), organization(PUBLISHER)], ["news"])


def test_an_organization_asks_nothing_of_itself():
    alone = organization(MO, policies={"mos": {ALLOWS: []}, "industries": {ALLOWS: ["news"]}})
    check_agreement([alone], [None])


def test_no_policies_are_no_rules():
    assert read_policies({}) == OrganizationPolicies()


@pytest.mark.parametrize(
    ("policies", "error", "field"),
    [
        ({"industry": {}}, UnknownFieldError, "policies.industry"),
        ({"industries": []}, InvalidFieldError, "policies.industries"),
        ({"industries": {}}, InvalidFieldError, "policies.industries"),
        ({"mos": {"allowed": [], "denied": []}}, InvalidFieldError, "policies.mos"),
        ({"services": {"allowed": [1]}}, InvalidFieldError, "policies.services.allowed"),
        ({"publishers": {"only": []}}, UnknownFieldError, "policies.publishers.only"),
    ],
)
def test_policies_of_another_form_are_refused_by_their_path(policies, error, field):
    with pytest.raises(error) as refused:
        read_policies(policies)
    assert refused.value.facts["field"] == field
