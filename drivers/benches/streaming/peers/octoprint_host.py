"""OctoPrint's MachineCom without its web server, as a host of the bench. Arguments: dialect, port, program."""

import logging
import sys
import tempfile
import threading

try:
    import octoprint.plugin
    from octoprint.events import eventManager
    from octoprint.printer.profile import PrinterProfileManager
    from octoprint.settings import settings
    from octoprint.util import comm
except ImportError as error:
    print(f"missing: OctoPrint ({error})", flush=True)
    sys.exit(1)

_, dialect, port, program = sys.argv
logging.disable(logging.CRITICAL)
settings(init=True, basedir=tempfile.mkdtemp())
octoprint.plugin.plugin_manager(init=True, plugin_folders=[], plugin_entry_points=[])
eventManager()

operational, over = threading.Event(), threading.Event()


class Callback(comm.MachineComPrintCallback):
    def on_comm_state_change(self, state):
        if state == comm.MachineCom.STATE_OPERATIONAL:
            operational.set()

    def on_comm_print_job_done(self, suppress_script=False):
        over.set()


machine = comm.MachineCom(
    port=port, baudrate=115200, callbackObject=Callback(), printerProfileManager=PrinterProfileManager()
)
machine.start()
operational.wait()
machine.selectFile(program, False)
print("ready", flush=True)
sys.stdin.readline()
machine.startPrint()
over.wait()
print("done", flush=True)
sys.stdin.readline()
