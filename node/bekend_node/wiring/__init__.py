"""What a node is made of, each side built in one place. `app.py` puts them together, starts them and stops them.

core         rules, keys and databases; the lines to the broker, and what is learned over them
source       attach -> answer -> filters <- registers (written by the enrolling process)
             answer -> desk store -> comparing (a process of its own) -> desk: a colleague decides
requester    asker -> lines to the broker; who looks along, what came later, how asking is watched
oversight    what the privacy officer reads and decides; housekeeping
entrances    control socket, pages, facade: how people and case systems reach all of it
"""
