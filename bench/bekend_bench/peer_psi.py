"""`openmined-psi` (ECDH with a Golomb-compressed set) for one question: run by an interpreter that has it installed.

Nothing of bekend can be imported here: the package asks for another protobuf. Prints one JSON object; the network is
left out, which favours the peer. Usage: `python peer_psi.py PERSONS QUESTIONS`.
"""

import importlib
import json
import statistics
import sys
import time

psi = importlib.import_module("private_set_intersection.python")
FALSE_HIT = 1e-9


def main(persons: int, questions: int) -> dict[str, float]:
    """Set up once, then ask about one identifier at a time: seconds, and octets of what would travel."""
    known = [f"test:{10**11 + number}" for number in range(persons)]
    server = psi.server.CreateWithNewKey(True)
    began = time.perf_counter()
    setup = server.CreateSetupMessage(FALSE_HIT, 1, known, psi.DataStructure.GCS)
    set_up = time.perf_counter() - began
    setup_octets = len(setup.SerializeToString())
    times, octets = [], 0
    for number in range(questions):
        hit = number % 2 == 0
        value = known[number] if hit else f"test:{9 * 10**11 + number}"
        began = time.perf_counter()
        client = psi.client.CreateWithNewKey(True)
        request = client.CreateRequest([value])
        response = server.ProcessRequest(request)
        found = client.GetIntersection(setup, response)
        times.append(time.perf_counter() - began)
        octets = len(request.SerializeToString()) + len(response.SerializeToString())
        if bool(found) != hit:
            raise SystemExit("a wrong answer: what was measured would be no figure")
    return {
        "set_up": set_up,
        "set_up_octets": setup_octets,
        "question": statistics.median(times),
        "question_octets": octets,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
