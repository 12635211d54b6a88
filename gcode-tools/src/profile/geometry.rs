//! Places in and around a machine: its bed, where it must not go, where it homes, parks and probes.

use serde::{Deserialize, Serialize};

/// Where a print may be, in machine coordinates and millimetres: a rectangle or a circle, and heights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bed {
    /// The printable rectangle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rectangle_mm: Option<Rectangle>,
    /// The printable circle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circle_mm: Option<Circle>,
    /// Lowest height at which plastic is laid. Travel may reach lower, for homing and probing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_min_mm: Option<f64>,
    /// Highest height at which plastic is laid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_max_mm: Option<f64>,
}

impl Bed {
    /// How far a point lies beyond the printable area, in millimetres; zero within it.
    #[inline]
    pub fn beyond_mm(&self, [x, y]: [f64; 2]) -> f64 {
        let rectangle = self.rectangle_mm.map_or(0.0, |area| {
            let beyond = |at: f64, axis: usize| (area.min[axis] - at).max(at - area.max[axis]).max(0.0);
            beyond(x, 0).max(beyond(y, 1))
        });
        let circle =
            self.circle_mm.map_or(0.0, |area| ((x - area.center[0]).hypot(y - area.center[1]) - area.radius).max(0.0));
        rectangle.max(circle)
    }
}

/// A rectangle in X and Y, in millimetres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rectangle {
    /// Lowest X and Y.
    pub min: [f64; 2],
    /// Highest X and Y.
    pub max: [f64; 2],
}

impl Rectangle {
    /// Whether a straight way touches the rectangle's inside.
    pub fn is_crossed(&self, from: [f64; 2], to: [f64; 2]) -> bool {
        // The part of the way that lies between both pairs of sides (Liang and Barsky).
        let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
        for axis in 0..2 {
            let way = to[axis] - from[axis];
            if way == 0.0 {
                if from[axis] <= self.min[axis] || from[axis] >= self.max[axis] {
                    return false;
                }
                continue;
            }
            let (a, b) = ((self.min[axis] - from[axis]) / way, (self.max[axis] - from[axis]) / way);
            enters = enters.max(a.min(b));
            leaves = leaves.min(a.max(b));
        }
        enters < leaves
    }
}

/// A circle in X and Y, in millimetres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circle {
    /// Its middle. Deltas have their zero there.
    #[serde(default)]
    pub center: [f64; 2],
    /// Its radius.
    pub radius: f64,
}

/// A place that the tool must not enter, in machine coordinates and millimetres.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepOut {
    /// What is there: `tool dock`, `clip`.
    pub name: String,
    /// Its lowest X and Y.
    pub min_mm: [f64; 2],
    /// Its highest X and Y.
    pub max_mm: [f64; 2],
    /// It reaches up to this height; above it the tool may pass. Absent: it may not pass at any height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below_z_mm: Option<f64>,
}

impl KeepOut {
    /// Its area.
    pub fn area(&self) -> Rectangle {
        Rectangle { min: self.min_mm, max: self.max_mm }
    }
}

/// Which end of an axis a machine homes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeEnd {
    /// Its lowest coordinate.
    Min,
    /// Its highest coordinate.
    Max,
    /// In between: deltas, and heights that a probe finds.
    Center,
    /// It does not home.
    None,
}

/// Where a machine homes, and how far its coordinates can be relied on. Absent is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Home {
    /// The ends that X, Y and Z home to. Grbl `$23`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<[HomeEnd; 3]>,
    /// Whether it has switches (or finds its ends without any). Without them its zero is where it was switched on, and
    /// nothing can be said about where a program would take it. Grbl `$22`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switches: Option<bool>,
    /// Whether its firmware refuses to leave its travel by itself. Grbl `$20`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_limits: Option<bool>,
    /// Where it stands behind homing, X Y Z in machine coordinates and millimetres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_mm: Option<[f64; 3]>,
}

/// Places that programs and people go to, X Y Z in machine coordinates and millimetres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Places {
    /// Where the tool is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub park_mm: Option<[f64; 3]>,
    /// Where tools are changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_change_mm: Option<[f64; 3]>,
}

/// A probe on the tool head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Where it touches, seen from the tool's tip, X Y Z in millimetres.
    pub offset_mm: [f64; 3],
}

/// Room that parts need where they are printed one by one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clearance {
    /// Nothing may stand within this distance of the nozzle that is higher than the part being printed, in millimetres.
    pub radius_mm: f64,
    /// Height of what moves across finished parts above the nozzle's tip, in millimetres.
    pub height_mm: f64,
}

/// An axis that turns the work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotary {
    /// The letter that programs turn it with: `A`, or `Y` where it is plugged in instead of that axis.
    pub axis: char,
    /// What one turn is in the program's numbers: 360 for degrees, the circumference where it replaces an axis.
    pub per_turn: f64,
    /// Largest diameter it takes, in millimetres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diameter_max_mm: Option<f64>,
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_way_through_a_rectangle_is_told_from_one_beside_it() {
        let area = Rectangle { min: [10.0, 10.0], max: [20.0, 20.0] };
        assert!(area.is_crossed([0.0, 0.0], [30.0, 30.0]));
        assert!(area.is_crossed([15.0, 15.0], [15.0, 15.0]), "standing in it");
        assert!(area.is_crossed([15.0, 0.0], [15.0, 12.0]));
        assert!(!area.is_crossed([0.0, 15.0], [10.0, 15.0]), "up to its edge");
        assert!(!area.is_crossed([0.0, 25.0], [30.0, 25.0]));
        assert!(!area.is_crossed([0.0, 12.0], [9.0, 30.0]), "past its corner");
    }

    #[test]
    fn a_round_bed_has_no_corners() {
        let bed = Bed { circle_mm: Some(Circle { center: [0.0; 2], radius: 130.0 }), ..Bed::default() };
        assert!(bed.beyond_mm([128.0, 128.0]) > 50.0 && bed.beyond_mm([128.0, 0.0]) == 0.0);
    }
}
