"""Printrun's printcore, as a host of the bench. Arguments: dialect, port, program."""

import sys
import time

try:
    from printrun import gcoder, printcore
except ImportError as error:
    print(f"missing: Printrun ({error})", flush=True)
    sys.exit(1)

_, dialect, port, program = sys.argv
core = printcore.printcore()
core.loud = False
core.connect(port, 115200)
while not core.online:
    time.sleep(0.05)
with open(program, encoding="ascii") as file:
    lines = gcoder.LightGCode([line.strip() for line in file])
print("ready", flush=True)
sys.stdin.readline()
core.startprint(lines)
while core.printing:
    time.sleep(0.01)
print("done", flush=True)
sys.stdin.readline()
