"""A client list to pseudonyms, in a process of its own (protocol section 5).

list --rows--> persons --windows--> chunks --workers--> blinded --broker--> evaluated --workers--> P, staged
               checked               shuffled           fresh r             with proof            verified
               merged                padded

mapping.py   which column is what, and where the list comes from: approved by two people
lists.py     opens the list: csv_file.py, excel.py, or database.py over postgresql.py or odbc.py
rows.py      a list's rows to persons; names line and remedy of what is wrong, never a value
survey.py    what counts for which purpose, what the list holds, what a guard stops; dry_run.py ends with it
plan.py      windows, order, chunks: the same again when an interrupted import goes on
crypto.py    what the worker processes compute
line.py      the stream to the broker
run.py       the import: check, send, stage, switch
shield.py    `afgeschermd`, one person at a time
"""
