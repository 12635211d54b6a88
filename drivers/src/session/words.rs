//! What a printer says in words, and what the session does about it: see `dialect::words` for the tables.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::undone::Fate;
use super::{Session, Stage};
use crate::dialect::{Effect, Reply, Said};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::moment::Moment;
use crate::notice::Notice;
use crate::session::run::Run;
use crate::snapshot::{Cause, JobPhase};

/// How long a request to say a line again may come behind the error that explains it. They are written one behind the
/// other.
const DOUBT: Duration = Duration::from_millis(500);

/// For how long what a machine said explains the alarm behind it. Smoothieware writes both at once.
const JUST_NOW: Duration = Duration::from_secs(1);

/// What was said.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Words {
    /// An error that no table knows: on a bad wire it may be a known one, behind which a line is asked for again.
    doubted: Option<(Said, About)>,
    /// The last complaint, and when.
    last: Option<(Moment, String)>,
}

/// What a machine speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum About {
    /// A command of the job.
    Line(u64),
    /// Something a person asked for.
    Hand(Aside),
    /// A question of the agent's own, to which an answer in words means that there is none.
    Question,
    /// Itself, or nobody knows what.
    Itself,
}

impl Session {
    /// A machine said something in words.
    pub(super) fn hear_said(&mut self, said: Said) {
        if matches!(said.effect, Effect::Ignore | Effect::Spoil | Effect::Refuse) {
            // Beside the answer to a line, and not by itself.
            self.sign_of_life();
            self.complaint_spoils_proof();
        }
        let about = self.about(&said);
        if said.unknown && self.dialect.habits().numbered && self.run.is_some() {
            self.words.doubted = Some((said, about));
            self.deadlines.doubt = Some(self.now + DOUBT);
            return;
        }
        self.act_on(&said, about);
    }

    /// What follows an unknown error shows whether it was one.
    pub(super) fn settle_doubt(&mut self, next: &Reply) {
        if self.words.doubted.is_none() || matches!(next, Reply::Chatter) {
            return;
        }
        if matches!(next, Reply::Resend { .. }) {
            self.words.doubted = None;
            self.deadlines.doubt = None;
            self.known.link.damaged_heard += 1;
            return;
        }
        self.doubt_is_over();
    }

    /// No request to say a line again came: the error is one.
    pub(super) fn doubt_is_over(&mut self) {
        self.deadlines.doubt = None;
        if let Some((said, about)) = self.words.doubted.take() {
            self.act_on(&said, about);
        }
    }

    /// The conversation is over: no request to say a line again will come, and nothing is left that the error could end.
    pub(super) fn doubt_is_moot(&mut self) {
        if let Some((said, _)) = self.words.doubted.take() {
            let notice = Notice::new(
                said.code.clone(),
                format!("{} The conversation ended right behind that.", in_sentence(&said)),
                "Nothing was done about it.",
                "Look at the machine.",
            );
            self.tell(EventKind::Trouble { notice });
        }
    }

    fn about(&self, said: &Said) -> About {
        let of_a_line = matches!(said.effect, Effect::Ignore | Effect::Spoil | Effect::Refuse);
        let stops = matches!(said.effect, Effect::Fault | Effect::Hold | Effect::Paused);
        if let Some(ordinal) = self.spoken_of(&said.text).filter(|_| of_a_line) {
            return About::Line(ordinal);
        }
        match self.window.oldest() {
            // Repetier asks for a pause where homing fails, whoever wanted that (`Printer.cpp`).
            Some(Frame::Aside(aside @ (Aside::Home | Aside::Jog | Aside::Probe | Aside::Word)))
                if of_a_line || (stops && self.run.is_none()) =>
            {
                About::Hand(aside)
            }
            Some(Frame::Aside(Aside::Settings | Aside::Arm | Aside::KeepAlive | Aside::AutoReport)) if of_a_line => {
                About::Question
            }
            _ => About::Itself,
        }
    }

    fn act_on(&mut self, said: &Said, about: About) {
        if !matches!(said.effect, Effect::Ignore | Effect::Halt) {
            self.words.last = Some((self.now, said.text.clone()));
        }
        match (said.effect, about) {
            (Effect::Tell | Effect::Damaged | Effect::Gap, _) => {
                self.tell(EventKind::Message { text: said.text.clone() });
            }
            (Effect::Ignore, About::Question) => {
                self.may_be_silent(&said.text);
                self.tell(EventKind::Message { text: said.text.clone() });
            }
            (_, About::Question) => {}
            (_, About::Hand(aside)) => {
                self.hand_answered(aside, true);
                self.request_refused(aside, said.code.clone(), &in_sentence(said));
            }
            (Effect::Ignore, about) => {
                self.undone(about, Fate::Ignored, said);
                self.tell(EventKind::Message { text: said.text.clone() });
            }
            (Effect::Spoil, about) => self.complained(about, Some(Fate::Ignored), said),
            (Effect::Refuse, about) => self.complained(about, Some(Fate::Refused), said),
            (Effect::Fault, about) => self.complained(about, None, said),
            (Effect::Hold | Effect::Paused, _) => self.asked_to_hold(said),
            (Effect::End, _) => self.asked_to_end(said),
            (Effect::Halt, _) => self.halted(&said.text, true),
        }
    }

    fn undone(&mut self, about: About, fate: Fate, said: &Said) {
        if let (About::Line(ordinal), Some(run)) = (about, &mut self.run) {
            run.note_undone(ordinal, fate, &said.text);
        }
    }

    /// The machine complains: the job does what the profile says.
    fn complained(&mut self, about: About, fate: Option<Fate>, said: &Said) {
        let line = match (about, &self.run) {
            (About::Line(ordinal), Some(run)) => run.line_in_words(ordinal),
            _ => None,
        };
        if let Some(fate) = fate {
            self.undone(about, fate, said);
        }
        let sentence = in_sentence(said);
        let happened = match (line, fate) {
            (Some(line), Some(Fate::Refused)) => format!("The machine refused {line}: {sentence}"),
            (Some(line), _) => format!("The machine did not do {line} as it stands: {sentence}"),
            (None, _) => match self.line_under_way() {
                Some(line) => format!("{sentence} That was at {line}."),
                None => sentence,
            },
        };
        self.trouble_in_job(said.code.clone(), happened);
    }

    /// The oldest command without an answer, in words.
    fn line_under_way(&self) -> Option<String> {
        let run = self.run.as_ref()?;
        run.line_in_words(self.window.oldest_job()?)
    }

    /// The machine wants the job to pause.
    fn asked_to_hold(&mut self, said: &Said) {
        let ending = |run: &Run| run.is_safe_end() || run.stage == Stage::Cancelling;
        if self.run.as_ref().is_some_and(ending) {
            return;
        }
        let sentence = in_sentence(said);
        let happened = match self.line_under_way() {
            Some(line) => format!("The machine asks for a pause. {sentence} That was at {line}."),
            None => format!("The machine asks for a pause. {sentence}"),
        };
        let to_do = "Go to the machine, put it right, then resume or cancel.";
        match &self.run {
            Some(run) if run.is_holding() || run.stage == Stage::Asking => {
                self.asked_to_hold_again(&said.code, &sentence, happened);
            }
            Some(_) => {
                let done = "The job is held; nothing more is said to the machine.";
                self.hold(Cause::Machine, Some(Notice::new(said.code.clone(), happened, done, to_do)));
                self.paused_there(said.effect == Effect::Paused);
            }
            None => self.tell_beside(Notice::new(said.code.clone(), happened, "No job is running.", to_do)),
        }
    }

    /// The machine asks for a pause while the job stands already: what it says may be another reason, and whoever lets the
    /// job go on has to know it.
    fn asked_to_hold_again(&mut self, code: &str, sentence: &str, happened: String) {
        let known = self.known.notice.as_ref();
        if known.is_some_and(|known| known.code == code && known.happened.contains(sentence)) {
            return;
        }
        let asking = self.run.as_ref().is_some_and(|run| run.stage == Stage::Asking);
        let to_do = if asking {
            format!("Go to the machine and put that right. {} Then resume or cancel.", self.tool_asked())
        } else {
            "Go to the machine, put it right, then resume or cancel.".to_owned()
        };
        let done = "The job stands already; nothing more is said to the machine.";
        self.tell_trouble(Notice::new(code, happened, done, to_do));
    }

    /// The machine wants the job to end.
    fn asked_to_end(&mut self, said: &Said) {
        let happened = format!("The machine asks for the job to be ended. {}", in_sentence(said));
        let job = self.run.is_some();
        let done = if job { "The job is being ended safely." } else { "No job is running." };
        let notice = Notice::new(said.code.clone(), happened, done, "Look at the machine and its display.");
        if job {
            self.cancel_as(JobPhase::Failed, Some(notice));
        } else {
            self.tell(EventKind::Trouble { notice });
        }
    }

    /// What the machine complained of last, where that was a moment ago.
    pub(super) fn said_just_now(&self) -> Option<&str> {
        let (at, text) = self.words.last.as_ref()?;
        (self.now.since(*at) <= JUST_NOW).then_some(text.as_str())
    }
}

fn in_sentence(said: &Said) -> String {
    match said.text.trim_end_matches(['.', ':', ' ']) {
        "" => "The machine gives no reason.".to_owned(),
        text => format!("The machine says: {text}."),
    }
}
