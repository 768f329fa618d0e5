"""What ``templates simulate`` found, for a person or a program."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from moneta.application.documents import to_json

Trial = Mapping[str, Any]  # What ``application.simulate`` gives; its docstring describes it.


def show(trial: Trial, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        typer.echo(to_json(trial).decode())
        return
    for line in _lines(trial):
        typer.echo(line)


def _lines(trial: Trial) -> Iterator[str]:
    yield f"{trial['template_name']} {trial['version']}: {'accepted' if trial['is_accepted'] else 'refused'}"
    for problem in trial["problems"]:
        yield f"  {problem['code']}: {problem['detail']}"
    yield "signs:"
    for number, step in enumerate(trial["signing"], start=1):
        yield f"  {number}. {' and '.join(step['roles'])} → {step['then']}"
    yield f"asked before Moneta signs: {', '.join(trial['guards']) or 'nothing'}"
    for phase, verbs in trial["effects"].items():
        yield f"{phase}: {', '.join(verbs)}"
    term = trial["expires_in_s"]
    yield "expires: at the body's expires_at, if it has one" + ("" if term is None else f", or after {term} s")
    if trial["deem_after_s"] is not None:
        yield f"silence counts as agreement {trial['deem_after_s']} s after the last signature before"
    if trial["notify"]:
        yield f"told of the end, though they do not sign: {', '.join(trial['notify'])}"
    yield "may end otherwise:"
    for way in trial["ways"]:
        if way["event"] not in {"signs", "expires"}:
            yield f"  in {way['from']}: {way['by']} {way['event']} → {way['to']}"
