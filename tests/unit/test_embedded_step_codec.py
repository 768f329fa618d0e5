"""Steps as bytes: what is read is what was written, and nothing is written twice."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.adapters.step_codec import LOG_EVENTS, decode_step, encode_step
from moneta.domain.contracts import Act, ActName, LogLine, Signature, Step
from moneta.domain.templates import Role
from moneta.signing import base64url
from tests.conformance.builders import NOW, NOW_S, compact, decline_step, first_step, last_step, signature

UUID = "0a9d1c1e-7c36-4b6f-9f0e-3f6b1f9b2d11"

STEPS = {
    "first": first_step("contract-1"),
    "first with a term": first_step("contract-1", expires_at=NOW_S + 60),
    "of organizations with UUIDs": first_step("contract-1", mo=UUID, actor=UUID),
    "last": last_step("contract-1", actor=UUID),
    "declined": decline_step("contract-1"),
    "empty": Step(revision=3, committed_at=NOW, leaf=b"{}"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_read_as_it_was_written(name):
    assert decode_step(encode_step(STEPS[name]), leaf=STEPS[name].leaf) == STEPS[name]


def test_the_leaf_is_kept_elsewhere():
    step = STEPS["first"]
    assert decode_step(encode_step(step)) == replace(step, leaf=b"")
    assert step.leaf not in encode_step(step)


def test_what_the_protected_header_says_is_not_stored_again():
    one = signature(Role.MONETA, algorithm="ES256", prev="p" * 43)
    raw = encode_step(Step(revision=1, committed_at=NOW, leaf=b"", signatures=(one,)))
    assert raw.count(one.key_id.encode()) == 1
    header = base64url.decode(one.protected, what="protected")
    assert len(raw) < len(header) + 64 + 25


@pytest.mark.parametrize("text", ["", "not base64url", "YQ==", "YR", "a", "e30", "é", "a/b+"])
def test_a_text_is_read_as_it_was_written_whatever_it_was(text):
    one = signature(Role.MO)
    step = Step(
        revision=1,
        committed_at=NOW,
        leaf=b"",
        signatures=(replace(one, signature=text),),
        acts=(Act(name=ActName.EXPIRE, actor="moneta_core", compact=f"{text}.{text}"),),
        receipt=text,
    )
    assert decode_step(encode_step(step)) == step


@pytest.mark.parametrize("suffix", ["=", "====", "é", "*"])
def test_a_protected_header_that_is_not_canonical_base64url_is_refused(suffix):
    one = signature(Role.MO)
    step = Step(revision=1, committed_at=NOW, leaf=b"", signatures=(replace(one, protected=one.protected + suffix),))
    with pytest.raises(ValueError, match="not canonical base64url"):
        encode_step(step)


@pytest.mark.parametrize("event", [*LOG_EVENTS, "contract_remembered"])
@pytest.mark.parametrize("actor", ["moneta_core", UUID, UUID.upper(), "mo-1", ""])
def test_a_log_line_is_read_as_it_was_written(event, actor):
    line = LogLine(event=event, timestamp=NOW_S, actor=actor, revision=4)
    step = Step(revision=4, committed_at=NOW, leaf=b"", log=(line,))
    assert decode_step(encode_step(step)) == step


def test_a_log_line_of_another_revision_is_refused():
    line = LogLine(event="contract_signed", timestamp=NOW_S, actor="mo-1", revision=2)
    with pytest.raises(ValueError, match="a log line of revision 2"):
        encode_step(Step(revision=1, committed_at=NOW, leaf=b"", log=(line,)))


@pytest.mark.parametrize(
    "raw", [b"", b"\x80", b"\xc0", encode_step(STEPS["last"])[:-1], encode_step(STEPS["last"]) + b"\x00"]
)
def test_what_is_no_step_is_refused(raw):
    with pytest.raises(ValueError, match=r"."):
        decode_step(raw)


def test_a_format_of_a_later_program_is_refused():
    members = msgspec.msgpack.decode(encode_step(STEPS["empty"]))
    with pytest.raises(ValueError, match="expected format 1, got 2"):
        decode_step(msgspec.msgpack.encode([2, *members[1:]]))


def test_the_stored_events_of_a_log_never_change_their_places():
    assert LOG_EVENTS[:7] == (
        "contract_created",
        "contract_signed",
        "contract_finalized",
        "contract_declined",
        "contract_cancelled",
        "contract_expired",
        "contract_superseded",
    )


@given(
    raw=st.binary(max_size=300),
    moment=st.integers(0, 2**53 - 1),
    algorithm=st.sampled_from(["RS256", "ES256"]),
    texts=st.lists(st.text(max_size=20), max_size=3),
)
def test_every_step_is_read_as_it_was_written(raw, moment, algorithm, texts):
    step = Step(
        revision=9,
        committed_at=moment,
        leaf=b"",
        signatures=(
            signature(Role.MO, algorithm=algorithm, signed_at=moment),
            Signature(
                role=Role.PUBLISHER,
                key_id="k",
                algorithm="EdDSA",
                issued_at=moment,
                protected=base64url.encode(
                    msgspec.json.encode({"role": "publisher", "kid": "k", "alg": "EdDSA", "iat": moment, "x": texts})
                ),
                signature=base64url.encode(raw),
            ),
        ),
        acts=tuple(Act(name=ActName.DECLINE, actor=text, compact=text) for text in texts),
        receipt=compact(str(moment)),
        finalized_at=moment,
    )
    assert decode_step(encode_step(step)) == step
