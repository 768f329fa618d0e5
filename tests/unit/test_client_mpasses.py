"""What an MO needs to issue mPasses by contract: a number of its own, and the id that it will have."""

from moneta import client
from moneta.domain.identifiers import is_uuid4
from moneta.domain.mpasses import check_number


def test_a_number_is_of_the_mo_and_drawn_anew_each_time():
    numbers = {client.new_mpass_number("ACME") for _ in range(100)}
    assert {check_number(one, mic="ACME", field="number") for one in numbers} == numbers
    assert len(numbers) == 100


def test_the_id_of_an_mpass_is_known_before_the_hub_answers():
    number = client.new_mpass_number("ACME")
    assert is_uuid4(client.mpass_id_of("contract-1", number))
    assert client.mpass_id_of("contract-1", number) == client.mpass_id_of("contract-1", number)
    assert client.mpass_id_of("contract-2", number) != client.mpass_id_of("contract-1", number)
