"""OctoPrint's virtual printer on a pseudo-terminal: a witness that is not ours.

Prints the terminal's path on the first line of standard output, serves until standard input ends, then prints one
JSON object: the commands it executed, in order, and how many seconds ago its last fault began. Arguments: settings as
name=JSON, such as resend_ratio=5, and faults={"500": ["go_awol"]}: its own debug commands, each given when it has
executed so many commands.
"""

import json
import os
import sys
import threading
import time
import tty

import octoprint.plugins.virtual_printer as plugin
from octoprint.plugins.virtual_printer import virtual


class Settings:
    """The part of OctoPrint's settings that the virtual printer reads."""

    def __init__(self, overrides):
        defaults = plugin.VirtualPrinterPlugin.get_settings_defaults(None)
        self.values = {**defaults, **overrides}

    def get(self, path, merged=False, **_):
        value = self.values
        for name in path:
            value = value[name]
        return value

    def get_int(self, path, **_):
        return int(self.get(path))

    def get_float(self, path, **_):
        return float(self.get(path))

    def get_boolean(self, path, **_):
        return bool(self.get(path))

    def global_get_basefolder(self, _name, **_):
        return "/nonexistent"


class Profiles:
    """A printer with one nozzle and a usual bed."""

    def get_current_or_default(self):
        return {
            "axes": {},
            "extruder": {"count": 1, "sharedNozzle": False},
            "heatedBed": True,
            "volume": {"formFactor": "rectangular", "width": 300, "depth": 300, "height": 300},
        }


class Hooks:
    """No other plugins."""

    def get_hooks(self, _name):
        return {}


class Witness(virtual.VirtualPrinter):
    """The virtual printer, which also notes what it executes."""

    executed = None
    faults = {}
    fault_at = None

    def note(self, data):
        if self.executed is None:
            self.executed = []
        self.executed.append(data.strip())
        for fault in self.faults.pop(str(len(self.executed)), []):
            self.fault_at = time.monotonic()
            self._debugTrigger(fault)
        return False

    def _gcode_G(self, _code, data):
        return self.note(data)

    def _gcode_M(self, _code, data):
        return self.note(data)

    def _gcode_T(self, code, data):
        self.note(data)
        return super()._gcode_T(code, data)


def main():
    overrides = {"throttle": 0.0, "enable_eeprom": False, "sendWait": False, "simulated_errors": []}
    for argument in sys.argv[1:]:
        name, value = argument.split("=", 1)
        overrides[name] = json.loads(value)
    virtual.plugin_manager = Hooks
    Witness.faults = overrides.pop("faults", {})
    # It holds its lock while a write waits for room, and needs the same lock to ask for a line again: a long wait
    # there would be a deadlock of its own, so writes give up soon and are tried again.
    printer = Witness(Settings(overrides), Profiles(), "/nonexistent", read_timeout=0.2, write_timeout=0.02)
    host_end, machine_end = os.openpty()
    tty.setraw(machine_end)
    print(os.ttyname(machine_end), flush=True)

    def hear():
        # The virtual printer looks at one line each time something is written to it, as OctoPrint writes.
        waiting = b""
        while True:
            waiting += os.read(host_end, 1024)
            *lines, waiting = waiting.split(b"\n")
            for line in lines:
                data = line + b"\n"
                while data:
                    try:
                        data = data[printer.write(data):]
                    except virtual.SerialTimeoutException:
                        # It is heating and its buffer is full: the line waits, as on a wire with flow control.
                        continue

    def say():
        while True:
            if printer._debug_drop_connection:
                os.close(host_end)
                return
            line = printer.readline()
            if line:
                os.write(host_end, line.rstrip(b"\r\n") + b"\n")

    for work in (hear, say):
        threading.Thread(target=work, daemon=True).start()
    sys.stdin.read()
    since = None if printer.fault_at is None else time.monotonic() - printer.fault_at
    print(json.dumps({"executed": printer.executed or [], "fault_s": since}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
