"""Many partners in few processes: each is a whole node, and every figure of the part comes out."""

from dataclasses import fields

from bekend_bench import many
from bekend_bench.floor import Floor
from bekend_bench.ground import FEW, ground, populate
from bekend_bench.many import Size
from bekend_proto.clock import SystemClock


def test_nodes_of_two_processes_answer_one_question() -> None:
    any_floor = Floor(**{one.name: 5e-5 for one in fields(Floor)})
    clock, said = SystemClock(), list[str]()
    sizes = (Size(2, 2, 1, 0.2), Size(3, 2, 1, 0.2))
    with ground({FEW: 3}, clock, registers=False) as field:
        populate(field, clock, enrol=False)
        figures = {one.what: one for one in many.measure(field, any_floor, 2, sizes, said.append)}
        assert field.hosts == {}
    assert len(said) == len(sizes)
    for count, name in ((2, "2 of 3"), (3, "3")):
        for how in ("", ", partners' processes kept on one core each"):
            first, whole = (figures[f"{name} partners{how}, {what}p50"].value for what in ("first outcome, ", ""))
            assert 0 < first <= whole
        assert figures[f"{name} partners, processor time of each source"].value >= 0
        # The Question and the sealed record alone weigh more than a KiB, and the answer carries a KEM's ciphertext.
        assert figures[f"{name} partners, received by each source"].value > 1500
        assert figures[f"{name} partners, sent by each source"].value > 1088
        assert figures[f"{name} partners, sent by the requester"].value > count * 1500
