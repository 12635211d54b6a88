"""A controller with program files, written from docs/modbus.md ("Program files") and the registers of
config/machines/generic-program-file.toml alone, served by pymodbus: a witness that is not ours.

Arguments and what it prints are those of every witness (witness.py), with bad_block=N to find the checksum of block N wrong
the first time, and of the programs it ran: the lines of each in order, how often a start rose, and the blocks it took.
"""

import sys

from pymodbus.constants import ExcCodes

from pymodbus_server import serve
from witness import settings_of

STATE, LINE, DONE, ALARM, LOADED, TAKEN, ERROR = 0, 1, 3, 4, 5, 6, 7
NUMBER, SIZE, BLOCK, LENGTH, CHECKSUM, TEXT, TEXT_WORDS = 20, 21, 30, 31, 32, 33, 60
START, STOP, HOLD, RESUME, CLEAR = range(5)
IDLE, RUNNING, HELD = 0, 1, 2
LINES_A_SCAN = 4


def crc16(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


class Controller:
    """The registers and coils, and a scan that runs by itself."""

    unit = 4

    def __init__(self, settings):
        self.words = [0] * (TEXT + TEXT_WORDS)
        self.coils = [False] * 5
        self.before = [False] * 5
        self.program = b""
        self.lines = None
        self.at = 0
        self.held = False
        self.bad_block, self.block_writes = int(settings.get("bad_block", 0)), 0
        self.runs, self.starts, self.blocks, self.aborted = [], 0, 0, 0

    def scan(self):
        self.take_block()
        self.hear_coils()
        self.run()
        words = self.words
        words[STATE] = HELD if self.held else RUNNING if self.lines is not None else IDLE
        words[LINE], words[LINE + 1] = self.at >> 16, self.at & 0xFFFF

    def take_block(self):
        words = self.words
        if words[BLOCK] == 0:
            if self.lines is None:
                self.program, words[TAKEN], words[ERROR], words[DONE] = b"", 0, 0, 0
            return
        due = 1 if words[TAKEN] == 65535 else words[TAKEN] + 1
        if words[BLOCK] != due or self.lines is not None:
            return
        length = words[LENGTH]
        text = b"".join(word.to_bytes(2, "big") for word in words[TEXT:])[:length]
        if length == 0 or length > 2 * TEXT_WORDS:
            words[ERROR] = 2
        elif crc16(text) != words[CHECKSUM] or (due == self.bad_block and self.block_writes == 1):
            words[ERROR] = 1
        else:
            self.program += text
            words[ERROR], words[LOADED] = 0, words[NUMBER]
            words[TAKEN] = due
            self.blocks += 1
            self.block_writes = 0

    def hear_coils(self):
        rises = [now and not before for now, before in zip(self.coils, self.before)]
        self.before = list(self.coils)
        if self.coils[STOP]:
            self.aborted += self.lines is not None
            self.lines, self.held = None, False
            return
        if rises[CLEAR]:
            self.words[ALARM] = 0
        if rises[START]:
            self.starts += 1
            if self.lines is None and self.words[ALARM] == 0:
                self.words[DONE], self.at = 0, 0
                self.lines = self.program.decode("ascii").split("\n")[:-1]
                self.runs.append([])
        if rises[HOLD]:
            self.held = self.lines is not None
        if rises[RESUME]:
            self.held = False

    def run(self):
        if self.lines is None or self.held:
            return
        for _ in range(LINES_A_SCAN):
            if self.at == len(self.lines):
                self.lines, self.words[DONE] = None, 1
                return
            self.runs[-1].append(self.lines[self.at])
            self.at += 1

    # What pymodbus asks of whoever keeps the registers.

    async def async_getValues(self, _device, function, address, count=1):
        table = self.coils if function in (1, 5) else self.words if function in (3, 6, 16) else None
        if table is None:
            return ExcCodes.ILLEGAL_FUNCTION
        if address + count > len(table):
            return ExcCodes.ILLEGAL_ADDRESS
        return table[address : address + count]

    async def async_setValues(self, _device, function, address, values):
        if function not in (5, 6, 16):
            return ExcCodes.ILLEGAL_FUNCTION
        table, first = (self.coils, 0) if function == 5 else (self.words, NUMBER)
        if address < first or address + len(values) > len(table):
            return ExcCodes.ILLEGAL_ADDRESS
        table[address : address + len(values)] = [bool(value) for value in values] if function == 5 else values
        self.block_writes += function != 5 and address <= BLOCK < address + len(values)
        return None

    def device_ids(self):
        return [self.unit]

    def report(self):
        return {"runs": self.runs, "starts": self.starts, "blocks": self.blocks, "aborted": self.aborted}


kind, settings = sys.argv[1], settings_of(sys.argv[2:])
serve(Controller(settings), kind, settings)
