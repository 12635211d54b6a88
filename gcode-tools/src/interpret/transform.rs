//! Rotation, scaling and diameters: coordinates that are more than shifted.

use super::{Event, State, Unfollowed, Watch};
use crate::arc::{self, Arc, ArcFault, Tolerance};
use crate::modal::Plane;
use crate::statement::Statement;
use crate::time::Firmware;

/// What coordinates go through before they are shifted by the offsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Transform {
    /// G51: factors of X, Y and Z, about the program's zero.
    scale: [f64; 3],
    /// G68: angle in degrees, counter-clockwise, and the point in X and Y that stays where it is.
    turn: f64,
    about: [f64; 2],
    /// G10 L2 R: angle of the selected work coordinates about their own zero, in degrees.
    work_turn: f64,
}

impl Transform {
    const NONE: Self = Self { scale: [1.0; 3], turn: 0.0, about: [0.0; 2], work_turn: 0.0 };

    fn is_none(&self) -> bool {
        self.scale == [1.0; 3] && self.turn == 0.0 && self.work_turn == 0.0
    }

    /// A direction or distance, as the machine goes it.
    fn vector(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let turned = turn([x * self.scale[0], y * self.scale[1]], self.turn + self.work_turn);
        [turned[0], turned[1], z * self.scale[2]]
    }
}

fn turn([x, y]: [f64; 2], degrees: f64) -> [f64; 2] {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [x * cos - y * sin, x * sin + y * cos]
}

fn turn_about([x, y]: [f64; 2], [a, b]: [f64; 2], degrees: f64) -> [f64; 2] {
    let turned = turn([x - a, y - b], degrees);
    [turned[0] + a, turned[1] + b]
}

impl State {
    fn transform_or_none(&self) -> Transform {
        self.transform.as_deref().copied().unwrap_or(Transform::NONE)
    }

    fn set_transform(&mut self, transform: Transform) {
        self.transform = (!transform.is_none()).then(|| Box::new(transform));
    }

    /// The selected work coordinates may be turned.
    pub(super) fn turn_work(&mut self, degrees: f64) {
        if self.transform.is_some() || degrees != 0.0 {
            let transform = Transform { work_turn: degrees, ..self.transform_or_none() };
            self.set_transform(transform);
        }
    }

    /// From the program's coordinates to the machine's.
    fn to_machine(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let transform = self.transform_or_none();
        let scaled = [x * transform.scale[0], y * transform.scale[1]];
        let [x, y] = turn_about(scaled, transform.about, transform.turn);
        let (inner, outer) = self.offsets.inner_and_outer();
        let [x, y] = turn([x + inner[0], y + inner[1]], transform.work_turn);
        [x + outer[0], y + outer[1], z * transform.scale[2] + inner[2] + outer[2]]
    }

    /// The position as the program counts it, where that is more than shifted.
    pub(super) fn program_position_bent(&self) -> [f64; 3] {
        let transform = self.transform_or_none();
        let (inner, outer) = self.offsets.inner_and_outer();
        let [x, y, z] = std::array::from_fn(|axis| self.position[axis] - outer[axis]);
        let [x, y] = turn([x, y], -transform.work_turn);
        let [x, y] = turn_about([x - inner[0], y - inner[1]], transform.about, -transform.turn);
        [x / transform.scale[0], y / transform.scale[1], (z - inner[2]) / transform.scale[2]]
    }

    /// Where a line leads, where coordinates are more than shifted.
    #[cold]
    pub(super) fn target_bent(&self, statement: &Statement) -> [f64; 3] {
        let unit = self.modal.unit_mm();
        let words = [b'X', b'Y', b'Z'].map(|letter| statement.value(letter).map(|value| value * unit));
        let half = |axis: usize, value: f64| if axis == 0 && self.modal.diameter { value / 2.0 } else { value };
        if self.modal.relative {
            let way = std::array::from_fn(|axis| words[axis].map_or(0.0, |value| half(axis, value)));
            let way = self.transform_or_none().vector(way);
            return std::array::from_fn(|axis| self.position[axis] + way[axis]);
        }
        let mut to = self.program_position();
        if statement.has_any(b"@^") {
            let mut machine = self.position;
            self.polar(statement, &mut machine);
            return machine;
        }
        for axis in 0..3 {
            if let Some(value) = words[axis] {
                to[axis] = half(axis, value);
            }
        }
        let to = self.to_machine(to);
        // An axis that stays where it is keeps its last digit, as far as nothing turns it.
        if self.transform.is_some() {
            return to;
        }
        std::array::from_fn(|axis| if words[axis].is_some() { to[axis] } else { self.position[axis] })
    }

    /// An arc where coordinates are more than shifted: its centre goes through the same.
    pub(super) fn arc_bent(
        &self,
        statement: &Statement,
        to: [f64; 3],
        transform: &Transform,
        (clockwise, turns, tolerance): (bool, f64, &Tolerance),
    ) -> Result<(Arc, Option<ArcFault>), ArcFault> {
        let plane = self.modal.plane;
        let (a, b, _) = arc::axes(plane);
        let unit = self.modal.unit_mm();
        let clockwise = clockwise != (transform.scale[a] * transform.scale[b] < 0.0);
        if let Some(radius) = statement.value(b'R') {
            let radius = radius * unit * transform.scale[a].abs().max(transform.scale[b].abs());
            let center = Arc::center_of_radius(plane, self.position, to, radius, clockwise)?;
            return Ok(Arc::about(plane, self.position, to, center, clockwise, turns, tolerance));
        }
        let offsets = [b'I', b'J', b'K'].map(|letter| statement.value(letter).map(|value| value * unit));
        if offsets[a].is_none() && offsets[b].is_none() {
            return Err(ArcFault::NoCenter);
        }
        let words = offsets.map(|offset| offset.unwrap_or(0.0));
        let center = if self.modal.arc_absolute {
            self.to_machine(words)
        } else {
            let way = transform.vector(words);
            std::array::from_fn(|axis| self.position[axis] + way[axis])
        };
        Ok(Arc::about(plane, self.position, to, [center[a], center[b]], clockwise, turns, tolerance))
    }

    /// G50 and G51 of grblHAL, G68 and G69 of RepRapFirmware; elsewhere they are not followed. Says whether it used the
    /// line's axis words.
    pub(super) fn bend<W: Watch>(&mut self, line: u64, tenths: u32, statement: &Statement, watch: &mut W) -> bool {
        let mut transform = self.transform_or_none();
        match (tenths, self.firmware) {
            (500, _) => transform.scale = [1.0; 3],
            (690, _) => transform.turn = 0.0,
            (510, Some(Firmware::GrblHal)) => {
                let factor =
                    |letter: u8, before: f64| statement.value(letter).filter(|it| *it != 0.0).unwrap_or(before);
                let before = transform.scale;
                transform.scale = [factor(b'X', before[0]), factor(b'Y', before[1]), factor(b'Z', before[2])];
            }
            (680, Some(Firmware::RepRapFirmware)) if self.modal.plane == Plane::Xy => {
                let unit = self.modal.unit_mm();
                let word = |one: u8, other: u8| statement.value(one).or(statement.value(other));
                let here = self.program_position();
                let place = |word: Option<f64>, axis: usize| word.map_or(here[axis], |value| value * unit);
                transform.about = [place(word(b'X', b'A'), 0), place(word(b'Y', b'B'), 1)];
                transform.turn = statement.value(b'R').unwrap_or(0.0);
            }
            _ => {
                watch.event(Event::NotFollowed(Unfollowed::Code(b'G', tenths)), line, self);
                return true;
            }
        }
        self.set_transform(transform);
        true
    }
}
