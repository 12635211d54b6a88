//! Commands in words of a language, as far as they matter to where the tool is and how hot it is: Klipper's.

use super::{Event, Family, Heating, State, Until, Watch};
use crate::number;
use crate::time::Firmware;
use crate::words::{self, Effect, Heater};

/// The value of a parameter: `NAME=value`, in either case of the name.
fn parameter<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    text.split(u8::is_ascii_whitespace).find_map(|part| {
        let equals = part.iter().position(|byte| *byte == b'=')?;
        part[..equals].eq_ignore_ascii_case(name).then_some(&part[equals + 1..])
    })
}

fn number_of(text: &[u8], name: &[u8]) -> Option<f64> {
    parameter(text, name).and_then(number::parse).filter(|value| value.is_finite())
}

/// The heater that a name of Klipper's configuration stands for, and its tool.
fn heater_of(name: &[u8]) -> Option<(Heater, Option<u32>)> {
    let name = name.to_ascii_lowercase();
    if let Some(number) = name.strip_prefix(b"extruder") {
        let tool = if number.is_empty() { Some(0) } else { std::str::from_utf8(number).ok()?.parse().ok() };
        return Some((Heater::Tool, tool));
    }
    if name == b"heater_bed" {
        return Some((Heater::Bed, None));
    }
    memchr::memmem::find(&name, b"chamber").map(|_| (Heater::Chamber, None))
}

impl State {
    /// Executes a command in words.
    #[cold]
    pub fn command<W: Watch>(&mut self, line: u64, text: &[u8], watch: &mut W) {
        if self.family != Family::Printer {
            return;
        }
        // Without a machine they are Klipper's: no other firmware's are followed.
        let firmware = self.firmware.unwrap_or(Firmware::Klipper);
        let text = text.trim_ascii();
        let name = || parameter(text, b"NAME").unwrap_or(b"default");
        let moves_back = |feed: f64| {
            let moves = number_of(text, b"MOVE").is_some_and(|moves| moves != 0.0);
            moves.then(|| number_of(text, b"MOVE_SPEED").map_or(feed, |speed| speed * 60.0))
        };
        match words::effect_of_command(firmware, text) {
            Effect::Saves => self.save_named(name()),
            Effect::Restores => self.restore_named(line, name(), moves_back(0.0), watch),
            Effect::Offset { .. } => self.shift_all(line, text, moves_back(0.0), watch),
            Effect::Heats { heater: Heater::Named, waits: false } => self.heat_by_name(line, text, watch),
            Effect::WaitsForHeat => self.wait_by_name(line, text, watch),
            Effect::SelectsTool => {
                let tool = parameter(text, b"EXTRUDER").and_then(heater_of).and_then(|(_, tool)| tool);
                if let Some(tool) = tool {
                    self.modal.tool = Some(tool);
                    watch.event(Event::Tool(tool), line, self);
                }
            }
            Effect::NotFollowed => self.tell_of_command(line, watch),
            _ => {}
        }
    }

    /// `SET_GCODE_OFFSET`: absolute, or by `_ADJUST` from what it was. It outlives homing.
    fn shift_all<W: Watch>(&mut self, line: u64, text: &[u8], moves: Option<f64>, watch: &mut W) {
        let names: [(&[u8], &[u8]); 3] = [(b"X", b"X_ADJUST"), (b"Y", b"Y_ADJUST"), (b"Z", b"Z_ADJUST")];
        let mut to = self.position;
        for (axis, (absolute, adjusted)) in names.into_iter().enumerate() {
            let before = self.offsets.local(axis);
            let after = match (number_of(text, absolute), number_of(text, adjusted)) {
                (Some(offset), _) => offset,
                (None, Some(more)) => before + more,
                (None, None) => continue,
            };
            self.offsets.set_local(axis, after);
            to[axis] += after - before;
        }
        if let Some(feed_mm_min) = moves {
            self.go_by_itself(line, to, feed_mm_min, watch);
        }
    }

    fn heat_by_name<W: Watch>(&mut self, line: u64, text: &[u8], watch: &mut W) {
        let all = Some((Heater::Named, None));
        let named = parameter(text, b"HEATER").map_or(all, heater_of);
        let Some((heater, tool)) = named else { return };
        let target_c = if heater == Heater::Named { 0.0 } else { number_of(text, b"TARGET").unwrap_or(0.0) };
        watch.event(Event::Heat(Heating { heater, tool, target_c, until: Until::Now }), line, self);
    }

    /// `TEMPERATURE_WAIT` sets no target; where it has a maximum the nozzle has cooled down behind it.
    fn wait_by_name<W: Watch>(&mut self, line: u64, text: &[u8], watch: &mut W) {
        let Some((Heater::Tool, tool)) = parameter(text, b"SENSOR").and_then(heater_of) else { return };
        if let Some(most) = number_of(text, b"MAXIMUM") {
            watch.event(Event::Cooled { tool, most_c: most }, line, self);
        }
    }
}
