"""What a client that was written for one version of a template trips over under another.

A version never changes, and a contract stays with the one it names, so nothing that runs breaks. What is told here is
what a client must learn before it names the newer version. Loosening (a field less, a guard less, a longer term) is
no finding: what was right before still is.
"""

from collections.abc import Iterator

from moneta.domain.schema_compat import narrowings
from moneta.domain.template_proofs import Fault
from moneta.domain.templates import EffectPhase, SigningOrder, Template


def incompatibilities(old: Template, new: Template) -> tuple[Fault, ...]:
    """Return what a client of ``old`` trips over, each with its place in the document of ``new``."""
    faults = [
        *_identity_faults(old, new),
        *_field_faults(old, new),
        *_order_faults(old.signing_order, new.signing_order),
        *_acknowledging_faults(old, new),
        *_term_faults(old, new),
        *_guard_faults(old, new),
        *_effect_faults(old, new),
    ]
    faults += [
        (("schema", "json_schema", *path), fault) for path, fault in narrowings(old.json_schema, new.json_schema)
    ]
    return tuple(faults)


def _identity_faults(old: Template, new: Template) -> Iterator[Fault]:
    if new.name != old.name:
        yield ("template_name",), f"another template: {old.name} before, {new.name} now"
    elif new.version <= old.version:
        yield ("version",), f"expected a version above {old.version}, got {new.version}"


def _field_faults(old: Template, new: Template) -> Iterator[Fault]:
    for index, name in enumerate(new.required_fields):
        if name not in old.required_fields:
            yield ("schema", "required_fields", index), f"required field added: {name}"


def _order_faults(old: SigningOrder, new: SigningOrder) -> Iterator[Fault]:
    if [set(step) for step in old] == [set(step) for step in new]:
        return
    path = ("signature_rules", "signing_order")
    before, after = ({role for step in order for role in step} for order in (old, new))
    for role in sorted(after - before):
        yield path, f"signer added: {role}"
    for role in sorted(before - after):
        yield path, f"signer gone: {role}"
    if old[0] != new[0]:
        yield (*path, 0), f"started by another: {old[0][0]} before, {new[0][0]} now"
    yield path, f"signing order changed: {_shown(old)} before, {_shown(new)} now"


def _acknowledging_faults(old: Template, new: Template) -> Iterator[Fault]:
    before, now = dict(old.acknowledge), dict(new.acknowledge)
    for role, wait_s in now.items():
        if role not in before:
            yield ("acknowledge", role), f"asked at the end, and silence counts: {role}"
        elif wait_s < before[role]:
            yield ("acknowledge", role), f"silence of {role} counts sooner: {before[role]} s before, {wait_s} s now"
    for role in sorted({*before, *old.notify} - {*now, *new.notify, *new.roles}):
        yield (), f"not told of the end any more: {role}"


def _term_faults(old: Template, new: Template) -> Iterator[Fault]:
    if new.expires_in_s is None or (old.expires_in_s is not None and new.expires_in_s >= old.expires_in_s):
        return
    before = "none" if old.expires_in_s is None else f"{old.expires_in_s} s"
    yield ("expires_in",), f"less time to sign: {before} before, {new.expires_in_s} s now"


def _guard_faults(old: Template, new: Template) -> Iterator[Fault]:
    for guard in sorted(new.guards - old.guards):
        yield ("guards",), f"guard added: {guard}"


def _effect_faults(old: Template, new: Template) -> Iterator[Fault]:
    """Give each phase in which another thing is done: whoever signs agrees to what comes of it, more or less."""
    for phase in EffectPhase:
        was, now = (", ".join(one.effects.get(phase, ())) or "nothing" for one in (old, new))
        if was != now:
            yield ("effects", phase), f"{phase} does another thing: {was} before, {now} now"


def _shown(order: SigningOrder) -> str:
    return " → ".join(" and ".join(step) for step in order)
