"""The node's pages, in Dutch: for who asks, for who decides at the desk, and for the privacy officer.

    browser                 server.py       guard.py                     pages
      | request ----------->| TLS           | origin, size, session  -->| officer.py, desk.py, privacy.py
      |<--------------------|               | headers on every reply <--| templates/, texts/

Everything a page shows comes from the same parts of the node that the commands use. A page holds no rule of its own:
what may be asked, released or seen is decided where it is decided for a command. Pages work without script.
"""
