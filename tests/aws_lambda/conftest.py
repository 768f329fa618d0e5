"""A hub with two parties, as functions find it."""

import pytest

from tests.aws_lambda.loopback import Loopback
from tests.http.api_server import parties
from tests.hub import make_hub


@pytest.fixture
def loopback(tmp_path):
    test_hub = make_hub(tmp_path)
    test_hub.mo, test_hub.publisher = parties(test_hub)
    test_hub.mpass = test_hub.issue_mpass(test_hub.mo)
    yield Loopback(test_hub)
    test_hub.close()


@pytest.fixture
def send(loopback):
    """Send the submission of a contract, which is then in the queue."""
    test_hub = loopback.test_hub

    def send(name, **changed):
        body = test_hub.body(test_hub.mo, test_hub.publisher, test_hub.mpass, contract_id=name, **changed)
        data = {"contract": test_hub.sign_first(test_hub.mo, body)}
        answer = test_hub.send(
            test_hub.mo, test_hub.event(test_hub.mo, "moneta.contract.submit", name, data, f"e-{name}")
        )
        return answer.event_id

    return send
