"""A machine with a mailbox, written from docs/modbus.md alone, served by pymodbus: a witness that is not ours.

Arguments and what it prints are those of every witness (witness.py), with read_write=0 to understand no function 23,
transactions= questions that may be asked at once, and the lines it took, in order.
"""

import sys

from pymodbus.constants import ExcCodes

from pymodbus_server import serve
from witness import settings_of

SLOTS, SLOT_TEXT, WATCHDOG_MS = 30, 30, 2000
MACHINE, HOST, FIRST_SLOT = 0, 32, 40
PLANNER_LINES, LINES_A_SCAN = 16, 8


def newer(number, known):
    return 0 < (number - known) & 0xFFFF < 0x8000


class Machine:
    """The registers, and a scan that runs by itself."""

    unit = 1

    def __init__(self, read_write, transactions):
        self.words = [0] * (FIRST_SLOT + SLOTS * (SLOT_TEXT + 2))
        self.words[0:6] = [0x4642, 1, 1 if read_write else 0, SLOTS, SLOT_TEXT, WATCHDOG_MS]
        self.words[10] = 1
        self.words[15] = transactions
        self.read_write = read_write
        self.next_slot = 0
        self.held = False
        self.planner = []
        self.taken = []
        self.commands = []

    def scan(self):
        words = self.words
        session = words[HOST]
        if session != 0 and (words[6] == 0 or newer(session, words[6])):
            self.planner.clear()
            self.held, self.next_slot = False, 0
            words[8] = words[9] = words[12] = words[13] = 0
            if words[6] == 0:
                words[14] = words[HOST + 4]
            words[6] = session
        words[7] = words[HOST + 1]
        if newer(words[HOST + 4], words[14]):
            self.command(words[HOST + 3])
            words[14] = words[HOST + 4]
        if words[HOST + 2] == words[13]:
            words[12] = 0
        while self.take():
            pass
        if words[11] == 0 and not self.held:
            for _ in range(min(LINES_A_SCAN, len(self.planner))):
                words[9] = self.planner.pop(0)
        words[10] = 6 if words[11] else 4 if self.held else 2 if self.planner else 1

    def command(self, command):
        self.commands.append(command)
        if command == 1:
            self.held = True
        elif command == 2:
            self.held = False
        elif command == 3:
            self.planner.clear()
            self.words[11] = 1
        elif command == 4:
            self.words[11] = 0

    def take(self):
        words = self.words
        full = len(self.planner) >= PLANNER_LINES
        if words[11] or self.held or words[12] or full or words[6] == 0:
            return False
        at = FIRST_SLOT + self.next_slot * (SLOT_TEXT + 2)
        number = (words[8] + 1) & 0xFFFF
        if words[at + SLOT_TEXT + 1] != number or words[at] >> 8 != words[6] & 0xFF:
            return False
        length = words[at] & 0xFF
        text = b"".join(word.to_bytes(2, "big") for word in words[at + 1 : at + 1 + SLOT_TEXT])
        self.next_slot = (self.next_slot + 1) % SLOTS
        words[8] = number
        if length == 0 or length > len(text):
            words[13], words[12] = number, 5
        else:
            self.taken.append(text[:length].decode("ascii"))
            self.planner.append(number)
        return True

    # What pymodbus asks of whoever keeps the registers.

    async def async_getValues(self, _device, function, address, count=1):
        if function not in (3, 6, 16, 23) or (function == 23 and not self.read_write):
            return ExcCodes.ILLEGAL_FUNCTION
        if address + count > len(self.words):
            return ExcCodes.ILLEGAL_ADDRESS
        return self.words[address : address + count]

    async def async_setValues(self, _device, function, address, values):
        if function == 23 and not self.read_write:
            return ExcCodes.ILLEGAL_FUNCTION
        if address < HOST or address + len(values) > len(self.words):
            return ExcCodes.ILLEGAL_ADDRESS
        self.words[address : address + len(values)] = values
        return None

    def device_ids(self):
        return [self.unit]

    def report(self):
        return {"taken": self.taken, "commands": self.commands}


kind, settings = sys.argv[1], settings_of(sys.argv[2:])
serve(Machine(settings.get("read_write", "1") == "1", int(settings.get("transactions", "0"))), kind, settings)
