"""What the privacy officer does off line: access requests, sealed records opened, informing deferred (section 8).

    request.py    the signed, blinded request, and the secret that belongs to it
    reply.py      the broker's reply: proofs verified, U per month
    export.py     what the node hands out to take along: Questions, sealed records, own records, deferrals
    opening.py    many sealed records opened and compared, on all cores
    own.py        the own records of one lookup, and what its seed gives again
    periods.py    when the person was registered, and so what a question was answered
    findings.py   what concerns this person; what is postponed; what points at a breach
    letter.py     the letter to the citizen

None of it needs a network, a running node or anything of the broker.
"""
