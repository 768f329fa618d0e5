"""The hub put together: the only package that names an adapter.

What a process does not need, it does not import: an adapter's family is imported when a hub is made of it, reading
templates costs 0.3 s of imports, sending 0.1 s, which the start of a web process and ``moneta token`` would pay for
nothing. What is done to the files of an embedded hub, before and beside it, is in ``data_directory``.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from moneta.adapters.signing_keys import RotatingSigner
from moneta.adapters.system import SystemClock, SystemRandomness
from moneta.application.ports import (
    UNOBSERVED,
    Clock,
    CompiledTemplate,
    Hub,
    Observer,
    Randomness,
    Relay,
    Sealer,
    Sender,
    Serverless,
    Signer,
    TemplateReader,
)
from moneta.domain.errors import MisconfiguredError
from moneta.domain.template_problems import Lines, TemplateProblem
from moneta.settings import Settings, StoreKind

if TYPE_CHECKING:
    from moneta.adapters.aws.store import DynamoDBStore
    from moneta.adapters.embedded.store import EmbeddedStore


@contextmanager
def opened(settings: Settings, *, observer: Observer = UNOBSERVED) -> Iterator[Hub]:
    """Give the hub on the store that the settings name. See ``embedded`` and ``aws`` for what they raise."""
    with opened_with_relay(settings, observer=observer) as (hub, _):
        yield hub


@contextmanager
def opened_with_relay(settings: Settings, *, observer: Observer = UNOBSERVED) -> Iterator[tuple[Hub, Relay | None]]:
    """Give the hub as ``opened`` does, and what completes its changes; None where a commit is complete or not there."""
    if settings.store is StoreKind.EMBEDDED:
        with embedded(settings, observer=observer) as hub:
            yield hub, None
    else:
        with aws(settings, observer=observer, announces=False) as serverless:
            yield serverless.hub, serverless.relay


@contextmanager
def embedded(settings: Settings, *, observer: Observer = UNOBSERVED) -> Iterator[Hub]:
    """Give the hub on an embedded store, and close it at the end of the block. ``observer`` is told what it does.

    Raises:
        StoreVersionError: The store was made by another version.
        FileNotFoundError: There is no store in the data directory.
        KeyFileError: A key file is missing, or open to others.
    """
    from moneta.adapters.embedded import keyfiles, signing_key_files, store  # noqa: PLC0415  # see the module's docstring

    clock = SystemClock()
    made = store.EmbeddedStore.open(settings.data_dir, clock=clock, observer=observer)
    try:
        base_url = settings.base_url or made.base_url
        signer = RotatingSigner(signing_key_files.SigningKeyFiles(settings.data_dir, clock).now, clock)
        sealer = keyfiles.FileSealer(settings.data_dir)
        hub = _hub(settings, made, clock, observer, base_url=base_url, signer=signer, sealer=sealer)
        yield replace(hub, checkers=made.checkers)
    finally:
        made.close()


@contextmanager
def aws(settings: Settings, *, observer: Observer = UNOBSERVED, announces: bool) -> Iterator[Serverless]:
    """Give the hub on AWS with what functions need of it, and close it at the end of the block.

    Nothing is asked of a service before it is needed. ``announces``: what becomes due is announced to whoever is called
    with it; else whoever delivers looks for it in the store.

    Raises:
        MisconfiguredError: The settings are not those of a hub on AWS.
    """
    from moneta.adapters.aws import hub_secret, store  # noqa: PLC0415  # see the module's docstring
    from moneta.adapters.aws.clients import Clients  # noqa: PLC0415

    if settings.aws is None or settings.base_url is None:
        raise MisconfiguredError("settings: expected those of a hub on AWS, with its base URL")
    clock = SystemClock()
    with ExitStack() as closing:
        clients = Clients(region=settings.aws.region, endpoint_url=settings.aws.endpoint_url)
        closing.callback(clients.close)
        names = store.Names(
            table_prefix=settings.aws.table_prefix,
            events_queue_url=settings.aws.events_queue_url,
            webhooks_queue_url=settings.aws.webhooks_queue_url,
            region=settings.aws.region,
            announces=announces,
        )
        made = store.DynamoDBStore.on(clients.of("dynamodb"), clients.of("sqs"), names, clock, settings.retention)
        closing.callback(made.close)
        keys = hub_secret.CachedKeys(hub_secret.HubSecret(clients.of("secretsmanager"), settings.aws.secret_id), clock)
        signer, sealer = RotatingSigner(keys.signing_keys, clock), hub_secret.SecretsManagerSealer(keys)
        hub = _hub(settings, made, clock, observer, base_url=settings.base_url, signer=signer, sealer=sealer)
        yield Serverless(
            hub=replace(hub, checkers=settings.checkers),
            lines=made.lines,
            relay=made.relay,
            messages=made.messages,
        )


def _hub(
    settings: Settings,
    made: "EmbeddedStore | DynamoDBStore",
    clock: Clock,
    observer: Observer,
    *,
    base_url: str,
    signer: Signer,
    sealer: Sealer,
) -> Hub:
    return Hub(
        base_url=base_url,
        clock=clock,
        randomness=SystemRandomness(),
        events=made.events,
        queue=made.queue,
        contracts=made.contracts,
        deliveries=made.deliveries,
        directory=made.directory,
        retention=made.retention,
        signer=signer,
        sealer=sealer,
        templates=_TemplatesOnDemand(),
        check_webhook_url=_webhook_check(settings),
        observer=observer,
        require_endpoint_check=settings.require_endpoint_check,
        pause=time.sleep,
    )


def http_sender(settings: Settings) -> Sender:
    """Return the sender of webhooks."""
    from moneta.adapters.http_sender import HTTPSender  # noqa: PLC0415  # see the module's docstring

    return HTTPSender(allow_http=settings.allow_http_webhooks, allow_private=settings.allow_private_webhooks)


def template_reader() -> TemplateReader:
    """Return what reads templates."""
    from moneta.adapters.template_reader import YAMLTemplateReader  # noqa: PLC0415  # see the module's docstring

    return YAMLTemplateReader()


def template_lines(payload: bytes) -> Lines:
    """Return the line on which each value of a template's YAML begins."""
    from moneta.adapters import plain_yaml  # noqa: PLC0415  # see the module's docstring

    return plain_yaml.read(payload).findings.lines


def _webhook_check(settings: Settings) -> Callable[[str], str]:
    """Return what ``Hub.check_webhook_url`` is. Few processes are ever asked to check one."""

    def check(url: str) -> str:
        from moneta.adapters.egress import check_webhook_url  # noqa: PLC0415  # see the module's docstring

        return check_webhook_url(
            url, allow_http=settings.allow_http_webhooks, allow_private=settings.allow_private_webhooks
        )

    return check


class _TemplatesOnDemand:
    """See ``ports.TemplateReader``. Made at its first use, which in a web process comes late or never."""

    @cached_property
    def _reader(self) -> TemplateReader:
        return template_reader()

    def lint(self, payload: bytes) -> Sequence[TemplateProblem]:
        """See TemplateReader.lint."""
        return self._reader.lint(payload)

    def compile(self, payload: bytes) -> CompiledTemplate:
        """See TemplateReader.compile."""
        return self._reader.compile(payload)


def builtin_template_payloads() -> Sequence[bytes]:
    """Return the YAML of each template that ships."""
    from moneta.adapters.template_reader import builtin_templates  # noqa: PLC0415  # see the module's docstring

    return builtin_templates()


def system_clock() -> Clock:
    """Return the wall clock."""
    return SystemClock()


def system_randomness() -> Randomness:
    """Return the system's generator."""
    return SystemRandomness()
