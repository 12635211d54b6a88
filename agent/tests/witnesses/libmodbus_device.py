"""A device served by libmodbus, the library that mbpoll and most C programs use: a slave that is not ours.

Arguments: `tcp`, or `rtu`. Prints the address, serves until standard input ends. Its holding and input registers hold one
value of each type in each order; every third of its bits is on; the rest of its holding registers and its coils can be
written. Frames, checks and answers are libmodbus's own, called as the shared library of Debian's libmodbus5. (Its
functions for floats in four orders are not used: 3.1.6 swaps the bytes of each register on little-endian computers.)
"""

import ctypes
import os
import socket
import struct
import sys
import threading

from witness import pty_pair

library = ctypes.CDLL("libmodbus.so.5", use_errno=True)
library.modbus_new_tcp.restype = library.modbus_new_rtu.restype = ctypes.c_void_p
library.modbus_new_tcp.argtypes = [ctypes.c_char_p, ctypes.c_int]
library.modbus_new_rtu.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char, ctypes.c_int, ctypes.c_int]
library.modbus_mapping_new.argtypes = [ctypes.c_int] * 4
library.modbus_set_slave.argtypes = [ctypes.c_void_p, ctypes.c_int]
library.modbus_connect.argtypes = [ctypes.c_void_p]
library.modbus_receive.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
library.modbus_set_socket.argtypes = [ctypes.c_void_p, ctypes.c_int]

UNIT = 17
FLOAT = 1234.5625


class Mapping(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("nb_bits", "start_bits", "nb_input_bits", "start_input_bits",
                                                  "nb_input_registers", "start_input_registers", "nb_registers",
                                                  "start_registers")]
    _fields_ += [("bits", ctypes.POINTER(ctypes.c_uint8)), ("input_bits", ctypes.POINTER(ctypes.c_uint8)),
                 ("input_registers", ctypes.POINTER(ctypes.c_uint16)), ("registers", ctypes.POINTER(ctypes.c_uint16))]


library.modbus_mapping_new.restype = ctypes.POINTER(Mapping)
library.modbus_reply.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(Mapping)]


def fill(mapping):
    registers = mapping.contents.registers
    # 0 u16, 1 i16, 2 u32, 4 i32, 6 a text, all high byte and high word first; from 10 on a float in the four orders.
    a, b, c, d = struct.pack(">f", FLOAT)
    orders = ((10, (a, b, c, d)), (12, (c, d, a, b)), (14, (b, a, d, c)), (16, (d, c, b, a)))
    for at, words in ((0, struct.pack(">H", 54321)), (1, struct.pack(">h", -4321)), (2, struct.pack(">I", 3_000_000_001)),
                      (4, struct.pack(">i", -2_000_000_001)), (6, b"PLC 7\0"),
                      *((at, bytes(order)) for at, order in orders)):
        for place in range(0, len(words), 2):
            registers[at + place // 2] = struct.unpack(">H", words[place:place + 2])[0]
    for at in range(20):
        mapping.contents.input_registers[at] = registers[at]
        mapping.contents.bits[at] = mapping.contents.input_bits[at] = at % 3 == 0


def serve(context, mapping):
    frame = ctypes.create_string_buffer(260)
    while True:
        length = library.modbus_receive(context, frame)
        if length > 0:
            library.modbus_reply(context, frame, length, mapping)
        elif length < 0 and ctypes.get_errno() in (9, 104):
            return


def serve_tcp(mapping):
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"modbus-tcp://127.0.0.1:{listener.getsockname()[1]}?unit={UNIT}", flush=True)
    while True:
        connection, _ = listener.accept()
        context = library.modbus_new_tcp(b"127.0.0.1", 0)
        library.modbus_set_socket(context, connection.detach())
        threading.Thread(target=serve, args=(context, mapping), daemon=True).start()


def serve_rtu(mapping):
    here, there = pty_pair()
    context = library.modbus_new_rtu(here.encode(), 115200, b"N", 8, 1)
    library.modbus_set_slave(context, UNIT)
    library.modbus_connect(context)
    print(f"modbus-rtu:{there}?unit={UNIT}&baud=115200", flush=True)
    serve(context, mapping)


mapping = library.modbus_mapping_new(100, 100, 100, 100)
fill(mapping)
threading.Thread(target=serve_tcp if sys.argv[1] == "tcp" else serve_rtu, args=(mapping,), daemon=True).start()
sys.stdin.read()
os._exit(0)
