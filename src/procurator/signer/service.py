"""IO: the signer as a component: open, sign, and open again after an outage, until told to stop."""

import logging
import time
from collections.abc import Callable

from procurator import metrics
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.runtime import Stop
from procurator.signer.worker import SignerConfig, SignerWorker

log = logging.getLogger(__name__)

_PAUSE_S = 1.0


def config_of(settings: Settings, accept_gaps: bool = False, adopt: bool = False) -> SignerConfig:
    """Return the signer's configuration from the settings."""
    return SignerConfig(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        registry_url=settings.schema_registry_url,
        folder=settings.signer_folder,
        key_file=settings.signing_key,
        checkpoints_file=settings.checkpoints,
        accept_gaps=accept_gaps,
        adopt=adopt,
    )


def serve(config: SignerConfig, stop: Stop, announce_ready: Callable[[], None]) -> None:
    """Sign until told to stop; ready after the first checkpoint. Raises Fatal when signing on would do harm."""
    # From the start on, not from the first signature: a signer that does not come to one is what an alert is for.
    signed = config.checkpoints_file
    metrics.CHECKPOINT_TIME.set(signed.stat().st_mtime if signed.exists() else time.time())
    said = ""
    while not stop.is_set():
        worker = SignerWorker(config, stop.is_set)
        try:
            worker.open()
            if not stop.is_set():
                worker.step()
                announce_ready()
                said = ""
            while not stop.is_set():
                worker.step()
        except Unavailable as error:
            if str(error) != said:  # once for an outage, not once a second
                log.warning("%s: waiting", error)
                said = str(error)
            stop.wait(_PAUSE_S)
        finally:
            worker.close()
