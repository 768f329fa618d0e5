"""Translate the template as CloudFormation would, and hold the result against our own rules: ``python infra/check.py``.

Offline and in this process: SAM's own translator, and Guard's own engine.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cfn_guard_rs.cfn_guard_rs import run_checks_rs
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parent / "template.yaml"
RULES = Path(__file__).parent / "rules.guard"
REGION = "eu-west-1"
PARAMETERS = {"Region": REGION, "CodeBucket": "code", "CodeKey": "moneta.zip"}

Template = dict[str, Any]


class NoManagedPolicies:
    """SAM would ask the account for AWS's own policies. None of our roles has one."""

    def load(self) -> Mapping[str, str]:
        """Return the managed policies by name."""
        return {}


def translated(text: str, **parameters: str) -> Template:
    """Return the template without SAM's shorthand, as CloudFormation deploys it.

    Raises:
        samtranslator.public.exceptions.InvalidDocumentException: SAM refuses it.
    """
    os.environ["AWS_DEFAULT_REGION"] = REGION  # SAM looks nowhere else for the partition
    return transform(yaml_parse(text), {**PARAMETERS, **parameters}, NoManagedPolicies())


def broken_rules(template: Template) -> Sequence[str]:
    """Return the names of the rules that a translated template breaks, in alphabetical order."""
    return sorted({one["Rule"]["name"] for one in _report(template)["not_compliant"]})


def unused_rules(template: Template) -> Sequence[str]:
    """Return the names of the rules that found nothing to judge."""
    return sorted(_report(template)["not_applicable"])


def _report(template: Template) -> Any:  # Guard's JSON
    """Return what Guard says. The package's own classes can't hold a rule with an ``or``, so this is its engine.

    The engine gives no more than the end of a report of more than 8 KiB, and a report quotes what it finds broken. So
    the functions' environments, which no rule judges, are left out.
    """
    resources = {name: _without_environment(one) for name, one in template["Resources"].items()}
    judged = json.dumps({**template, "Resources": resources})
    return json.loads(run_checks_rs(judged, RULES.read_text(encoding="utf-8"), False))  # noqa: FBT003


def _without_environment(resource: Template) -> Template:
    properties = {name: one for name, one in resource.get("Properties", {}).items() if name != "Environment"}
    return {**resource, "Properties": properties}


def main() -> int:
    """Print what is wrong, and tell whether anything is."""
    template = translated(TEMPLATE.read_text(encoding="utf-8"))
    found = [f"broken: {name}" for name in broken_rules(template)]
    found += [f"judges nothing: {name}" for name in unused_rules(template)]
    print("\n".join(found) or f"{len(template['Resources'])} resources keep every rule")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
