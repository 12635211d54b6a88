//! Work of the machine's own, or of somebody else's: a print from its card, another host's program, a menu at its
//! display, a check of a program. It is told from what was started here, and no job goes in between.
//!
//! Five things show it: what the machine answers when it is asked whether it prints from its card; a file that its reports
//! name; a report that it moves or checks; positions that change while nothing here moves it; and words for being busy
//! while nothing is due an answer but questions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Session};
use crate::dialect::{Asking, Card, Condition, Status};
use crate::flow::Aside;
use crate::notice::Notice;
use crate::snapshot::JobPhase;

/// Times in a row that the question for a print from the card may have no word in answer, before it is asked no more: the
/// machine has no card, and an answer may be lost.
const CARD_QUESTIONS_MAX: u32 = 3;

/// Positions in a row that must be alike before a machine that moved is asked for the proof that it stands: a slow move is
/// one position for as long as it takes.
const ALIKE_MIN: u32 = 3;

/// Reports in a row that must say that it moves: the last one of something that was started here may be on its way still.
const RUN_REPORTS: u32 = 2;

/// How soon the next position is asked for once one has changed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Positions nearer to each other than this are one: what is reported has two or three decimals.
const ALIKE_MM: f64 = 0.002;

/// What a machine is at that was not started here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// It prints from its card, or its host prints a file for somebody else.
    Prints(Card),
    /// Its reports name a file that it runs.
    Runs(String),
    /// It moves.
    Moves,
    /// It says that it is busy.
    Works,
    /// It checks programs and moves nothing.
    Checks,
}

/// What shows work that was not started here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them can be")]
pub(super) struct OwnWork {
    card: Option<Card>,
    /// Questions for it in a row without a word in answer.
    card_unanswered: u32,
    /// The question for it was answered, if only by `ok`.
    card_asked: bool,
    /// What its last report said that it runs.
    runs: Option<String>,
    /// Reports in a row that it moves, while nothing here moved it.
    reports: u32,
    /// Where it was found last and before that, while nothing here moved it.
    places: [Option<[f64; 3]>; 2],
    alike: u32,
    moves: bool,
    works: bool,
    /// A print of somebody else's ended in the middle, or was paused, and nobody has looked at it yet.
    #[serde(default)]
    paused: bool,
}

impl OwnWork {
    /// A person says that it is free, or something of ours begins. That it prints from its card no word from here ends: it is
    /// asked again, where it can be.
    pub(super) fn looked_at(&mut self) {
        let Self { card_unanswered, card_asked, .. } = *self;
        let asks = self.has_card();
        let card = self.card.take().filter(|card| asks && matches!(card, Card::Printing(_) | Card::Opened(_)));
        *self = Self { card, card_unanswered, card_asked, ..Self::default() };
    }

    /// Whether somebody has to look at a print that was not started here.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// It was paused at its display, or goes on.
    pub(super) fn paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// What it says of its print now, behind what it said last. True: its print ended in the middle, or is paused.
    fn stands_in_the_middle(&self, now: &Card) -> bool {
        match (&self.card, now) {
            (Some(Card::Printing(Some([done, size]))), Card::Rests) => done < size,
            (Some(Card::Printing(None)), Card::Rests) | (_, Card::Paused) => true,
            (_, Card::Rests) => self.paused,
            _ => false,
        }
    }

    /// Whether the question for a print from the card still makes sense.
    fn has_card(&self) -> bool {
        self.card_unanswered < CARD_QUESTIONS_MAX
    }

    /// Notes where it is. True: it changed.
    fn note_place(&mut self, place: [f64; 3]) -> bool {
        let alike = |one: [f64; 3], other: [f64; 3]| one.iter().zip(other).all(|(a, b)| (a - b).abs() < ALIKE_MM);
        let [before, last] = self.places;
        self.places = [last, Some(place)];
        let Some(last) = last else { return false };
        if alike(last, place) {
            self.alike = self.alike.saturating_add(1);
            return false;
        }
        self.alike = 0;
        // One change alone may be a digit that arrived damaged, and the next one its correction.
        self.moves |= before.is_some_and(|before| !alike(before, last) && !alike(before, place));
        true
    }
}

impl Session {
    /// Whether what moves or works was started here.
    fn is_ours(&self) -> bool {
        // A question is no work, even where it has to wait for the one in front of it.
        self.run.is_some()
            || self.moves_by_hand()
            || self.window.has_word()
            || self.asides.iter().any(|(aside, _)| !aside.is_question() && *aside != Aside::HoldProof)
    }

    /// What the machine is at that was not started here.
    pub(super) fn own_work(&self) -> Option<Work> {
        if self.phase != Phase::Ready || self.is_ours() {
            return None;
        }
        let own = &self.own_work;
        match self.condition {
            Some(Condition::Check) => return Some(Work::Checks),
            Some(Condition::Run | Condition::Holding) if own.reports >= RUN_REPORTS => {
                let printed = own.card.clone().filter(|card| *card != Card::Rests).map(Work::Prints);
                return Some(own.runs.clone().map(Work::Runs).or(printed).unwrap_or(Work::Moves));
            }
            _ => {}
        }
        match &own.card {
            Some(card) if *card != Card::Rests => Some(Work::Prints(card.clone())),
            _ if own.moves => Some(Work::Moves),
            _ if own.works => Some(Work::Works),
            _ => None,
        }
    }

    /// The machine says something of a print from its card.
    pub(super) fn hear_card(&mut self, card: Card) {
        let own = &mut self.own_work;
        own.card_unanswered = 0;
        if matches!(card, Card::Opened(_) | Card::Printing(_)) && self.run.is_some() {
            return self.another_hand(super::hands::Sign::Card);
        }
        let own = &mut self.own_work;
        own.paused = self.run.is_none() && own.stands_in_the_middle(&card);
        let card = if matches!(card, Card::Done | Card::Paused) { Card::Rests } else { card };
        let began = card != Card::Rests && own.card.as_ref().is_none_or(|known| *known == Card::Rests);
        if card == Card::Rests && own.card.as_ref().is_some_and(|known| *known != Card::Rests) {
            // What it has planned of it may still move.
            self.reporting.stood = false;
        }
        own.card = Some(match (card, own.card.take()) {
            // The name stood in the line before.
            (Card::Opened(name), Some(Card::Opened(known))) if name.is_empty() => Card::Opened(known),
            (card, _) => card,
        });
        self.known.generation += 1;
        if began {
            // Whether it prints what was chosen shows at the next question.
            self.deadlines.ask = self.deadlines.ask.map(|at| at.min(self.now + LOOK_AGAIN));
        }
    }

    /// The question for a print from the card was answered.
    pub(super) fn card_answered(&mut self) {
        // What it said of it came in front of the answer and has set this to zero.
        self.own_work.card_unanswered = self.own_work.card_unanswered.saturating_add(1);
        if !std::mem::replace(&mut self.own_work.card_asked, true) && self.may_still_move() {
            // Now it is known whether the machine may be told to come to its end.
            self.deadlines.ask = Some(self.now);
        }
    }

    /// Asks whether the machine prints from its card, where that can be and nothing of ours runs.
    pub(super) fn ask_for_card(&mut self) {
        let habits = self.dialect.habits();
        let Some(question) = habits.card.filter(|_| self.phase == Phase::Ready && self.own_work.has_card()) else {
            return;
        };
        // One that reports how it is says by itself whether anything moves; this says only what.
        let reports = matches!(habits.asking, Asking::Realtime { .. });
        let wanted = !reports || matches!(self.condition, Some(Condition::Run));
        if wanted && !self.is_ours() && !self.is_asked(Aside::Card) {
            self.asides.push_back((Aside::Card, question.to_owned()));
        }
    }

    /// Whether the machine may be asked to come to its end, to prove that it stands: that would stop another's print in the
    /// middle of its moves.
    pub(super) fn may_be_told_to_end(&self) -> bool {
        let reports = matches!(self.dialect.habits().asking, Asking::Realtime { .. });
        let asked = reports || self.dialect.habits().card.is_none() || self.own_work.card_asked;
        let prints = matches!(self.own_work.card, Some(Card::Printing(_) | Card::Opened(_)));
        asked && !prints && !self.own_work.moves
    }

    /// The machine says that it is busy.
    pub(super) fn busy_heard(&mut self) {
        // A question that was put is what it is late to answer; without one it says so of nothing that is known here.
        self.own_work.works |= self.phase == Phase::Ready && !self.window.is_empty() && !self.is_ours();
    }

    /// The machine answered: it is not busy any more.
    pub(super) fn busy_is_over(&mut self) {
        self.own_work.works = false;
    }

    /// What a report says of work that was not started here.
    pub(super) fn own_work_reported(&mut self, status: &Status) {
        let moves = matches!(status.condition, Some(Condition::Run | Condition::Holding)) && !self.is_ours();
        let idles = matches!(status.condition, Some(Condition::Check | Condition::Sleep)) && self.run.is_some();
        self.own_work.reports = if idles {
            self.own_work.reports
        } else if moves {
            self.own_work.reports.saturating_add(1)
        } else {
            0
        };
        let file = status.card.as_ref();
        if file.is_some() && self.run.is_some() {
            self.another_hand(super::hands::Sign::Card);
        }
        if self.own_work.runs.as_ref() != file {
            self.own_work.runs = file.cloned();
        }
    }

    /// A position was told. One that changes while nothing here moves the machine is somebody else's work.
    pub(super) fn note_own_motion(&mut self, place: [f64; 3]) {
        // Only where it is asked for its position again and again: elsewhere nothing would show that it stands.
        let habits = self.dialect.habits();
        let asks = |commands: &[&str]| commands.iter().any(|command| habits.asks_position(command.as_bytes()));
        let asked = matches!(habits.asking, Asking::Commands { commands, .. } if asks(commands));
        if !asked || self.phase != Phase::Ready || self.is_ours() {
            self.own_work.places = [None; 2];
            self.own_work.moves = false;
            return;
        }
        if self.own_work.note_place(place) {
            self.deadlines.ask = self.deadlines.ask.map(|at| at.min(self.now + LOOK_AGAIN));
        } else if self.own_work.moves && self.own_work.alike >= ALIKE_MIN {
            self.own_work.moves = false;
            // A long move tells one position: that it is over has to be proven.
            self.reporting.stood = false;
        }
    }

    /// The machine reports in the middle of a run that it checks, or sleeps: it executes nothing of what it takes.
    pub(super) fn run_does_nothing(&mut self, checks: bool) {
        self.own_work.reports += 1;
        if self.own_work.reports < RUN_REPORTS {
            return;
        }
        let (code, what) = if checks {
            ("machine.check_mode", "The machine is in check mode: it took lines of the job and moved nothing")
        } else {
            ("machine.asleep", "The machine went to sleep in the middle of the job")
        };
        let line = self.run.as_ref().map_or(0, |run| run.progress.executed_line);
        let notice = Notice::new(
            code,
            format!("{what}, after line {line} at the latest."),
            "The job is over; nothing more was sent.",
            "Reset the machine, look at the work, and start again.",
        );
        self.window.clear();
        self.asides.clear();
        self.end_run(JobPhase::Failed, Some(notice));
    }

    /// What is told of a print that was not started here and stands.
    pub(super) fn print_paused(&self) -> Notice {
        Notice::new(
            "machine.print_paused",
            format!(
                "A print that was not started here stands in the middle: it was paused or ended at the machine.{}",
                self.what_is_on()
            ),
            "Nothing but questions was sent, and no job is taken meanwhile.",
            "Resume or end it at the machine. If it is over, look at the bed, then clear it.",
        )
    }

    /// What is told of a machine at work that was not started here.
    pub(super) fn work_notice(&self, work: &Work) -> Notice {
        let on = self.what_is_on();
        let (code, what) = match work {
            Work::Prints(Card::Printing(Some([done, size]))) if *size > 0 => (
                "machine.prints",
                format!(
                    "It prints a file from its own card, or one that another host gave it: {} % of it are read.",
                    (done.min(size) * 100) / size
                ),
            ),
            Work::Prints(Card::Opened(name)) if !name.is_empty() => {
                ("machine.prints", format!("The file `{name}` on its own card was chosen to be printed."))
            }
            Work::Prints(_) => ("machine.prints", "It prints a file from its own card.".to_owned()),
            Work::Runs(file) => ("machine.prints", format!("It runs a file from its own card (`{file}`).")),
            Work::Moves => ("machine.moves", "It moves, and nothing here told it to.".to_owned()),
            Work::Works => {
                ("machine.works", "It says that it is busy, with something that was not started here.".to_owned())
            }
            Work::Checks => (
                "machine.check_mode",
                "It is in check mode: it reads programs, and moves nothing of what they say.".to_owned(),
            ),
        };
        let to_do = match work {
            Work::Checks => "Switch check mode off (`$C` in a terminal, or reset the controller).",
            _ => "Wait until it is done, or end it at the machine or where it was started. STOP halts it at once.",
        };
        let done = "Nothing but questions was sent, and no job is taken meanwhile.";
        Notice::new(code, format!("{what}{on}"), done, to_do)
    }

    /// What turns, burns or heats, in a sentence behind another; nothing where nothing does.
    pub(super) fn what_is_on(&self) -> String {
        let heats = self.known.temperatures.iter().filter_map(|heater| {
            let target = heater.target_c.filter(|target| *target > 0.0)?;
            Some(format!("{} is set to {target:.0} °C and has {:.0} °C", heater.heater, heater.actual_c.value))
        });
        let tool = if self.profile.laser.is_some() { "the laser" } else { "the spindle" };
        let turns = self.known.spindle.filter(|_| self.spindle_runs());
        let turns = turns.map(|spindle| format!("{tool} is on (S{:.0})", spindle.value));
        let on: Vec<String> = turns.into_iter().chain(heats).collect();
        if on.is_empty() { String::new() } else { format!(" What is on: {}.", on.join("; ")) }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn three_places_in_a_row_are_motion_and_a_damaged_digit_is_none() {
        let mut own = OwnWork::default();
        for x in [1.0, 1.0, 7.0, 1.0, 1.0] {
            own.note_place([x, 0.0, 0.0]);
        }
        assert!(!own.moves, "there and back again: a digit was damaged on its way");
        for x in [2.0, 3.0] {
            own.note_place([x, 0.0, 0.0]);
        }
        assert!(own.moves);
        assert_eq!(own.alike, 0);
    }
}
