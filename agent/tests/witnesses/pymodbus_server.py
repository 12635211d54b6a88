"""Serves a machine of a witness with pymodbus: its frames, its checks and its answers, some of which do not come, come twice
or come late. The machine has `unit`, `scan`, `report` and what pymodbus asks of whoever keeps the registers.
"""

import asyncio
import json
import logging
import os
import sys

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from witness import Faults, pty_pair

SCAN_S = 0.001


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


async def life(machine, kind, faults):
    nothing = SimDevice(machine.unit, simdata=[SimData(0, values=0, datatype=DataType.REGISTERS)])
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
        print(f"modbus-tcp://127.0.0.1:{port}?unit={machine.unit}", flush=True)
    else:
        print(f"modbus-rtu:{there}?unit={machine.unit}&baud=115200", flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        machine.scan()
        await asyncio.sleep(SCAN_S)
    print(json.dumps({**machine.report(), "faults": faults.count}), flush=True)
    os._exit(0)


def serve(machine, kind, settings):
    # A connection that the agent has left is no error here, and pymodbus tells each frame it ever saw.
    logging.disable(logging.CRITICAL)
    asyncio.run(life(machine, kind, Faults(settings)))
