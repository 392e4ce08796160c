"""The audit by sample, off line (protocol section 8): the officer opens what is drawn, the auditor makes it again.

    basis.py     exports verified, the draw, and which Questions it takes
    opening.py   the file between the two: own records of what is drawn, signed by the one, sealed to the other
    showing.py   the privacy officer's side: which own records belong to the draw
    testing.py   the auditor's side: every octet made again and held against logs and sources
    cli.py       `bekend audit`

None of it needs a network or a running node.
"""
