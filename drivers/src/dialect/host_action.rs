//! `//action:…`: what a printer tells its host of what somebody did at its own display.
//!
//! ```text
//! < //action:pause                            "pause print" was chosen at the display
//! < //action:resume
//! < //action:prompt_begin Paused              M600 waits for filament
//! < //action:prompt_button PurgeMore
//! < //action:prompt_button Continue
//! < //action:prompt_show
//! > M876 S1
//! < //action:prompt_end
//! ```
//!
//! Sources: Marlin `src/feature/host_actions.cpp` and its documentation of M876; Prusa-Firmware `Marlin_main.cpp` and
//! `ultralcd.cpp` (which set a space behind the slashes).

use super::{HostAction, Prompt, Reply, printable};

/// What stands behind the two slashes.
pub(super) fn read(text: &[u8]) -> Reply {
    let Some(action) = text.strip_prefix(b"action:") else { return Reply::Message(printable(text)) };
    let action = action.trim_ascii();
    let end = action.iter().position(u8::is_ascii_whitespace).unwrap_or(action.len());
    let rest = printable(&action[end..]);
    match &action[..end] {
        b"pause" | b"paused" => Reply::Action(HostAction::Pause),
        b"resume" | b"resumed" => Reply::Action(HostAction::Resume),
        b"cancel" => Reply::Action(HostAction::Cancel),
        b"disconnect" => Reply::Action(HostAction::Disconnect),
        b"prompt_begin" => Reply::Prompt(Prompt::Begin(rest)),
        b"prompt_choice" | b"prompt_button" => Reply::Prompt(Prompt::Choice(rest)),
        b"prompt_show" => Reply::Prompt(Prompt::Show),
        b"prompt_end" => Reply::Prompt(Prompt::End),
        b"notification" => Reply::Message(rest),
        _ => Reply::Message(printable(text)),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_was_done_at_the_display_is_told_from_what_is_only_said() {
        for (text, reply) in [
            (&b"action:paused"[..], Reply::Action(HostAction::Pause)),
            (b"action:resume", Reply::Action(HostAction::Resume)),
            (b"action:cancel", Reply::Action(HostAction::Cancel)),
            (b"action:prompt_begin Load filament", Reply::Prompt(Prompt::Begin("Load filament".into()))),
            (b"action:prompt_button Continue", Reply::Prompt(Prompt::Choice("Continue".into()))),
            (b"action:prompt_show", Reply::Prompt(Prompt::Show)),
            (b"action:notification 50 %", Reply::Message("50 %".into())),
            (b"action:pauses", Reply::Message("action:pauses".into())),
            (b"a remark", Reply::Message("a remark".into())),
        ] {
            assert_eq!(read(text), reply);
        }
    }
}
