//! Where in the machine a program works: round travel, the bed that plastic needs, places to keep out of, arcs or none.

use super::finding::Place;
use super::motion::OUTSIDE_MM;
use super::{Preflight, Severity};
use crate::interpret::{Family, Move, Path};
use crate::number;
use crate::profile::Envelope;
use crate::time::Firmware;

/// Straight pieces that an arc is looked at in, where its extremes along the axes do not say enough.
const ARC_STEPS: u32 = 64;

/// A print that begins anew at the bed this far below its top is made part by part, in millimetres.
const NEXT_PART_MM: f64 = 1.0;

/// Calls `found` with the straight pieces of a move.
fn pieces(motion: &Move, mut found: impl FnMut([f64; 3], [f64; 3])) {
    let Path::Arc(arc) = &motion.path else { return found(motion.from, motion.to) };
    let mut from = motion.from;
    for step in 1..=ARC_STEPS {
        let to = arc.point(motion.from, f64::from(step) / f64::from(ARC_STEPS));
        found(from, to);
        from = to;
    }
}

/// The point of a move that is furthest from the middle of a round machine, if that is beyond its radius.
pub(super) fn beyond_radius(envelope: &Envelope, motion: &Move) -> Option<[f64; 3]> {
    let radius = envelope.radius?;
    let mut furthest = (motion.to, 0.0_f64);
    pieces(motion, |_, to| {
        let beyond = from_middle(envelope, to) - radius;
        if beyond > furthest.1 {
            furthest = (to, beyond);
        }
    });
    (furthest.1 > OUTSIDE_MM).then_some(furthest.0)
}

fn from_middle(envelope: &Envelope, point: [f64; 3]) -> f64 {
    let middle = |axis: usize| f64::midpoint(envelope.min[axis], envelope.max[axis]);
    (point[0] - middle(0)).hypot(point[1] - middle(1))
}

impl Preflight<'_> {
    /// The travel of the present tool's tip: tools that stand beside each other reach different places.
    pub(super) fn reach_of(&mut self, tool: u32) {
        let offset = self.profile.tools.iter().find(|known| known.number == tool).and_then(|known| known.offset_mm);
        let offset = offset.unwrap_or_default();
        self.reach = self.profile.envelope_mm.map(|travel| Envelope {
            min: std::array::from_fn(|axis| travel.min[axis] + offset[axis]),
            max: std::array::from_fn(|axis| travel.max[axis] + offset[axis]),
            ..travel
        });
    }

    #[cold]
    pub(super) fn outside_radius(&mut self, motion: &Move, point: [f64; 3]) {
        let Some(envelope) = self.reach else { return };
        self.findings.add_at(
            motion.line,
            Place::Letters(b"XY"),
            Severity::Error,
            "envelope.outside",
            format!(
                "X {} Y {} is {} mm from the middle, beyond the machine's radius of {} mm.",
                number::shown(point[0]),
                number::shown(point[1]),
                number::shown(from_middle(&envelope, point)),
                envelope.radius.unwrap_or_default()
            ),
            "Move or scale the work, or choose a larger machine.",
        );
    }

    /// Whether plastic is laid where a bed is under it, and not too low.
    #[inline]
    pub(super) fn check_bed(&mut self, motion: &Move) {
        let moves = motion.to[0] != motion.from[0] || motion.to[1] != motion.from[1];
        if motion.extruded_mm <= 0.0 || !moves {
            return;
        }
        if self.profile.clearance.is_some() {
            self.check_parts(motion);
        }
        let Some(bed) = self.profile.bed else { return };
        let mut beyond = bed.beyond_mm([motion.from[0], motion.from[1]]);
        pieces(motion, |_, to| beyond = beyond.max(bed.beyond_mm([to[0], to[1]])));
        if beyond > OUTSIDE_MM {
            self.beside_bed(motion, beyond);
        }
        let at = motion.to[2];
        let below = bed.z_min_mm.filter(|least| at < least - OUTSIDE_MM).map(|least| ("below", "lowest", least));
        let above = bed.z_max_mm.filter(|most| at > most + OUTSIDE_MM).map(|most| ("above", "highest", most));
        if let Some((side, which, limit)) = below.or(above) {
            self.findings.add_at(
                motion.line,
                Place::Letters(b"ZXY"),
                Severity::Error,
                "bed.height",
                format!(
                    "Plastic is laid at Z {}, {side} the {which} height for printing of {limit} mm.",
                    number::shown(at)
                ),
                "Correct the height of the layer, or slice it for this machine.",
            );
        }
    }

    /// What stands before the first layer primes the nozzle, at the edge of the bed; of a program without marks for its
    /// layers nobody can tell.
    #[cold]
    fn beside_bed(&mut self, motion: &Move, beyond_mm: f64) {
        self.findings.add_at(
            motion.line,
            Place::Letters(b"XY"),
            if self.layers_begun { Severity::Error } else { Severity::Warning },
            "bed.outside",
            format!(
                "Plastic is laid {} mm beyond the printable bed, at X {} Y {}.",
                number::shown(beyond_mm),
                number::shown(motion.to[0]),
                number::shown(motion.to[1])
            ),
            "Move or scale the work, or choose a larger machine.",
        );
    }

    /// A slicer's mark that a layer begins, in a comment without its semicolon.
    pub(super) fn note_layer(&mut self, comment: &[u8]) {
        let text = comment.trim_ascii_start();
        let begins = |mark: &[u8]| text.len() >= mark.len() && text[..mark.len()].eq_ignore_ascii_case(mark);
        // `LAYER_COUNT:` and `Layer height:` stand in headers.
        let numbered = begins(b"LAYER ") && text.get(6).is_some_and(u8::is_ascii_digit);
        self.layers_begun |= numbered
            || [&b"LAYER:"[..], b"LAYER_CHANGE", b"BEFORE_LAYER_CHANGE", b"CHANGE_LAYER"].into_iter().any(begins);
    }

    /// Parts made one by one, under a tool head that is lower than those that are done.
    #[cold]
    fn check_parts(&mut self, motion: &Move) {
        let Some(room) = self.profile.clearance else { return };
        let at = motion.to[2];
        let done = self.part_top_mm;
        if !(at < done - NEXT_PART_MM && at <= NEXT_PART_MM) {
            self.part_top_mm = done.max(at);
            return;
        }
        self.part_top_mm = at;
        if done > room.height_mm {
            self.findings.add_at(
                motion.line,
                Place::Letters(b"XY"),
                Severity::Warning,
                "clearance.height",
                format!(
                    "The next part begins beside one that is {} mm high; what moves above the nozzle has {} mm of room.",
                    number::shown(done),
                    room.height_mm
                ),
                "See that nothing runs into the finished part, or print all parts at once.",
            );
        }
    }

    /// Whether the tool enters a place it must keep out of.
    #[cold]
    pub(super) fn check_keep_out(&mut self, motion: &Move) {
        let profile = self.profile;
        for place in &profile.keep_out {
            let area = place.area();
            let mut entered = false;
            pieces(motion, |from, to| {
                let low = place.below_z_mm.is_none_or(|top| from[2].min(to[2]) < top - OUTSIDE_MM);
                entered |= low && area.is_crossed([from[0], from[1]], [to[0], to[1]]);
            });
            if entered {
                let below = place.below_z_mm.map(|z| format!(" below Z {z}")).unwrap_or_default();
                let ([x, y], [to_x, to_y]) = (place.min_mm, place.max_mm);
                self.findings.add_at(
                    motion.line,
                    Place::Letters(b"XYZ"),
                    Severity::Error,
                    "keep_out.entered",
                    format!(
                        "The tool enters `{}` (X {x} to {to_x}, Y {y} to {to_y}{below}).",
                        super::lines::shown(place.name.as_bytes())
                    ),
                    "Move the work, or lift the tool before it passes.",
                );
            }
        }
    }

    /// An arc, on a firmware that may not have any.
    #[cold]
    pub(super) fn check_arc(&mut self, line: u64) {
        let unknown = self.profile.motion.arcs.is_none() && self.firmware == Firmware::Klipper;
        if self.arcs_told || !(unknown || self.profile.motion.arcs == Some(false)) {
            return;
        }
        self.arcs_told = true;
        let (severity, message) = if unknown {
            (
                Severity::Warning,
                "Klipper has arcs only where its configuration says [gcode_arcs]; without it they are left out.",
            )
        } else {
            (Severity::Error, "This machine's firmware has no arcs (G2, G3).")
        };
        self.findings.add_at(
            line,
            Place::Letters(b"IJRXY"),
            severity,
            "arc.unsupported",
            message.to_owned(),
            "Slice or post-process it without arcs, or say arcs = true in the profile's [motion] if the machine has them.",
        );
    }

    /// Whether the place of the program was checked, and what else is known of the machine.
    pub(super) fn check_place(&mut self) {
        for finding in std::mem::take(&mut self.conditions.findings) {
            self.findings.add(finding.line, finding.severity, finding.code, finding.message, finding.help);
        }
        let unplaced = (self.extent.sized || self.unplaced) && self.family == Family::Cnc && self.moved;
        if !unplaced || self.profile.envelope_mm.is_none() {
            return;
        }
        let known = self.conditions.work_offset_mm.is_some() && !self.conditions.homed;
        let message = if known && self.conditions.asked {
            "Only the program's size was checked: the machine was not homed, so that its own zero is not known."
        } else {
            "Only the program's size was checked, and not its place: the work offset that counts for it is not known here."
        };
        self.findings.add(
            0,
            Severity::Note,
            "place.unchecked",
            message.to_owned(),
            "Its place is checked when it is started on a machine that was homed and says its work offset.",
        );
    }
}
