"""Secrets Manager and KMS as far as the hub's keys need them: in memory, with a real P-256 key, and with faults.

What they refuse, and how, is what the services' API references say of these calls.
"""

from types import SimpleNamespace

from botocore.exceptions import ClientError, ReadTimeoutError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

META = SimpleNamespace(region_name="eu-west-1", endpoint_url="https://services.example")
SECRET_ID = "moneta-test-keys"  # noqa: S105  # its name
ROOT_KEY_ID = "alias/moneta-test-root"


def refusal(code, message="", *, status=400):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Call")


TIMED_OUT = ReadTimeoutError(endpoint_url="https://services.example")


class FakeSecretsManager:
    """One secret, without a value at first. ``fault``: what every call meets until it is None again."""

    meta = META

    def __init__(self):
        self.versions = {}
        self.current = None
        self.fault = None
        self.calls = self.reads = 0

    def get_secret_value(self, *, SecretId):  # noqa: N803  # the service's name
        self._check(SecretId)
        self.reads += 1
        if self.current is None:
            raise refusal("ResourceNotFoundException", "can't find the secret value for staging label: AWSCURRENT")
        return {"VersionId": self.current, "SecretString": self.versions[self.current]}

    def describe_secret(self, *, SecretId):  # noqa: N803
        self._check(SecretId)
        return {"Name": SecretId, **({"VersionIdsToStages": {self.current: ["AWSCURRENT"]}} if self.current else {})}

    def put_secret_value(self, *, SecretId, SecretString, ClientRequestToken):  # noqa: N803
        self._check(SecretId)
        assert 32 <= len(ClientRequestToken) <= 64
        assert len(SecretString) <= 65_536
        if self.versions.setdefault(ClientRequestToken, SecretString) != SecretString:
            raise refusal("ResourceExistsException", "that version is there already, with another value")
        self.current = ClientRequestToken
        return {"VersionId": ClientRequestToken}

    def _check(self, secret_id):
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        if secret_id != SECRET_ID:
            raise refusal("ResourceNotFoundException", "can't find the specified secret")


class FakeKMS:
    """One key that signs."""

    meta = META

    def __init__(self, curve=None):
        self.key = ec.generate_private_key(curve or ec.SECP256R1())
        self.spec = "ECC_NIST_P256" if curve is None else "ECC_NIST_P384"
        self.fault = None
        self.signed = 0

    def get_public_key(self, *, KeyId):  # noqa: N803
        self._check(KeyId)
        encoded = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return {"KeyId": KeyId, "KeySpec": self.spec, "PublicKey": encoded}

    def sign(self, *, KeyId, Message, MessageType, SigningAlgorithm):  # noqa: N803
        self._check(KeyId)
        assert (MessageType, SigningAlgorithm) == ("RAW", "ECDSA_SHA_256")
        assert len(Message) <= 4096
        self.signed += 1
        return {"Signature": self.key.sign(Message, ec.ECDSA(hashes.SHA256()))}

    def _check(self, key_id):
        if self.fault is not None:
            raise self.fault
        if key_id != ROOT_KEY_ID:
            raise refusal("NotFoundException", f"{key_id} is not there")
