//! What a mill or a laser works with, and what the S of a program means to it.

use serde::{Deserialize, Serialize};

use super::yes;

/// Spindle of a mill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spindle {
    /// Lowest useful speed in revolutions per minute.
    pub min_rpm: f64,
    /// Highest speed in revolutions per minute. Grbl `$30`.
    pub max_rpm: f64,
    /// Whether it can turn counter-clockwise (M4).
    #[serde(default)]
    pub reversible: bool,
    /// What the S of a program means to it.
    #[serde(default)]
    pub s_means: SMeans,
    /// The S that means full speed, where S is a share of it. Grbl `$30`.
    pub s_max: Option<f64>,
}

/// What the S of a program means to a spindle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SMeans {
    /// Revolutions per minute.
    #[default]
    Rpm,
    /// A share of full speed, which is `s_max`: 1000, 255, 100 or 1.
    Share,
    /// Nothing: a person sets the speed at the spindle.
    ByHand,
}

/// Laser of a laser cutter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Laser {
    /// The S value that means full power. Grbl `$30`.
    pub s_max: f64,
    /// Optical power at full S, in watts.
    pub power_w: Option<f64>,
    /// Whether the firmware's laser mode (Grbl `$32=1`) is on, so that S changes do not stop the machine and
    /// M4 switches the beam off when motion stops. Absent: unknown until the machine is asked.
    pub laser_mode: Option<bool>,
    /// Whether unattended work must use M4 (power follows speed) instead of M3 (beam stays on when motion stops).
    #[serde(default = "yes")]
    pub require_m4: bool,
}
