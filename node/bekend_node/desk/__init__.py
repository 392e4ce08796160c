"""The release desk: where a colleague at the source decides (protocol section 9). All of it off the reply path.

    answer/intake.py --D, sealed--> desk.db
                                      | (R4) compare.py    in a process of its own: whose W made this locator?
                                      |      comparing.py  a match becomes an item; anything else a blank of one length
                                      | (R5) decisions.py  a colleague looks, releases or refuses, with a ground
    answer/collects.py <--state-------+
                                        keeping.py         what is over is erased

An identifier is in the comparing process and, while a colleague looks or decides, in the node's memory; on disk only
inside an item, sealed under a key outside the database.
"""
