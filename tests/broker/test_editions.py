"""The directory in parts: whoever puts the changes together has what whoever gets the whole has."""

from bekend_broker.editions import REMEMBERED, Content, Editions
from bekend_proto.v1.broker_pb2 import GetDirectoryRequest, GetDirectoryResponse
from hypothesis import given
from hypothesis import strategies as st

BROKER = "00000099000000000001"
OINS = [f"0000009900000000{number:04d}" for number in range(2, 8)]
NOTES = st.dictionaries(st.sampled_from(OINS), st.sampled_from([b"a", b"b", b"c"]))
CONTENTS = st.builds(
    lambda notes, own, suspensions: Content(BROKER, {**notes, BROKER: own}, (b"h" * 32,), suspensions),
    NOTES,
    st.sampled_from([b"x", b"y"]),
    st.lists(st.binary(max_size=2), max_size=2).map(tuple),
)


def notes_of(reply: GetDirectoryResponse, had: dict[str, bytes]) -> dict[str, bytes]:
    """As a caller puts them together."""
    kept = {oin: note for oin, note in had.items() if oin not in reply.gone} if reply.since else {}
    kept |= {entry.oin: entry.manifest for entry in reply.entries}
    return kept | ({BROKER: reply.broker_manifest} if reply.broker_manifest else {})


@given(st.lists(CONTENTS, min_size=1, max_size=8), st.data())
def test_changes_and_the_whole_come_to_the_same(contents: list[Content], data: st.DataObject) -> None:
    editions = Editions()
    held: dict[bytes, dict[str, bytes]] = {b"": {}}
    for content in contents:
        have = data.draw(st.sampled_from(sorted(held)))
        reply = editions.reply(content, set(), GetDirectoryRequest(have=have, changes=True))
        whole = editions.reply(content, set(), GetDirectoryRequest())
        assert reply.digest == whole.digest
        if reply.unchanged:
            assert held[have] == content.notes
            continue
        assert reply.since == have
        assert list(reply.suspensions) == list(content.suspensions)
        assert {entry.oin for entry in reply.entries} == {
            oin for oin, note in content.notes.items() if oin != BROKER and held[have].get(oin) != note
        }
        held[reply.digest] = notes_of(reply, held[have])
        assert held[reply.digest] == notes_of(whole, {}) == content.notes


def test_an_edition_that_is_too_old_is_forgotten() -> None:
    editions = Editions()

    def told(number: int, have: bytes = b"") -> GetDirectoryResponse:
        content = Content(BROKER, {OINS[0]: b"%d" % number, BROKER: b"x"}, (), ())
        return editions.reply(content, set(), GetDirectoryRequest(have=have, changes=True))

    first, second = told(0).digest, told(1).digest
    for number in range(2, REMEMBERED + 1):
        told(number)
    assert told(REMEMBERED, first).since == b""
    assert told(REMEMBERED, second).since == second
    # What comes back after it was replaced counts as new.
    assert told(1).digest == second
    told(REMEMBERED + 1)
    assert told(REMEMBERED + 1, second).since == second
