"""A client list to pseudonyms, in a process of its own (protocol section 5).

CSV --rows--> persons --windows--> chunks --workers--> blinded --broker--> evaluated --workers--> P, staged
              checked               shuffled           fresh r             with proof            verified
              merged                padded

rows.py      reads any CSV in bounded memory, names line and remedy of what is wrong
mapping.py   which column is what, approved by two people
plan.py      windows, order, chunks: the same again when an interrupted import goes on
crypto.py    what the worker processes compute
line.py      the stream to the broker
run.py       the import: check, send, stage, switch
shield.py    `afgeschermd`, one person at a time
"""
