"""Who stands behind a phone number and a LID. whatsmeow files everything of a user under the LID once it knows it."""

from collections import defaultdict
from collections.abc import Iterable

from wa_sessions.keys.baileys.peers import LidMapping, SenderKeyMemory
from wa_sessions.keys.baileys.rows import BaileysPhone
from wa_sessions.keys.baileys.session import Session
from wa_sessions.keys.conversion.remarks import Remarks
from wa_sessions.keys.device_address import HOSTED, HOSTED_LID, LID, LONGEST_NUMBER, PN, Address, is_user
from wa_sessions.keys.phone_ref import number_of


class People:
    """Pairs of a LID and a number, and the LIDs whose number is not known; what is learned first stands."""

    def __init__(self, remarks: Remarks) -> None:
        self.lids: dict[str, str] = {}
        """LIDs by number."""
        self._numbers: dict[str, str] = {}
        self._known_lids: set[str] = set()
        self._remarks = remarks

    @classmethod
    def of(cls, phone: BaileysPhone, given: Iterable[tuple[str, str]], remarks: Remarks) -> "People":
        """From a map that was given, as pairs of LID and number, then from what the phone's own keys tell."""
        people = cls(remarks)
        for lid, number in given:
            people.learn(lid, number, "the map of LIDs")
        me = phone.creds.me
        if me and me.lid:
            people.learn(number_of(me.lid), number_of(me.jid), "creds")
        for record in phone.records:
            if isinstance(record, LidMapping):
                people.learn(record.lid, record.number, record.key)
            elif isinstance(record, SenderKeyMemory):
                people._known_lids.update(number_of(jid) for jid in record.devices if jid.endswith("@lid"))
        people._compare_identities([record for record in phone.records if isinstance(record, Session)])
        return people

    def learn(self, lid: str, number: str, source: str) -> None:
        """Take a pair in, unless one of the two is known with another."""
        if not (is_user(lid) and is_user(number)):
            self._remarks.notice(source, "it names what is no LID or no phone number: this pair is not used")
            return
        if self.lids.get(number, lid) != lid or self._numbers.get(lid, number) != number:
            self._remarks.notice(source, f"LID {lid} or number {number} is known with another: this pair is not used")
            return
        self.lids[number] = lid
        self._numbers[lid] = number
        self._known_lids.add(lid)

    def address(self, address: Address) -> Address:
        """Where whatsmeow files a device that Baileys files there."""
        domain = LID if address.domain == PN and self.is_lid(address.user) else address.domain
        if domain in (PN, HOSTED) and (lid := self.lids.get(address.user)):
            return Address(lid, LID if domain == PN else HOSTED_LID, address.device)
        return address if domain == address.domain else Address(address.user, domain, address.device)

    def is_lid(self, user: str) -> bool:
        """Whether a user of whom Baileys 6 says no more is a LID: known as one, or longer than a phone number."""
        return user in self._known_lids or (user not in self.lids and len(user) > LONGEST_NUMBER)

    def _compare_identities(self, sessions: list[Session]) -> None:
        """One device has one identity key: a number and a LID that share it are the same user."""
        users: defaultdict[tuple[int, bytes], set[str]] = defaultdict(set)
        for session in sessions:
            if session.address.domain in (PN, LID):
                for state in session.states:
                    users[session.address.device, state.remote_identity].add(session.address.user)
                if session.address.domain == LID:
                    self._known_lids.add(session.address.user)
        for same in users.values():
            lids = sorted(user for user in same if self.is_lid(user))
            numbers = sorted(same.difference(lids))
            if len(lids) == len(numbers) == 1:
                self.learn(lids[0], numbers[0], f"session-{numbers[0]}")
            elif lids and numbers:
                self._remarks.notice(
                    "session", f"{', '.join(numbers + lids)} share an identity key: which are one user is not known"
                )
