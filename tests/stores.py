"""The stores that a hub's tests run on: ``STORES`` are the parameters of the fixture that makes the hub."""

import pytest

STORES = ("embedded", pytest.param("aws", marks=pytest.mark.dynamodb))
