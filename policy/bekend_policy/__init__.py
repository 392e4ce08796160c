"""The covenant: read, checked, signed, decided by. Where to start reading:

strict_yaml.py scalars.py yaml_texts.py faults.py   strict YAML, every fault with its line
terms.py model.py                                   what files may say; the Covenant that the program uses
load.py check.py directions.py                      a folder to a Covenant; D1-D14, which no covenant can lift
decide.py                                           may this party ask that one, for this purpose, now?
sign.py keys.py notes.py                            who signed what
manifest.py standing.py                             the signed texts of nodes, broker and sources
cli.py                                              `bekend policy`
"""
