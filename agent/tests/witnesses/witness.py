"""What the machines served by pymodbus and libmodbus share: a pair of pseudo-terminals, and what becomes of answers.

Arguments: `tcp` or `rtu`, then settings: lost=, doubled=, late= (probabilities of what becomes of an answer), late_ms=,
seed=. A witness prints its address on the first line of standard output, serves until standard input ends, then prints one
JSON object with what it did and what became of its answers.
"""

import os
import random
import threading
import tty


def pty_pair():
    """Two pseudo-terminals back to back: the server's end and the agent's."""
    ends = [os.openpty(), os.openpty()]
    for _, slave in ends:
        tty.setraw(slave)

    def pump(source, sink):
        while data := os.read(source, 4096):
            os.write(sink, data)

    for source, sink in ((ends[0][0], ends[1][0]), (ends[1][0], ends[0][0])):
        threading.Thread(target=pump, args=(source, sink), daemon=True).start()
    return os.ttyname(ends[0][1]), os.ttyname(ends[1][1])


def settings_of(arguments):
    return dict(setting.split("=") for setting in arguments)


class Faults:
    """What becomes of answers."""

    def __init__(self, settings):
        self.chance = {name: float(settings.get(name, 0)) for name in ("lost", "doubled", "late")}
        self.late_s = float(settings.get("late_ms", 150)) / 1000
        self.random = random.Random(int(settings.get("seed", 1)))
        self.count = {"answers": 0, "lost": 0, "doubled": 0, "late": 0}

    def happens(self, name):
        hit = self.random.random() < self.chance[name]
        self.count[name] += hit
        return hit
