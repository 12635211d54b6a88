//! Moving by hand: home, jog, probe. Every motion is bounded, and a jog lasts only while somebody holds its button.
//!
//! ```text
//!            first request of a press              let go, or not heard of for HELD_FOR
//!  standing ──────────────────────────► jogging ──────────────────────────────────────► ending ─► standing
//!                                        ▲   │                                            (the machine reports
//!                                        └───┘ asked for again                             that it stands)
//! ```
//!
//! A machine with a word that ends a jog (Grbl's 0x85) is given parts of [`PART`], the next one before the last is over,
//! and that word. It ignores the word while the jog still waits to be read, so the word is said again with every report
//! that it moves. A machine without one gets steps of [`STEP`], one after the other. So a machine whose cable is pulled,
//! or whose agent is killed, has no more than that.

use std::time::Duration;

use gcode_tools::block::Block;
use gcode_tools::words::{self, Effect, Firmwares};
use serde::{Deserialize, Serialize};

use super::{ASIDES_MAX, Session};
use crate::dialect::{Calm, Condition, Lift, MotionEnd, Spelling, Word};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::interlock;
use crate::notice::Notice;
use crate::request::{Answer, Denied, Jog, Probe};
use crate::snapshot::{Probed, Quality, Reading};

/// Longest jog in one request, in millimetres: a person watches, and a lost "stop" costs at most this.
const JOG_MAX_MM: f64 = 100.0;

/// Furthest that one press of a button moves a machine that was not homed, in millimetres: where it stands is not known, so
/// that its envelope bounds nothing.
const JOG_NOT_HOMED_MM: f64 = 20.0;

/// How long a jog lasts without being asked for again. A page asks ten times a second.
pub(super) const HELD_FOR: Duration = Duration::from_millis(300);

/// Length of the steps of a held jog on a machine that has no word to end one.
const STEP: Duration = Duration::from_millis(200);

/// Length of the parts of a held jog on a machine that has such a word, and what must be left of them when another is said:
/// as long as a repeat, a report and slowing down take.
const PART: Duration = Duration::from_millis(600);
const PART_LEFT: Duration = Duration::from_millis(400);

/// Between questions while something is moved by hand.
pub(super) const JOGGING_EVERY: Duration = Duration::from_millis(50);

/// How long a machine may take to stand once its jog was let go. Slow axes take a second to slow down.
const STAND_PATIENCE: Duration = Duration::from_secs(3);

/// Furthest probing move, in millimetres, and its fastest feed in mm/min: what a probe's spring and wire survive.
const PROBE_MAX_MM: f64 = 50.0;
const PROBE_FEED_MAX_MM_MIN: f64 = 500.0;

/// What is moved by hand, and what is known of where that can lead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ByHand {
    jog: Option<Jogging>,
    /// The last press that was let go: what still arrives of it moves nothing.
    released: Option<u64>,
    /// Whether it was homed since its position was last lost.
    pub(super) homed: bool,
    /// The machine refused something of what is moved now.
    #[serde(default)]
    refused: bool,
    /// A probing move is under way; if it fails, the machine is left in relative coordinates.
    pub(super) probing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Jogging {
    press: Option<u64>,
    /// Let go, and not known to stand yet.
    ending: bool,
    /// A move was said and is not known to be over.
    under_way: bool,
    /// How far this press was told to move so far, in millimetres.
    #[serde(default)]
    told_mm: f64,
    /// In so many parts.
    #[serde(default)]
    parts: u32,
    /// Where it stood before, as far as that was reported.
    #[serde(default)]
    from: Option<[f64; 3]>,
}

impl Session {
    pub(super) fn home(&mut self) -> Answer {
        self.must_be_free()?;
        self.may_be_moved()?;
        self.say_motion(&Word::Home, Aside::Home)?;
        self.by_hand.homed = false;
        Ok(())
    }

    pub(super) fn jog(&mut self, jog: Jog) -> Answer {
        self.must_be_free()?;
        if jog.press.is_some() && jog.press == self.by_hand.released {
            return Err(Denied::Released);
        }
        match self.by_hand.jog {
            None => self.may_be_moved()?,
            Some(Jogging { ending: true, .. }) => return Err(Denied::Stopping),
            Some(jogging) if jogging.press.is_none() || jogging.press != jog.press => return Err(Denied::Moving),
            Some(_) => {}
        }
        let before = self.by_hand.jog;
        let mut jogging = before.unwrap_or(Jogging {
            press: jog.press,
            ending: false,
            under_way: false,
            told_mm: 0.0,
            parts: 0,
            from: self.known.position_mm.map(|position| position.value),
        });
        let ahead_mm = if jogging.under_way { self.wants_a_part(jog, &jogging) } else { Some(0.0) };
        if let Some(ahead_mm) = ahead_mm {
            match self.step_of(jog, jogging.told_mm, ahead_mm) {
                Ok(step) => {
                    self.say_motion(&Word::Jog(step), Aside::Jog)?;
                    jogging.told_mm += length(step.by_mm);
                    jogging.parts += 1;
                }
                Err(denied) if !jogging.under_way => return Err(denied),
                // It comes to the end of what it may at what it was told before.
                Err(_) => {}
            }
        }
        self.by_hand.jog = Some(Jogging { under_way: true, ..jogging });
        self.deadlines.jog = jog.press.map(|_| self.now + HELD_FOR);
        self.deadlines.ask = self.deadlines.ask.map(|at| at.min(self.now + JOGGING_EVERY));
        Ok(())
    }

    /// Whether a held jog that is under way comes to the end of its parts: then what is left of them, in millimetres.
    fn wants_a_part(&self, jog: Jog, jogging: &Jogging) -> Option<f64> {
        let at = self.known.position_mm?.value;
        let from = jogging.from?;
        let moved_mm = length(std::array::from_fn(|axis| at[axis] - from[axis]));
        let ahead_mm = (jogging.told_mm - moved_mm).max(0.0);
        let soon = ahead_mm < jog.feed_mm_min / 60.0 * PART_LEFT.as_secs_f64();
        (soon && self.ends_jogs() && !self.jog_waits()).then_some(ahead_mm)
    }

    /// Whether the machine has a word that ends a jog.
    fn ends_jogs(&self) -> bool {
        matches!(self.dialect.calm(Calm::EndJog), Spelling::Realtime(_))
    }

    /// What of a jog may be said: all of it, or as much as a machine whose cable is pulled may be given at once.
    /// `told_mm`: how far the same press was told to move before; `ahead_mm`: how much of that is not done.
    fn step_of(&mut self, jog: Jog, told_mm: f64, ahead_mm: f64) -> Result<Jog, Denied> {
        let length_mm = length(jog.by_mm);
        let fastest = self.profile.motion.feed_max_mm_min.iter().take(3).copied().fold(0.0, f64::max);
        let bounded = jog.by_mm.iter().all(|by| by.is_finite() && by.abs() <= JOG_MAX_MM)
            && jog.feed_mm_min.is_finite()
            && (1.0..=fastest).contains(&jog.feed_mm_min)
            && length_mm > 0.0;
        if !bounded {
            return Err(Denied::OutOfRange);
        }
        let mut step = jog;
        if jog.press.is_some() {
            let ahead = jog.by_mm.map(|by| by / length_mm * ahead_mm);
            let takes = if self.ends_jogs() { PART } else { STEP };
            let part = (jog.feed_mm_min / 60.0 * takes.as_secs_f64() / length_mm).min(1.0);
            let by_mm = jog.by_mm.map(|by| by * part);
            step.by_mm = self.within_envelope(by_mm, ahead).ok_or(Denied::OutsideEnvelope)?;
            if !self.by_hand.homed {
                step.by_mm = self.within_a_press(step.by_mm, told_mm)?;
            }
        } else if self.within_envelope(jog.by_mm, [0.0; 3]).is_none_or(|within| within != jog.by_mm) {
            return Err(Denied::OutsideEnvelope);
        } else if !self.by_hand.homed && length_mm > JOG_NOT_HOMED_MM {
            step.by_mm = self.within_a_press(jog.by_mm, 0.0)?;
        }
        Ok(step)
    }

    /// A move of a machine that was not homed, cut off at what is left of one press.
    fn within_a_press(&mut self, by_mm: [f64; 3], told_mm: f64) -> Result<[f64; 3], Denied> {
        if told_mm == 0.0 {
            let text = format!("The machine was not homed: one press or step moves it {JOG_NOT_HOMED_MM} mm at most.");
            self.tell(EventKind::Message { text });
        }
        let left_mm = JOG_NOT_HOMED_MM - told_mm;
        if left_mm < 0.001 {
            return Err(Denied::NotHomed);
        }
        let part = (left_mm / length(by_mm)).min(1.0);
        Ok(by_mm.map(|by| by * part))
    }

    /// A move behind what is still to come, cut off at the envelope where the machine's position is known; nothing if none
    /// of it is left.
    fn within_envelope(&self, by_mm: [f64; 3], ahead_mm: [f64; 3]) -> Option<[f64; 3]> {
        let (Some(envelope), Some(from)) = (self.profile.envelope_mm, self.true_position()) else { return Some(by_mm) };
        let within: [f64; 3] = std::array::from_fn(|axis| {
            let (by, from) = (by_mm[axis], from[axis] + ahead_mm[axis]);
            let room = if by > 0.0 { envelope.max[axis] - from } else { from - envelope.min[axis] };
            by.signum() * by.abs().min(room.max(0.0))
        });
        within.iter().any(|by| by.abs() >= 0.001).then_some(within)
    }

    /// Where the machine stands in its own coordinates, if that can be relied on: homed since, reported lately, in
    /// millimetres.
    fn true_position(&self) -> Option<[f64; 3]> {
        let inches = self.settings.known.iter().any(|(key, value)| key == "$13" && value == "1");
        let position = self.snapshot().position_mm.filter(|position| position.quality == Quality::Good)?;
        (self.by_hand.homed && !inches).then_some(position.value)
    }

    pub(super) fn touch_off(&mut self, probe: Probe) -> Answer {
        self.must_be_free()?;
        interlock::may_probe(self.state_but_for_table(), &self.known, &self.profile)?;
        if self.drive_turns() {
            return Err(Denied::SpindleOn);
        }
        let bounded = probe.down_mm > 0.0
            && probe.down_mm <= PROBE_MAX_MM
            && (1.0..=PROBE_FEED_MAX_MM_MIN).contains(&probe.feed_mm_min);
        if !bounded {
            return Err(Denied::OutOfRange);
        }
        if self.within_envelope([0.0, 0.0, -probe.down_mm], [0.0; 3]).is_none_or(|within| within[2] != -probe.down_mm) {
            return Err(Denied::OutsideEnvelope);
        }
        self.say_motion(&Word::Probe(probe), Aside::Probe)?;
        self.by_hand.probing = true;
        Ok(())
    }

    /// Says a motion a person asked for, so that its last answer shows that it is over where reports do not.
    fn say_motion(&mut self, word: &Word, aside: Aside) -> Answer {
        let habits = self.dialect.habits();
        let Spelling::Lines(mut lines) = self.dialect.word(word) else { return Err(Denied::Unsupported) };
        if let MotionEnd::Commands([wait, ..]) = habits.motion_end {
            let times = if habits.ok_when_taken { 2 } else { 1 };
            lines.extend(std::iter::repeat_n((*wait).to_owned(), times));
        }
        if self.asides.len() + lines.len() > ASIDES_MAX {
            return Err(Denied::Busy);
        }
        self.by_hand.refused = false;
        self.asides.extend(lines.into_iter().map(|line| (aside, line)));
        Ok(())
    }

    /// Whether something that is moved by hand is under way.
    pub(super) fn moves_by_hand(&self) -> bool {
        self.by_hand.jog.is_some() || self.window.has(Aside::Home) || self.window.has(Aside::Probe)
    }

    fn jog_waits(&self) -> bool {
        self.is_asked(Aside::Jog)
    }

    /// The button was let go.
    pub(super) fn jog_stop(&mut self, press: Option<u64>) -> Answer {
        self.must_be_connected()?;
        if press.is_some() {
            self.by_hand.released = press;
        }
        self.end_jog();
        Ok(())
    }

    /// A deadline of a jog is over: it was not asked for again, or it does not come to its end.
    pub(super) fn jog_due(&mut self) {
        let Some(jogging) = self.by_hand.jog else { return };
        if !jogging.ending {
            return self.end_jog();
        }
        let notice = Notice::new(
            "jog.not_stopped",
            "The jog was let go, and the machine does not report that it stands.",
            "It is told again and again to stand.",
            "Stop it: with STOP, or with its own switch.",
        );
        self.tell_trouble(notice);
    }

    fn end_jog(&mut self) {
        let unsaid = !self.window.has(Aside::Jog) && self.jog_waits();
        let in_parts = self.ends_jogs();
        let Some(jogging) = &mut self.by_hand.jog else { return };
        if std::mem::replace(&mut jogging.ending, true) {
            return;
        }
        let (step, under_way) = (jogging.press.is_none(), jogging.under_way);
        self.by_hand.released = jogging.press.or(self.by_hand.released);
        let first = jogging.parts <= 1 || !in_parts;
        if unsaid {
            // Nothing of it was said yet, or not the last part.
            self.asides.retain(|(aside, _)| *aside != Aside::Jog);
            if first {
                return self.jog_over();
            }
        }
        if !under_way {
            return self.jog_over();
        }
        self.deadlines.jog = Some(self.now + STAND_PATIENCE);
        match self.dialect.calm(Calm::EndJog) {
            Spelling::Realtime(bytes) => {
                self.say_urgently(&bytes, false);
                self.deadlines.ask = Some(self.now);
            }
            // The steps of a held jog are over before this would be.
            Spelling::Lines(lines) if step && self.hears_out_of_turn() => {
                self.by_hand.homed = false;
                for line in lines.into_iter().rev() {
                    self.asides.push_front((Aside::Word, line));
                }
            }
            Spelling::Lines(_) | Spelling::None => {}
        }
    }

    /// Whether the machine acts on some words the moment they arrive, whatever it is busy with.
    pub(super) fn hears_out_of_turn(&self) -> bool {
        let listed = |identity: &crate::snapshot::Identity| {
            identity.capabilities.iter().any(|capability| capability == "EMERGENCY_PARSER")
        };
        // One that has not said yet who it is is taken for the one that was here before.
        let identity = self.known.identity.as_ref().or(self.first_identity.as_ref());
        self.profile.safety.emergency_parser.unwrap_or_else(|| identity.is_some_and(listed))
    }

    /// The machine reports its condition while it is jogged.
    pub(super) fn jog_reported(&mut self, condition: Option<Condition>) {
        let Some(jogging) = self.by_hand.jog else { return };
        let by_report = self.dialect.habits().motion_end == MotionEnd::IdleReport;
        match condition {
            Some(Condition::Run | Condition::Holding) if jogging.ending => {
                // What it was told before it had read the jog, it has ignored.
                if let Spelling::Realtime(bytes) = self.dialect.calm(Calm::EndJog) {
                    self.say_urgently(&bytes, false);
                }
            }
            Some(Condition::Idle | Condition::Door | Condition::Held) if by_report && !self.jog_waits() => {
                self.jog_stands();
            }
            _ => {}
        }
    }

    /// A part of a motion by hand was answered, or refused.
    pub(super) fn hand_answered(&mut self, aside: Aside, refused: bool) {
        let more = self.is_asked(aside);
        self.by_hand.refused |= refused;
        match aside {
            Aside::Home if !more => {
                self.by_hand.homed = !std::mem::take(&mut self.by_hand.refused);
                // Homing ends the lock, and may move the zero.
                self.settings.locked &= !self.by_hand.homed;
                self.settings.place_stale = true;
            }
            Aside::Jog if refused => {
                // What still arrives of this press would be refused as well.
                let press = self.by_hand.jog.and_then(|jogging| jogging.press);
                self.by_hand.released = press.or(self.by_hand.released);
                self.jog_over();
            }
            Aside::Jog if !more && self.dialect.habits().motion_end != MotionEnd::IdleReport => self.jog_stands(),
            Aside::Probe if !more => self.by_hand.probing = false,
            _ => {}
        }
    }

    fn jog_stands(&mut self) {
        let Some(jogging) = &mut self.by_hand.jog else { return };
        jogging.under_way = false;
        if jogging.ending || jogging.press.is_none() {
            self.jog_over();
        }
    }

    fn jog_over(&mut self) {
        self.by_hand.jog = None;
        self.deadlines.jog = None;
    }

    /// Nothing is moved by hand any more, and where the machine stands is not certain.
    pub(super) fn position_lost(&mut self) {
        self.jog_over();
        self.by_hand.homed = false;
    }

    /// A probing move ended.
    pub(super) fn hear_probed(&mut self, probed: Probed) {
        let unit = self.report_unit_mm();
        let probed = Probed { position_mm: probed.position_mm.map(|value| value * unit), ..probed };
        self.known.probe = Some(Reading::fresh(probed, self.now));
        self.known.generation += 1;
        self.tell(EventKind::Probed { position_mm: probed.position_mm, touched: probed.touched });
    }

    /// After an alarm was cleared: a probing move that ended in it has left the machine in relative coordinates.
    pub(super) fn after_unlock(&mut self) {
        if !std::mem::take(&mut self.by_hand.probing) {
            return;
        }
        if let Spelling::Lines(lines) = self.dialect.word(&Word::Absolute) {
            self.asides.extend(lines.into_iter().map(|line| (Aside::Word, line)));
        }
    }

    /// Lines that lift the tool at the end of a job that was ended early; none where that might not be safe: it was
    /// not homed, where it stands is not certain, or there is no room above.
    pub(super) fn lift(&self) -> Vec<String> {
        let (Some(lift_mm), Some(envelope)) = (self.profile.safety.lift_mm, self.profile.envelope_mm) else {
            return Vec::new();
        };
        let (Some(position), Some(reading)) = (self.true_position(), self.known.position_mm) else { return Vec::new() };
        let feed_mm_min = self.profile.motion.feed_max_mm_min[2];
        // It may have gone up since it said so, and no faster than this.
        let since_mm = match self.dialect.habits().motion_end {
            MotionEnd::IdleReport | MotionEnd::Started(_) => 0.0,
            MotionEnd::Commands(_) => feed_mm_min / 60.0 * self.now.since(reading.at).as_secs_f64(),
        };
        let by_mm = lift_mm.min(envelope.max[2] - position[2] - since_mm);
        if by_mm < LIFT_MIN_MM {
            return Vec::new();
        }
        match self.dialect.word(&Word::Lift(Lift { by_mm, to_mm: position[2] + by_mm, feed_mm_min })) {
            Spelling::Lines(lines) => lines,
            Spelling::Realtime(_) | Spelling::None => Vec::new(),
        }
    }

    /// A line of a job was answered that homes, or that lets the axes go.
    pub(super) fn job_homed(&mut self, homed: bool) {
        self.by_hand.homed = homed;
    }

    /// Whether the oldest line without an answer is one of the program that makes a mill home.
    pub(super) fn program_homes(&self) -> bool {
        let Some(Frame::Job(ordinal)) = self.window.oldest() else { return false };
        let due = self.run.as_ref().and_then(|run| run.history.command(ordinal));
        let homes = |text: &[u8]| words::effect_of_system(text) == Effect::Homes;
        !self.dialect.habits().printer && due.is_some_and(|command| homes(&command.text))
    }

    /// Whether the oldest line without an answer may take as long as homing takes, in silence.
    pub(super) fn works_by_hand(&self) -> bool {
        matches!(self.window.oldest(), Some(Frame::Aside(Aside::Home | Aside::Probe)))
    }
}

fn length(by_mm: [f64; 3]) -> f64 {
    by_mm.iter().map(|by| by * by).sum::<f64>().sqrt()
}

/// A lift below this is none.
const LIFT_MIN_MM: f64 = 0.1;

/// Whether a line of a job homes every axis (`Some(true)`), lets the axes go (`Some(false)`), or neither.
pub(super) fn homing_word(text: &[u8], printer: bool) -> Option<bool> {
    if !printer {
        return (text == b"$H" && words::effect_of_system(text) == Effect::Homes).then_some(true);
    }
    // Most lines of any job are plain moves: look closer only at those that can be such a word.
    if !matches!(text, [b'G', b'2', ..] | [b'M', b'1' | b'8', ..]) {
        return None;
    }
    let block = Block::new(text);
    let (letter, tenths) = block.codes().next()?;
    match words::effect_of_any(Firmwares::PRINTERS, u8::try_from(letter).ok()?, tenths) {
        Effect::Homes if (letter, tenths) == HOME => {
            (!block.words().any(|word| matches!(word.letter, b'X' | b'Y' | b'Z'))).then_some(true)
        }
        Effect::Releases => Some(false),
        _ => None,
    }
}

/// The one code that homes, where others level and clean: G28, in tenths.
const HOME: (char, u32) = ('G', 280);

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_a_line_that_homes_every_axis_makes_the_position_known() {
        for (text, printer, homed) in [
            (&b"G28"[..], true, Some(true)),
            (b"G28W", true, Some(true)),
            (b"G28X", true, None),
            (b"G280", true, None),
            (b"G28.1", true, None),
            (b"M84", true, Some(false)),
            (b"M18", true, Some(false)),
            (b"M840", true, None),
            (b"$H", false, Some(true)),
            (b"G28", false, None),
        ] {
            assert_eq!(homing_word(text, printer), homed, "{}", text.escape_ascii());
        }
    }
}
