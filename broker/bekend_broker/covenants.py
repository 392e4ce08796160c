"""`bekend broker covenant`: which versions of the covenant are in service. The running broker reads them at SIGHUP.

add      a newer version, beside the present one; the present one is kept, so that both count
retire   an older version, once the newer one served
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.sign import verify_covenant
from bekend_policy.versions import Version, check_newer, drop, files_of, held, keep
from bekend_proto.errors import CovenantError

from bekend_broker.config import BrokerConfig
from bekend_broker.present import load_in_service, shelf_of
from bekend_broker.store import Store


def add(config: BrokerConfig, folder: Path, now: datetime) -> Covenant:
    """Verify a newer version, signed and of this broker, and keep it beside the present one.

    Raises CovenantFaults with every fault, CovenantError when it is not newer or names another broker.
    """
    read = load_covenant(folder)
    # It may be put in place before its first day.
    covenant = verify_covenant(read, config.anchor, max(now, read.valid_from))
    if covenant.broker_oin != config.oin:
        raise CovenantError(f"the covenant names broker {covenant.broker_oin}, this one is {config.oin}")
    present = in_service(config, now)
    newest = present[0].covenant
    if covenant.id != newest.id:
        raise CovenantError(f"this broker serves {newest.id}, the folder holds {covenant.id}")
    check_newer(covenant, [version.covenant for version in present], newest_seen(config)(covenant.id))
    for version in (*present, Version(covenant, folder)):
        keep(files_of(version), shelf_of(config), version.covenant.hash)
    return covenant


def retire(config: BrokerConfig, number: int, now: datetime) -> None:
    """Hold an older version no longer. Raises CovenantError when it is not held, or nothing newer served yet."""
    found = [version.covenant for version in in_service(config, now) if version.covenant.version == number]
    if not found or found[0].hash not in held(shelf_of(config)):
        raise CovenantError(f"no version {number} was added beside another: see `bekend broker covenant list`")
    if newest_seen(config)(found[0].id) <= number:
        raise CovenantError(
            f"nothing newer than version {number} has served: add it, send SIGHUP, then retire this one"
        )
    drop(shelf_of(config), found[0].hash)


def in_service(config: BrokerConfig, now: datetime) -> tuple[Version, ...]:
    """What the broker of this configuration has in service, or would have. Raises as `load_in_service`."""
    return load_in_service(config, now, newest_seen(config))


def newest_seen(config: BrokerConfig) -> Callable[[str], int]:
    """Gives the highest version of a covenant that ever served here."""

    def look(covenant_id: str) -> int:
        if not Store.is_there(config):
            return 0
        store = Store.of(config)
        try:
            return store.newest_covenant(covenant_id)
        finally:
            store.close()

    return look
