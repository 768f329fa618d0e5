"""The desks from which Moneta's signing keys are made and rotated, on either family of adapters, with a still clock."""

from moneta.adapters.aws.certificates import KMSRootKey
from moneta.adapters.aws.hub_secret import SECRET_LIFETIME_S, CachedKeys, HubSecret, SecretsManagerSealer
from moneta.adapters.aws.key_rotation import KeyCustody
from moneta.adapters.embedded.signing_key_files import SigningKeyFiles, make_first_key, rotate_key
from moneta.adapters.signing_keys import RotatingSigner
from tests.aws.key_services import ROOT_KEY_ID, SECRET_ID, FakeKMS, FakeSecretsManager
from tests.conformance.builders import StillClock
from tests.signing_examples import HUB


def kid(signer):
    return signer.current().public.key_id


class DeskOnAWS:
    """Services, a clock, and what runs on them. ``lag_s``: until a process has seen what was written."""

    lag_s = SECRET_LIFETIME_S

    def __init__(self):
        self.clock, self.secrets, self.kms = StillClock(), FakeSecretsManager(), FakeKMS()
        self.secret = HubSecret(self.secrets, SECRET_ID)

    @property
    def now(self):
        return self.clock.now_ms() // 1000

    @property
    def custody(self):
        return KeyCustody(secret=self.secret, root=KMSRootKey(self.kms, ROOT_KEY_ID))

    def begin(self):
        return self.custody.make_first(base_url=HUB, now=self.now).key

    def rotation(self, **how):
        return self.custody.rotate(now=self.now, **how)

    def rotate(self, **how):
        return self.rotation(**how).key

    def process(self):
        """What a new process has: the signer and the sealer on a cache of their own."""
        keys = CachedKeys(self.secret, self.clock)
        return RotatingSigner(keys.signing_keys, self.clock), SecretsManagerSealer(keys)

    def signer(self):
        return self.process()[0]

    def private_halves(self):
        """The keys whose private half is kept."""
        return set(self.secret.read().keys.signing_keys.private)

    def text(self):
        return self.secrets.versions[self.secrets.current]


class DeskOfFiles:
    """A data directory, a clock, and what runs on them."""

    lag_s = 0

    def __init__(self, data_dir):
        self.clock, self.data_dir = StillClock(), data_dir

    @property
    def now(self):
        return self.clock.now_ms() // 1000

    def begin(self):
        make_first_key(self.data_dir, now=self.now)
        [key] = self.signer().published()
        return key

    def rotation(self, *, is_compromised=False):
        return rotate_key(self.data_dir, now=self.now, is_compromised=is_compromised)

    def rotate(self, **how):
        return self.rotation(**how).key

    def signer(self):
        return RotatingSigner(SigningKeyFiles(self.data_dir, self.clock).now, self.clock)

    def private_halves(self):
        return {path.stem.removeprefix("signing-") for path in self.data_dir.glob("signing-*.pem")}
