"""Pages that need nothing else: no script, no font, no picture and no address outside the page.

The page says so itself (Content-Security-Policy). Every text of a covenant is escaped by the templates.
"""

from jinja2 import Environment, PackageLoader, StrictUndefined

from bekend_policy.model import Covenant
from bekend_policy.wording import listed, on_day, party, term


def environment(covenant: Covenant) -> Environment:
    """The templates of this room, with the filters that they all use."""
    made = Environment(
        loader=PackageLoader("bekend_policy", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(day=on_day, listed=listed, term=term, party=lambda it: party(covenant, it))
    return made
