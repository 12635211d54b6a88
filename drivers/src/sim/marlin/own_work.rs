//! What a simulated printer does that its host did not start: a print from its card, moves from its own menu.

use super::{Marlin, Waiting};
use crate::moment::Moment;
use crate::sim::motion::length_mm;
use crate::sim::printer::Counting;
use crate::sim::{Incident, Simulated as _};

/// Moves of a print from the card, and of what somebody does at the display.
const CARD_MOVES: u32 = 60;
const MENU_MOVES: u32 = 30;

/// Feed of those moves, in mm/min: each takes about a second.
const FEED_MM_MIN: f64 = 1200.0;

/// Length of each, in millimetres.
const STEP_MM: f64 = 20.0;

/// Bytes of a move in the file.
const MOVE_BYTES: u64 = 24;

/// Something of its own that a printer does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OwnWork {
    moves_left: u32,
    moves: u32,
    /// It comes from the card.
    card: bool,
    /// It was paused at the display.
    paused: bool,
    /// It homes, and answers nothing meanwhile.
    pub(super) homes: bool,
}

impl OwnWork {
    /// Whether there is something left of it.
    pub(super) fn is_on(self) -> bool {
        self.moves_left > 0 && !self.paused
    }
}

impl Marlin {
    /// A file from its card is chosen and printed.
    pub(super) fn print_from_card(&mut self, now: Moment) {
        self.own_work = OwnWork { moves_left: CARD_MOVES, moves: CARD_MOVES, card: true, ..OwnWork::default() };
        let size = u64::from(CARD_MOVES) * MOVE_BYTES;
        let words = match self.flavour.counting {
            Counting::Ignore => format!("File opened:cube.gcode Size:{size}\nFile selected\n"),
            _ => format!("echo:Now fresh file: CUBE.GCO\nFile opened: CUBE.GCO Size: {size}\nFile selected\n"),
        };
        self.out.extend_from_slice(words.as_bytes());
        self.advance(now);
    }

    /// Somebody pauses, resumes or ends at the display what it prints. True: its host is told of it.
    pub(super) fn acts_there(&mut self, incident: Incident) -> bool {
        match incident {
            Incident::Paused => self.own_work.paused = self.own_work.card,
            Incident::Cancelled => self.own_work = OwnWork::default(),
            _ => self.own_work.paused = false,
        }
        self.setup.host_actions
    }

    /// Somebody moves it.
    pub(super) fn moved_there(&mut self, now: Moment) {
        self.own_work = OwnWork { moves_left: MENU_MOVES, moves: MENU_MOVES, ..OwnWork::default() };
        self.advance(now);
    }

    /// Somebody homes it: a long way, in which it answers nothing but that it is busy.
    pub(super) fn homed_there(&mut self, now: Moment) {
        self.own_work.homes = true;
        let from = self.motion.planned();
        let far = [from[0] + 300.0, from[1], from[2]];
        self.motion.plan(now, far, length_mm(from, far, None), FEED_MM_MIN);
        self.busy_at = now + super::KEEPALIVE;
    }

    /// Plans what has room.
    pub(super) fn work_on(&mut self) {
        if self.own_work.homes && self.motion.is_idle() {
            self.own_work.homes = false;
        }
        while self.own_work.moves_left > 0 && !self.own_work.paused && self.motion.used() < 2 {
            let from = self.motion.planned();
            let step = if self.own_work.moves_left % 2 == 0 { STEP_MM } else { -STEP_MM };
            let to = [from[0] + step, from[1] + 0.5, from[2]];
            self.motion.plan(self.now, to, length_mm(from, to, None), FEED_MM_MIN);
            self.own_work.moves_left -= 1;
            if self.own_work.moves_left == 0 && std::mem::take(&mut self.own_work.card) {
                self.out.extend_from_slice(b"Done printing file\n");
            }
        }
    }

    /// The answer to M27.
    pub(super) fn say_card(&mut self) {
        let OwnWork { moves_left, moves, card, paused, .. } = self.own_work;
        let size = u64::from(moves) * MOVE_BYTES;
        let done = size - u64::from(moves_left) * MOVE_BYTES;
        let answer = match () {
            // `report_status` (`cardreader.cpp`) says of a print that is paused what it says of none.
            () if card && !paused => format!("SD printing byte {done}/{size}\n"),
            () if self.flavour.counting == Counting::Ignore => "Not SD printing.\n".to_owned(),
            () => "Not SD printing\n".to_owned(),
        };
        self.out.extend_from_slice(answer.as_bytes());
    }

    /// Whether its host still starts, and what it answers then. True: it was answered.
    pub(super) fn answers_starting(&mut self, command: &[u8]) -> bool {
        let starts = self.flavour.counting == Counting::Ignore && self.now.0 as f64 / 1e6 < self.setup.starts_s;
        if !starts || command.starts_with(b"M115") {
            return false;
        }
        let why = "// Printer is not ready\n// The klippy host software is attempting to connect.  Please\n// retry in a few \
                   moments.\n";
        let answer = match command {
            b"M105" => "ok T:0\n".to_owned(),
            b"" | b"M110" | b"M112" => "ok\n".to_owned(),
            b"STATUS" => format!("{why}// Klipper state: Not ready\n!! Printer is not ready\nok\n"),
            _ => format!("{why}!! Printer is not ready\nok\n"),
        };
        self.out.extend_from_slice(answer.as_bytes());
        true
    }

    /// It keeps whoever asks waiting.
    pub(super) fn keeps_waiting(&self) -> bool {
        self.own_work.homes && self.waiting == Waiting::Nothing
    }
}
