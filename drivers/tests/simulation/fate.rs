//! What goes wrong in a run, and what people do meanwhile: all drawn from its seed.

use std::time::Duration;

use drivers::sim::{Faults, Incident, Random};

/// Something that happens to the machine, its cable or its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The board restarts by itself.
    Reset,
    /// The cable is pulled for a while, and put back: perhaps with a reset, as opening a port does.
    CableOut {
        away: Duration,
        resets: bool,
    },
    Pause,
    Cancel,
    /// An emergency stop.
    Stop,
    /// Something happens at the machine itself.
    There(Incident),
    /// Another program says this to the machine.
    Stranger(&'static str),
}

/// What goes wrong in a run.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    /// On the way to the machine, and from it.
    pub(crate) outward: Faults,
    pub(crate) inward: Faults,
    /// In order, each with its time after the start.
    pub(crate) acts: Vec<(Duration, Act)>,
    /// Whether another job follows, whatever became of the first.
    pub(crate) again: bool,
}

impl Fate {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let share = |random: &mut Random| random.below(100) as f64 / 100.0;
        let bytes = |random: &mut Random| {
            let mut rare = |scale: f64| if random.below(2) == 0 { 0.0 } else { scale * share(random) };
            Faults {
                drop: rare(1e-3),
                double: rare(1e-3),
                flip: rare(1e-3),
                delay: rare(1e-3),
                split: rare(3e-4),
                glue: rare(5e-3),
                ..Faults::default()
            }
        };
        // Wires that spoil both directions, one of them, or none, where all that happens is that something is late.
        let (out, back) = match random.below(8) {
            0 => (false, false),
            1 | 2 => (true, false),
            3 => (false, true),
            _ => (true, true),
        };
        let only_late = |faults: Faults| Faults { delay: faults.delay, ..Faults::default() };
        let (outward, inward) = (bytes(random), bytes(random));
        let outward = if out { outward } else { only_late(outward) };
        let mut inward = if back { inward } else { only_late(inward) };
        if back {
            let mut rare = |scale: f64| if random.below(3) == 0 { scale * share(random) } else { 0.0 };
            (inward.line_lost, inward.line_doubled) = (rare(1e-2), rare(1e-2));
        }
        if random.below(8) == 0 {
            inward.line_late = 1e-3 * share(random);
        }
        let mut acts: Vec<_> =
            (0..[0, 0, 0, 0, 1, 1, 2, 3][random.below(8) as usize]).map(|_| Self::act(random)).collect();
        acts.sort_by_key(|(at, _)| *at);
        Self { outward, inward, acts, again: random.below(4) == 0 }
    }

    fn act(random: &mut Random) -> (Duration, Act) {
        let at = Duration::from_millis(random.below(5_000));
        let act = match random.below(8) {
            0 | 1 => Act::Reset,
            2 | 3 => {
                let away = Duration::from_millis(random.below(20_000));
                Act::CableOut { away, resets: random.below(2) == 0 }
            }
            4 | 5 => Act::Pause,
            6 => Act::Cancel,
            _ => Act::Stop,
        };
        (at, act)
    }

    /// Whether nothing is lost, added or changed on the wire.
    pub(crate) fn wire_keeps_all(&self) -> bool {
        self.outward.keep_all() && self.inward.keep_all()
    }

    /// Whether every answer arrives as it was said, and in time.
    pub(crate) fn answers_arrive(&self) -> bool {
        self.inward.keep_all() && self.inward.line_late == 0.0
    }

    /// Whether what the machine hears is what was said.
    pub(crate) fn lines_arrive(&self) -> bool {
        self.outward.keep_all()
    }

    /// Whether what was on its way may be lost in the middle of a line.
    pub(crate) fn cuts_lines(&self) -> bool {
        self.acts.iter().any(|(_, act)| matches!(act, Act::Reset | Act::CableOut { .. }))
    }
}
