"""A machine with a mailbox, written from docs/modbus.md alone, served by pymodbus: a witness that is not ours.

Arguments: `tcp` or `rtu`, then settings: lost=, doubled=, late= (probabilities of what becomes of an answer), late_ms=,
seed=, read_write=0 to understand no function 23. Prints the address on the first line of standard output, serves until
standard input ends, then prints one JSON object: the lines it took, in order, and what became of its answers.
"""

import asyncio
import json
import logging
import os
import random
import sys
import threading
import tty

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

SLOTS, SLOT_TEXT, WATCHDOG_MS = 30, 30, 2000
MACHINE, HOST, FIRST_SLOT = 0, 32, 40
PLANNER_LINES, LINES_A_SCAN, SCAN_S = 16, 8, 0.001


def newer(number, known):
    return 0 < (number - known) & 0xFFFF < 0x8000


class Machine:
    """The registers, and a scan that runs by itself."""

    def __init__(self, read_write):
        self.words = [0] * (FIRST_SLOT + SLOTS * (SLOT_TEXT + 2))
        self.words[0:6] = [0x4642, 1, 1 if read_write else 0, SLOTS, SLOT_TEXT, WATCHDOG_MS]
        self.words[10] = 1
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
        return [1]


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


def handler(faults):
    class Handler(ServerRequestHandler):
        """Sends answers, some of them not, twice or late."""

        def send(self, data, addr=None):
            faults.count["answers"] += 1
            if faults.happens("lost"):
                return
            super_send = super().send
            copies = 2 if faults.happens("doubled") else 1
            for _ in range(copies):
                if faults.happens("late"):
                    self.loop.call_later(faults.random.random() * faults.late_s, super_send, data, addr)
                else:
                    super_send(data, addr)

    return Handler


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


async def main():
    kind, settings = sys.argv[1], dict(setting.split("=") for setting in sys.argv[2:])
    machine = Machine(settings.get("read_write", "1") == "1")
    faults = Faults(settings)
    nothing = SimDevice(1, simdata=[SimData(0, values=0, datatype=DataType.REGISTERS)])
    if kind == "tcp":
        server = ModbusTcpServer(nothing, address=("127.0.0.1", 0))
    else:
        here, there = pty_pair()
        server = ModbusSerialServer(nothing, framer=FramerType.RTU, port=here, baudrate=115200)
    server.context = machine
    connection = handler(faults)
    server.callback_new_connection = lambda: connection(server, None, None, None)
    await server.serve_forever(background=True)
    if kind == "tcp":
        port = server.transport.sockets[0].getsockname()[1]
        print(f"modbus-tcp://127.0.0.1:{port}?unit=1", flush=True)
    else:
        print(f"modbus-rtu:{there}?unit=1&baud=115200", flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        machine.scan()
        await asyncio.sleep(SCAN_S)
    print(json.dumps({"taken": machine.taken, "commands": machine.commands, "faults": faults.count}), flush=True)
    os._exit(0)


# A connection that the agent has left is no error here, and pymodbus tells each frame it ever saw.
logging.disable(logging.CRITICAL)
asyncio.run(main())
