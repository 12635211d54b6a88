//! The geometry of G2 and G3: centre, sweep, true extent.
//!
//! ```
//! use gcode_tools::{arc::{Arc, Tolerance}, modal::Plane};
//! // G3 from X10 Y0 about X0 Y0 to X-10 Y0: half a turn, whose highest point is no end of it.
//! let (from, to) = ([10.0, 0.0, 0.0], [-10.0, 0.0, 0.0]);
//! let (arc, fault) = Arc::about(Plane::Xy, from, to, [0.0, 0.0], false, 1.0, &Tolerance::GRBL);
//! assert!(fault.is_none() && (arc.length() - 10.0 * std::f64::consts::PI).abs() < 1e-9);
//! let mut highest: f64 = 0.0;
//! arc.extremes(from, |point| highest = highest.max(point[1]));
//! assert!((highest - 10.0).abs() < 1e-9);
//! ```

use crate::modal::Plane;
use std::f64::consts::{FRAC_PI_2, TAU};

/// Angles closer to zero than this are a full circle, in radians. Grbl's `ARC_ANGULAR_TRAVEL_EPSILON`.
const FULL_CIRCLE_RAD: f64 = 5e-7;

/// How much the start's and the end's distance from the centre may differ before a firmware refuses the arc.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Difference that is always refused, in millimetres.
    pub most_mm: f64,
    /// Difference that is refused if it is also above `share`, in millimetres.
    pub mm: f64,
    /// Share of the radius.
    pub share: f64,
}

impl Tolerance {
    /// Grbl 1.1, error 33.
    pub const GRBL: Self = Self { most_mm: 0.5, mm: 0.005, share: 0.001 };
    /// LinuxCNC 2.9 in millimetres: 2·√2 hundredths, and a hundred times that.
    pub const LINUXCNC: Self = Self { most_mm: 2.83, mm: 0.0283, share: 0.001 };
    /// LinuxCNC 2.9 in inches: 2·√2 thousandths of an inch, and a hundred times that.
    pub const LINUXCNC_INCH: Self = Self { most_mm: 7.19, mm: 0.0719, share: 0.001 };

    /// Whether the distances of an arc's two ends from its centre, in millimetres, are too different.
    pub(crate) fn refuses(&self, radius: f64, end_radius: f64) -> bool {
        let difference = (radius - end_radius).abs();
        difference > self.most_mm || (difference > self.mm && difference > radius.max(end_radius) * self.share)
    }
}

/// Rounding of end points by which a half circle's radius may seem too short, in millimetres.
const ROUNDING_MM: f64 = 0.005;

/// Turns of one arc word P. Nobody cuts a thread with more; a larger number is a mistake or an attack.
pub const TURNS_MAX: f64 = 10_000.0;

/// A circular or helical move. Lengths in millimetres, in the coordinates of the points it was made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arc {
    /// The plane it turns in.
    pub plane: Plane,
    /// Centre in the plane's two axes.
    pub center: [f64; 2],
    /// Radius at the start.
    pub radius: f64,
    /// Radius at the end; the same but for rounding.
    pub end_radius: f64,
    /// Angle of the start, seen from the centre, in radians.
    pub start_angle: f64,
    /// Signed angle to the end in radians, counter-clockwise positive, whole turns included.
    pub sweep: f64,
    /// Travel along the plane's normal.
    pub rise: f64,
}

/// Why an arc is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ArcFault {
    /// Neither I, J, K of its plane nor R.
    NoCenter,
    /// Both a centre and R.
    CenterAndRadius,
    /// The centre is the start.
    ZeroRadius,
    /// Start and end are not equally far from the centre: the two radii.
    RadiusMismatch(f64, f64),
    /// R is shorter than half the way: R and the distance.
    RadiusTooSmall(f64, f64),
    /// R, but start and end are the same point.
    RadiusWithoutWay,
}

/// The indices of a plane's two axes and of its normal, in the order that makes counter-clockwise positive.
pub fn axes(plane: Plane) -> (usize, usize, usize) {
    match plane {
        Plane::Xy => (0, 1, 2),
        Plane::Zx => (2, 0, 1),
        Plane::Yz => (1, 2, 0),
    }
}

impl Arc {
    /// An arc from start to end about a centre given in the plane's axes. `turns` is P: 1 is the plain arc.
    ///
    /// A mismatch of the radii beyond the tolerance is a fault, returned beside the arc that best fits.
    pub fn about(
        plane: Plane,
        from: [f64; 3],
        to: [f64; 3],
        center: [f64; 2],
        clockwise: bool,
        turns: f64,
        tolerance: &Tolerance,
    ) -> (Self, Option<ArcFault>) {
        let (a, b, c) = axes(plane);
        let (sa, sb) = (from[a] - center[0], from[b] - center[1]);
        let (ea, eb) = (to[a] - center[0], to[b] - center[1]);
        let (radius, end_radius) = (sa.hypot(sb), ea.hypot(eb));
        let mut sweep = (sa * eb - sb * ea).atan2(sa * ea + sb * eb);
        if clockwise {
            if sweep >= -FULL_CIRCLE_RAD {
                sweep -= TAU;
            }
        } else if sweep <= FULL_CIRCLE_RAD {
            sweep += TAU;
        }
        let extra = (turns.clamp(1.0, TURNS_MAX).floor() - 1.0) * TAU;
        sweep += if clockwise { -extra } else { extra };
        let arc = Self { plane, center, radius, end_radius, start_angle: sb.atan2(sa), sweep, rise: to[c] - from[c] };
        let fault = if radius == 0.0 {
            Some(ArcFault::ZeroRadius)
        } else {
            tolerance.refuses(radius, end_radius).then_some(ArcFault::RadiusMismatch(radius, end_radius))
        };
        (arc, fault)
    }

    /// The centre of the arc from start to end with radius R: the minor arc if R is positive, the major if negative.
    pub fn center_of_radius(
        plane: Plane,
        from: [f64; 3],
        to: [f64; 3],
        radius: f64,
        clockwise: bool,
    ) -> Result<[f64; 2], ArcFault> {
        let (a, b, _) = axes(plane);
        let (da, db) = (to[a] - from[a], to[b] - from[b]);
        let way = da.hypot(db);
        if way == 0.0 {
            return Err(ArcFault::RadiusWithoutWay);
        }
        let square = radius * radius - way * way / 4.0;
        // Rounding of the end point may make a half circle's radius seem too short by a hair.
        if square < 0.0 && radius.abs() + ROUNDING_MM < way / 2.0 {
            return Err(ArcFault::RadiusTooSmall(radius, way));
        }
        let height = square.max(0.0).sqrt();
        let side = if clockwise == (radius > 0.0) { -height } else { height };
        Ok([from[a] + da / 2.0 - db / way * side, from[b] + db / 2.0 + da / way * side])
    }

    /// Length of the path in the plane.
    pub fn plane_length(&self) -> f64 {
        self.sweep.abs() * (self.radius + self.end_radius) / 2.0
    }

    /// Length of the path.
    pub fn length(&self) -> f64 {
        self.plane_length().hypot(self.rise)
    }

    /// The point at a share from 0 to 1 of the way, starting from `from`.
    pub fn point(&self, from: [f64; 3], share: f64) -> [f64; 3] {
        self.at(from, share, self.start_angle + self.sweep * share)
    }

    /// Calls `found` with each point where the arc reaches furthest along an axis between its ends.
    pub fn extremes(&self, from: [f64; 3], mut found: impl FnMut([f64; 3])) {
        if self.sweep.abs() >= TAU {
            for quarter in 0..4 {
                found(self.at_angle(from, f64::from(quarter) * FRAC_PI_2));
            }
            return;
        }
        let (low, high) = if self.sweep < 0.0 {
            (self.start_angle + self.sweep, self.start_angle)
        } else {
            (self.start_angle, self.start_angle + self.sweep)
        };
        let mut quarter = (low / FRAC_PI_2).ceil();
        while quarter * FRAC_PI_2 <= high {
            found(self.at_angle(from, quarter * FRAC_PI_2));
            quarter += 1.0;
        }
    }

    /// The point at an absolute angle, as high as that share of the sweep has risen.
    fn at_angle(&self, from: [f64; 3], angle: f64) -> [f64; 3] {
        let share = if self.sweep == 0.0 { 0.0 } else { ((angle - self.start_angle) / self.sweep).clamp(0.0, 1.0) };
        self.at(from, share, angle)
    }

    /// The point at an angle, at a share of the way: so far has the arc risen, and its radius changed.
    fn at(&self, from: [f64; 3], share: f64, angle: f64) -> [f64; 3] {
        let (a, b, c) = axes(self.plane);
        let (sin, cos) = angle.sin_cos();
        let radius = self.radius + (self.end_radius - self.radius) * share;
        let mut point = from;
        point[a] = self.center[0] + radius * cos;
        point[b] = self.center[1] + radius * sin;
        point[c] = from[c] + self.rise * share;
        point
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn extent(arc: &Arc, from: [f64; 3], to: [f64; 3]) -> ([f64; 3], [f64; 3]) {
        let mut low = from;
        let mut high = from;
        let mut add = |point: [f64; 3]| {
            for axis in 0..3 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        };
        add(to);
        arc.extremes(from, add);
        (low, high)
    }

    #[test]
    fn a_bulge_reaches_beyond_the_ends() {
        let (from, to) = ([190.0, 90.0, 0.0], [190.0, 110.0, 0.0]);
        let (arc, fault) = Arc::about(Plane::Xy, from, to, [190.0, 100.0], false, 1.0, &Tolerance::GRBL);
        assert_eq!(fault, None);
        let (low, high) = extent(&arc, from, to);
        assert!((high[0] - 200.0).abs() < 1e-9 && (low[0] - 190.0).abs() < 1e-9);
        assert!((arc.length() - 10.0 * std::f64::consts::PI).abs() < 1e-9);
    }

    #[test]
    fn a_negative_radius_takes_the_long_way() {
        let (from, to) = ([10.0, 120.0, 0.0], [10.0, 100.0, 0.0]);
        let center = Arc::center_of_radius(Plane::Xy, from, to, -15.0, false).unwrap();
        let (arc, fault) = Arc::about(Plane::Xy, from, to, center, false, 1.0, &Tolerance::GRBL);
        assert_eq!(fault, None);
        assert!((extent(&arc, from, to).0[0] - -16.180).abs() < 0.001, "{arc:?}");
    }

    #[test]
    fn start_on_end_is_a_full_circle_and_turns_add_up() {
        let from = [5.0, 0.0, 0.0];
        let (arc, _) = Arc::about(Plane::Xy, from, from, [0.0, 0.0], true, 3.0, &Tolerance::GRBL);
        assert!((arc.length() - 3.0 * TAU * 5.0).abs() < 1e-9);
        assert_eq!(extent(&arc, from, from).0[0], -5.0);
    }

    #[test]
    fn the_zx_plane_turns_from_z_to_x() {
        let (from, to) = ([0.0, 0.0, 10.0], [10.0, 0.0, 0.0]);
        let (arc, _) = Arc::about(Plane::Zx, from, to, [0.0, 0.0], false, 1.0, &Tolerance::GRBL);
        assert!((arc.sweep - FRAC_PI_2).abs() < 1e-12);
        let middle = arc.point(from, 0.5);
        assert!((middle[0] - middle[2]).abs() < 1e-9 && middle[0] > 7.0);
    }

    #[test]
    fn what_is_no_arc_is_a_fault() {
        let fault = |to, center| Arc::about(Plane::Xy, [0.0; 3], to, center, true, 1.0, &Tolerance::GRBL).1;
        assert!(matches!(fault([10.0, 0.0, 0.0], [4.0, 1.0]), Some(ArcFault::RadiusMismatch(..))));
        assert_eq!(fault([10.0, 0.0, 0.0], [0.0, 0.0]), Some(ArcFault::ZeroRadius));
        let radius = |to, r| Arc::center_of_radius(Plane::Xy, [0.0; 3], to, r, true);
        assert!(matches!(radius([20.0, 0.0, 0.0], 2.0), Err(ArcFault::RadiusTooSmall(..))));
        assert_eq!(radius([0.0; 3], 5.0), Err(ArcFault::RadiusWithoutWay));
    }
}
