//! What a profile says that cannot be true.

use super::variant::is_short_name;
use super::{Kind, Problem, Profile, SMeans, Step};

/// Keep-outs of one machine: each move is held against all of them.
const KEEP_OUTS_MAX: usize = 32;

/// Highest baud rate, planner size and line length that any firmware has, each with room.
const PLANNER_BLOCKS_MAX: u32 = 1024;

/// Shortest longest line: a move with four axes and a feed.
const LINE_BYTES_MIN: usize = 40;

/// Problems of one profile while they are found.
#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn wrong(&mut self, place: &[&'static str], message: impl Into<String>) {
        self.0.push(Problem::at(place.iter().map(|key| Step::Key(key)), message));
    }

    fn wrong_item(&mut self, list: &'static str, at: usize, message: impl Into<String>) {
        self.0.push(Problem::at([Step::Key(list), Step::Item(at)], message));
    }
}

impl Profile {
    /// Every statement of this profile that cannot be true, one sentence each.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found::default();
        if !is_short_name(&self.name) {
            found.wrong(&["name"], format!("name `{}` must be lower-case letters, digits and hyphens", self.name));
        }
        self.place_problems(&mut found);
        self.motion_problems(&mut found);
        self.heat_problems(&mut found);
        self.tool_problems(&mut found);
        match (self.kind, &self.heat, &self.spindle, &self.laser) {
            (Kind::Printer, None, _, _) => found.wrong(&["kind"], "a printer needs a [heat] section"),
            (Kind::Mill, _, None, _) => found.wrong(&["kind"], "a mill needs a [spindle] section"),
            (Kind::Laser, _, _, None) => found.wrong(&["kind"], "a laser needs a [laser] section"),
            _ => {}
        }
        let mut problems = found.0;
        self.register_problems(&mut problems);
        problems
    }

    /// The envelope, the bed, and the places in them.
    fn place_problems(&self, found: &mut Found) {
        if let Some(envelope) = self.envelope_mm {
            for (axis, (low, high)) in ["X", "Y", "Z"].iter().zip(envelope.min.iter().zip(envelope.max)) {
                if !(low.is_finite() && high.is_finite() && *low < high) {
                    found.wrong(
                        &["envelope_mm"],
                        format!("envelope_mm: {axis} runs from {low} to {high}, which is no distance"),
                    );
                }
            }
            if envelope.radius.is_some_and(|radius| !is_length(radius)) {
                found.wrong(&["envelope_mm", "radius"], "envelope_mm.radius must be above 0");
            }
        }
        if let Some(bed) = self.bed {
            if bed.rectangle_mm.is_some_and(|area| !is_area(area.min, area.max)) {
                found.wrong(&["bed", "rectangle_mm"], "bed.rectangle_mm: min must be below max in X and in Y");
            }
            if bed.circle_mm.is_some_and(|circle| !is_length(circle.radius)) {
                found.wrong(&["bed", "circle_mm"], "bed.circle_mm.radius must be above 0");
            }
            if bed.z_min_mm.zip(bed.z_max_mm).is_some_and(|(low, high)| low >= high) {
                found.wrong(&["bed", "z_min_mm"], "bed.z_min_mm must be below bed.z_max_mm");
            }
        }
        if self.keep_out.len() > KEEP_OUTS_MAX {
            found.wrong(&["keep_out"], format!("keep_out: at most {KEEP_OUTS_MAX} places"));
        }
        for (at, place) in self.keep_out.iter().enumerate() {
            if !is_area(place.min_mm, place.max_mm) {
                let why = format!("keep_out `{}`: min_mm must be below max_mm in X and in Y", place.name);
                found.wrong_item("keep_out", at, why);
            }
        }
        let places = [("park_mm", self.places.park_mm), ("tool_change_mm", self.places.tool_change_mm)];
        for (key, place) in places {
            let Some(envelope) = self.envelope_mm else { break };
            let outside =
                |place: [f64; 3]| (0..3).any(|axis| !(envelope.min[axis]..=envelope.max[axis]).contains(&place[axis]));
            if place.is_some_and(outside) {
                found.wrong(&["places", key], format!("places.{key} is outside of envelope_mm"));
            }
        }
        if self.clearance.is_some_and(|room| !is_length(room.radius_mm) || !is_length(room.height_mm)) {
            found.wrong(&["clearance"], "clearance: radius_mm and height_mm must be above 0");
        }
        if let Some(rotary) = &self.rotary {
            if !rotary.axis.is_ascii_uppercase() || !is_length(rotary.per_turn) {
                found.wrong(&["rotary"], "rotary: axis must be a capital letter, per_turn above 0");
            }
        }
    }

    fn motion_problems(&self, found: &mut Found) {
        for (field, values) in
            [("feed_max_mm_min", self.motion.feed_max_mm_min), ("acceleration_mm_s2", self.motion.acceleration_mm_s2)]
        {
            if values.iter().any(|value| !is_length(*value)) {
                found.wrong(&["motion", field], format!("motion.{field}: every value must be above 0"));
            }
        }
        if self.motion.planner_blocks == 0 || self.motion.planner_blocks > PLANNER_BLOCKS_MAX {
            let why = format!("motion.planner_blocks must be from 1 to {PLANNER_BLOCKS_MAX}");
            found.wrong(&["motion", "planner_blocks"], why);
        }
        if self.stream.line_bytes_max.is_some_and(|bytes| bytes < LINE_BYTES_MIN) {
            let why = format!("stream.line_bytes_max: no firmware takes less than {LINE_BYTES_MIN}");
            found.wrong(&["stream", "line_bytes_max"], why);
        }
        if self.safety.lift_mm.is_some_and(|lift| !(lift > 0.0 && lift <= 100.0)) {
            found.wrong(&["safety", "lift_mm"], "safety.lift_mm must be above 0 and at most 100");
        }
    }

    /// What can be set lies below where the firmware shuts down.
    fn heat_problems(&self, found: &mut Found) {
        let Some(heat) = &self.heat else { return };
        let pairs = [
            ("tool_trip_c", Some(heat.tool_max_c), heat.tool_trip_c),
            ("bed_trip_c", heat.bed_max_c, heat.bed_trip_c),
            ("chamber_trip_c", heat.chamber_max_c, heat.chamber_trip_c),
        ];
        for (key, settable, trip) in pairs {
            if settable.zip(trip).is_some_and(|(settable, trip)| settable > trip) {
                let why = format!("heat.{key} is below what can be set: the firmware would shut down there");
                found.wrong(&["heat", key], why);
            }
        }
    }

    fn tool_problems(&self, found: &mut Found) {
        for (at, tool) in self.tools.iter().enumerate() {
            if self.tools[..at].iter().any(|earlier| earlier.number == tool.number) {
                found.wrong_item("tools", at, format!("tools: there are two of number {}", tool.number));
            }
        }
        if let Some(spindle) = &self.spindle {
            if !(spindle.min_rpm >= 0.0 && spindle.max_rpm >= spindle.min_rpm && spindle.max_rpm.is_finite()) {
                found.wrong(&["spindle"], "spindle: min_rpm must be 0 or more, max_rpm not below it");
            }
            if spindle.s_means == SMeans::Share && spindle.s_max.is_none() {
                found.wrong(&["spindle", "s_means"], "spindle.s_means = \"share\" needs s_max, the S of full speed");
            }
            if spindle.s_max.is_some_and(|most| !is_length(most)) {
                found.wrong(&["spindle", "s_max"], "spindle.s_max must be above 0");
            }
        }
        if self.laser.as_ref().is_some_and(|laser| !is_length(laser.s_max)) {
            found.wrong(&["laser", "s_max"], "laser.s_max must be above 0");
        }
    }

    /// What cannot be true of its registers and of the devices beside it.
    fn register_problems(&self, problems: &mut Vec<Problem>) {
        if let Some(modbus) = &self.modbus {
            let under = |problem: Problem| problem.under([Step::Key("modbus")]).of("modbus");
            problems.extend(modbus.problems().into_iter().map(under));
            if modbus.program.is_some() && !self.safety.safe_end.is_empty() {
                let why = "safety.safe_end: a machine that runs program files takes no single lines";
                problems.push(Problem::at([Step::Key("safety"), Step::Key("safe_end")], why));
            }
        }
        for (at, auxiliary) in self.auxiliary.iter().enumerate() {
            let place = [Step::Key("auxiliary"), Step::Item(at)];
            problems.extend(auxiliary.problems().into_iter().map(|problem| problem.under(place)));
            if auxiliary.is_spindle && self.auxiliary[..at].iter().any(|earlier| earlier.is_spindle) {
                let why = format!("auxiliary `{}`: another one is the spindle already", auxiliary.name);
                problems.push(Problem::at(place, why));
            }
            if auxiliary.is_spindle && self.spindle.is_none() {
                let why = format!("auxiliary `{}`: this machine has no [spindle] that it could be", auxiliary.name);
                problems.push(Problem::at(place, why));
            }
            if self.auxiliary[..at].iter().any(|earlier| earlier.name == auxiliary.name) {
                problems
                    .push(Problem::at(place, format!("auxiliary `{}`: there are two of this name", auxiliary.name)));
            }
        }
    }
}

fn is_length(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn is_area(min: [f64; 2], max: [f64; 2]) -> bool {
    (0..2).all(|axis| min[axis].is_finite() && max[axis].is_finite() && min[axis] < max[axis])
}
