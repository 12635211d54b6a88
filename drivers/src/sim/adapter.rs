//! What stands between a machine and the wire: an adapter that sends everything back, and flow control in the text.

use super::{Incident, Report, Setup, Simulated};
use crate::moment::Moment;

/// Bytes between two of the flow control's own.
const FLOW_EVERY: usize = 3;

/// Start and stop, as Marlin's serial interrupt puts them between any two bytes (`MarlinSerial.cpp`, `SERIAL_XON_XOFF`).
const FLOW: [u8; 2] = [0x11, 0x13];

struct Adapter {
    machine: Box<dyn Simulated>,
    echoes: bool,
    flow_bytes: bool,
    /// What it was sent of a line that has no end yet, and the lines that it sends back.
    line: Vec<u8>,
    back: Vec<u8>,
    said: usize,
}

/// The machine behind its adapter, where that does anything.
pub(super) fn between(machine: Box<dyn Simulated>, setup: &Setup) -> Box<dyn Simulated> {
    let (echoes, flow_bytes) = (setup.echoes, setup.flow_bytes);
    if !echoes && !flow_bytes {
        return machine;
    }
    Box::new(Adapter { machine, echoes, flow_bytes, line: Vec::new(), back: Vec::new(), said: 0 })
}

impl Simulated for Adapter {
    fn hear(&mut self, now: Moment, bytes: &[u8]) {
        if self.echoes {
            // Line by line, as terminal servers and modems do.
            self.line.extend_from_slice(bytes);
            let whole = self.line.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            self.back.extend(self.line.drain(..whole));
        }
        self.machine.hear(now, bytes);
    }

    fn advance(&mut self, now: Moment) {
        self.machine.advance(now);
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        let from = out.len();
        out.append(&mut self.back);
        self.machine.say(out);
        if !self.flow_bytes {
            return;
        }
        let said = out.split_off(from);
        for byte in said {
            out.push(byte);
            self.said += 1;
            if self.said % FLOW_EVERY == 0 {
                out.push(FLOW[self.said / FLOW_EVERY % 2]);
            }
        }
    }

    fn wakes_at(&self) -> Option<Moment> {
        self.machine.wakes_at()
    }

    fn reset(&mut self, now: Moment) {
        self.machine.reset(now);
    }

    fn happen(&mut self, now: Moment, incident: Incident) {
        self.machine.happen(now, incident);
    }

    fn completed(&self) -> u64 {
        self.machine.completed()
    }

    fn report(&self) -> Report {
        self.machine.report()
    }
}
