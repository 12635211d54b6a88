//! How long a program takes: trapezoids with look-ahead, cornering as the firmware does it.
//!
//! Three models: Marlin's classic jerk (also PrusaSlicer's and Cura's estimators), junction deviation (Grbl, newer
//! Marlin), and Klipper's square corner velocity with minimum cruise ratio. Written from descriptions of how the
//! firmware behaves, and measured against Grbl's own planner and the slicers' own figures.

//! ```
//! use gcode_tools::time::{Firmware, Kind, Limits, Piece, Planner};
//! // A desktop mill: 500 mm/s². 100 mm at 50 mm/s take two seconds, and a tenth for getting fast and slow again.
//! let mut planner = Planner::new(Limits::assumed(Firmware::Grbl));
//! let delta = [100.0, 0.0, 0.0, 0.0];
//! planner.push(&Piece { delta, speed_mm_s: 50.0, kind: Kind::Work, line: 1, tag: 0 });
//! planner.stop();
//! assert!((planner.seconds() - 2.1).abs() < 1e-9);
//! ```

mod klipper;
mod limits;
mod planner;

pub(crate) use limits::PRINTER_DEFAULT_MM_S;
pub use limits::{Firmware, Limits};
pub use planner::Planner;

/// What kind of move a block is: printers have an acceleration for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Extruding, or cutting.
    Work,
    /// Moving without work.
    Travel,
    /// Only the extruder moves.
    Retract,
}

/// One straight piece of a path, as the planner takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Way along X, Y, Z and E in millimetres.
    pub delta: [f64; 4],
    /// Commanded speed along the path in mm/s; infinite for a rapid.
    pub speed_mm_s: f64,
    /// What kind of move it is.
    pub kind: Kind,
    /// The line it comes from.
    pub line: u64,
    /// What its time is booked under, below [`TAGS_MAX`].
    pub tag: usize,
}

/// Number of tags that time can be booked under.
pub const TAGS_MAX: usize = 64;

/// Points of a time line at most. Enough for a progress bar of any width, few enough to keep with every job.
pub const TIME_LINE_MAX: usize = 2048;

/// Seconds since the start by line number, thinned out to a bounded number of points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TimeLine {
    points: Vec<(u64, f64)>,
    stride: u64,
    last: u64,
}

impl TimeLine {
    /// Notes that a line is done at a time. Lines come in order.
    #[inline]
    pub fn note(&mut self, line: u64, seconds: f64) {
        if line >= self.last + self.stride {
            self.note_point(line, seconds);
        }
    }

    #[cold]
    fn note_point(&mut self, line: u64, seconds: f64) {
        if self.points.len() >= TIME_LINE_MAX {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = (self.stride * 2).max(2);
        }
        self.points.push((line, seconds));
        self.last = line;
    }

    /// Adds the very end.
    pub fn finish(&mut self, line: u64, seconds: f64) {
        if self.points.last().is_some_and(|(last, _)| *last == line) {
            self.points.pop();
        }
        self.points.push((line, seconds));
    }

    /// The points as (line, seconds), rising.
    pub fn points(&self) -> &[(u64, f64)] {
        &self.points
    }

    /// Seconds from the start to the end of a line, by interpolation.
    pub fn seconds_at(&self, line: u64) -> f64 {
        let after = self.points.partition_point(|(at, _)| *at < line);
        let (low, low_s) = if after == 0 { (0, 0.0) } else { self.points[after - 1] };
        match self.points.get(after) {
            Some((high, high_s)) if *high > low => {
                low_s + (high_s - low_s) * (line.saturating_sub(low)) as f64 / (high - low) as f64
            }
            Some((_, high_s)) => *high_s,
            None => low_s,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_time_line_stays_bounded_and_keeps_its_ends() {
        let mut line = TimeLine::default();
        for number in 1..=1_000_000_u64 {
            line.note(number, number as f64 / 10.0);
        }
        line.finish(1_000_000, 100_000.0);
        assert!(line.points().len() <= TIME_LINE_MAX + 1);
        assert!((line.seconds_at(500_000) - 50_000.0).abs() < 1.0);
        assert_eq!(line.seconds_at(1_000_000), 100_000.0);
        assert_eq!(line.seconds_at(0), 0.0);
    }
}
