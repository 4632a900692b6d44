"""Real neonize clients sync app state from the emulator, whole and damaged in each way whatsmeow tells apart."""

from collections.abc import Iterator

import pytest
from support.client_process import ClientProcess
from support.pairing import Party, link

from wa_sessions.emulator import AppStateDamage, Emulator

NAME = "regular_high"
PATCH_DAMAGE = {
    AppStateDamage.CONTENT_MAC: "mismatching content MAC",
    AppStateDamage.INDEX_MAC: "mismatching index MAC",
    AppStateDamage.LTHASH: "mismatching LTHash",
    AppStateDamage.PATCH_MAC: "mismatching patch MAC",
    AppStateDamage.MISSING_KEY: "didn't find app state key",
}
SNAPSHOT_DAMAGE = {
    AppStateDamage.SNAPSHOT_CONTENT: "mismatching content MAC",
    AppStateDamage.SNAPSHOT_LTHASH: "mismatching LTHash",
    AppStateDamage.SNAPSHOT_MEDIA: "failed to download",
    AppStateDamage.SNAPSHOT_MISSING: "failed to download",
}


@pytest.fixture(scope="module")
def client_process(emu: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientProcess]:
    with ClientProcess(emu.client_env(), tmp_path_factory.mktemp("clients"), debug=True) as process:
        yield process


@pytest.fixture(scope="module")
def alice(emu: Emulator, client_process: ClientProcess) -> Party:
    """A client that has the key and is up to date."""
    alice = link(emu, client_process, "alice")
    emu.mute(alice.phone, "77059990000")
    emu.share_app_state_key(alice.device)
    client_process.log(f"Full sync of app state {NAME} completed. Current version: 1")
    return alice


def test_a_patch_is_synced_when_the_client_is_told(emu: Emulator, client_process: ClientProcess, alice: Party) -> None:
    since, before = client_process.lines.mark(), alice.phone.app_state.version(NAME)
    version = emu.mute(alice.phone, "77059990001")
    assert version == before + 1
    emu.notify_app_state(alice.device, NAME)
    client_process.log(f"Synced app state {NAME} from version {before} to {version}", since=since)


@pytest.mark.parametrize("damage", PATCH_DAMAGE)
def test_a_damaged_patch_fails_until_it_is_healed(
    emu: Emulator, client_process: ClientProcess, alice: Party, damage: AppStateDamage
) -> None:
    since = client_process.lines.mark()
    fault = emu.damage_app_state(alice.phone, NAME, damage)
    emu.mute(alice.phone, "77059990000")  # changes a value that is there already
    version = emu.mute(alice.phone, f"7706000{list(PATCH_DAMAGE).index(damage):04}")
    emu.notify_app_state(alice.device, NAME)
    line = client_process.log("Failed to sync app state after notification", since=since)
    assert PATCH_DAMAGE[damage] in line["log"]
    assert fault.hits == 1
    emu.heal()
    emu.notify_app_state(alice.device, NAME)
    client_process.log(f"to {version}", since=since)


def test_damage_may_strike_only_so_often(emu: Emulator, client_process: ClientProcess, alice: Party) -> None:
    since = client_process.lines.mark()
    emu.damage_app_state(alice.phone, NAME, AppStateDamage.LTHASH, count=1)
    version = emu.mute(alice.phone, "77059990003")
    emu.notify_app_state(alice.device, NAME)
    client_process.log("mismatching LTHash", since=since)
    emu.notify_app_state(alice.device, NAME)
    client_process.log(f"to {version}", since=since)


@pytest.mark.parametrize("damage", SNAPSHOT_DAMAGE)
def test_a_damaged_snapshot_fails_at_the_first_sync(
    emu: Emulator, client_process: ClientProcess, damage: AppStateDamage
) -> None:
    party = link(emu, client_process, str(damage))
    emu.mute(party.phone, "77059990000")
    emu.damage_app_state(party.phone, NAME, damage)
    since = client_process.lines.mark()
    emu.share_app_state_key(party.device)
    line = client_process.log(f"Failed to do initial fetch of app state {NAME}", since=since)
    assert SNAPSHOT_DAMAGE[damage] in line["log"]
    emu.heal()


def test_a_whole_snapshot_is_taken(emu: Emulator, client_process: ClientProcess) -> None:
    party = link(emu, client_process, "snapshot")
    for i in range(5):
        emu.mute(party.phone, f"7705999{i:04}")
    emu.mute(party.phone, "77059990000")
    emu.snapshots = True
    since = client_process.lines.mark()
    emu.share_app_state_key(party.device)
    client_process.log(f"Full sync of app state {NAME} completed. Current version: 6", since=since)
    emu.snapshots = False


def test_an_unknown_collection_is_refused(emu: Emulator, alice: Party) -> None:
    with pytest.raises(ValueError, match="regular_high"):
        emu.app_state_set(alice.phone, "regullar", ["mute"], object())
