"""Opens what is kept about persons, and seals it again when it changes: whoever writes it does so here.

How far a person is stands in no plain column: desk.db alone would tell who is known here. So that a page need not open
everything to find what it shows, what was opened or written last is remembered: in memory only, and no more than the
stage of what a colleague, or the privacy officer, has to do with.
"""

from collections.abc import Callable, Sequence

from bekend_node.desk.matter import Matter, Stage, open_matter
from bekend_node.keys import NodeKeys
from bekend_node.store_desk import DeskStore, Exchange

Change = Callable[[Exchange, list[Matter]], tuple[Exchange, Sequence[Matter]]]
"""What is to stand in place of an exchange and its matters. Raises to leave everything as it was."""


class Matters:
    """The matters of all exchanges. There is one of these per desk.db: it has to hear of every change."""

    def __init__(self, store: DeskStore, keys: NodeKeys) -> None:
        self._store = store
        self._keys = keys
        self._stages: dict[bytes, tuple[Stage | None, ...]] = {}

    async def begin(self, exchange: Exchange, messages: Sequence[bytes]) -> None:
        """Keep what named the persons of a question. Raises StaleError when they were named before, StorageError."""
        box = self._keys.desk_box
        await self._store.begin(exchange, [Matter(Stage.NAMED, one).seal(box) for one in messages])

    async def change(self, question_id: bytes, change: Change) -> Exchange:
        """Change one exchange in one durable transaction; returns it as it is then.

        Raises StaleError when there is none, what `change` raises, StorageError, KeysError; then nothing was written.
        """
        box = self._keys.desk_box

        def put(exchange: Exchange, sealed: list[bytes]) -> tuple[Exchange, list[bytes]]:
            fresh, after = change(exchange, [open_matter(box, one) for one in sealed])
            # Here, in the order in which changes are written.
            self._stages[question_id] = _of_note(after)
            return fresh, [one.seal(box) for one in after]

        try:
            return await self._store.change(question_id, put)
        except Exception:
            self._stages.pop(question_id, None)
            raise

    def of(self, question_id: bytes) -> list[Matter]:
        """What is kept about each person of a question, in its order."""
        return [open_matter(self._keys.desk_box, one) for one in self._store.matters(question_id)]

    def one(self, question_id: bytes, person: int) -> Matter | None:
        """What is kept about one of them, or None when it is over."""
        sealed = self._store.matters(question_id)[person : person + 1]
        return open_matter(self._keys.desk_box, sealed[0]) if sealed else None

    def stages(self, question_id: bytes) -> tuple[Stage | None, ...]:
        """How far each person of a question is: None where there is nothing to do. Opens what it does not remember."""
        found = self._stages.get(question_id)
        if found is None:
            # What was written since it was read knows better.
            found = self._stages.setdefault(question_id, _of_note(self.of(question_id)))
        return found

    def learn(self) -> None:
        """Open what was there before this process, so that no page has to. Blocks."""
        for question_id in self._store.compared():
            self.stages(question_id)

    async def forget(self, before: int) -> int:
        """Remove exchanges whose term ended before a moment (milliseconds since 1970); how many there were."""
        gone = await self._store.forget(before)
        if gone:
            # In this order: what begins in between is in neither.
            remembered = list(self._stages)
            for question_id in set(remembered) - set(self._store.question_ids()):
                self._stages.pop(question_id, None)
        return gone


def _of_note(matters: Sequence[Matter]) -> tuple[Stage | None, ...]:
    return tuple(one.stage if one.is_item or one.stage is Stage.MISNAMED else None for one in matters)
