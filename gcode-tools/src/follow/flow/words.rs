//! O-words as they stand in a line.

use crate::block::{Block, Item};

/// One O-word of the program.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) name: Vec<u8>,
    pub(super) keyword: Keyword,
    /// What follows the keyword: conditions, arguments.
    pub(super) rest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Keyword {
    Sub,
    EndSub,
    Call,
    Return,
    If,
    ElseIf,
    Else,
    EndIf,
    While,
    EndWhile,
    Do,
    DoWhile,
    Repeat,
    EndRepeat,
    Break,
    Continue,
    /// A number alone: the name of a program, or where a subprogram for M98 begins.
    Label,
}

const KEYWORDS: [(&[u8], Keyword); 15] = [
    (b"endwhile", Keyword::EndWhile),
    (b"endrepeat", Keyword::EndRepeat),
    (b"endsub", Keyword::EndSub),
    (b"endif", Keyword::EndIf),
    (b"elseif", Keyword::ElseIf),
    (b"else", Keyword::Else),
    (b"continue", Keyword::Continue),
    (b"return", Keyword::Return),
    (b"repeat", Keyword::Repeat),
    (b"while", Keyword::While),
    (b"break", Keyword::Break),
    (b"call", Keyword::Call),
    (b"sub", Keyword::Sub),
    (b"if", Keyword::If),
    (b"do", Keyword::Do),
];

impl Word {
    /// The O-word of a line, if it has one.
    pub(super) fn read(block: &Block) -> Option<Self> {
        let Item::Flow { name, rest, .. } = block.items().find(|item| matches!(item, Item::Flow { .. }))? else {
            return None;
        };
        let name_of =
            |name: &[u8]| name.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
        if rest.is_empty() {
            return Some(Self { name: name_of(name), keyword: Keyword::Label, rest: Vec::new() });
        }
        let lower = rest.to_ascii_lowercase();
        let (text, keyword) = KEYWORDS.iter().find(|(text, _)| lower.starts_with(text))?;
        Some(Self { name: name_of(name), keyword: *keyword, rest: rest[text.len()..].trim_ascii().to_vec() })
    }
}

/// The bracketed arguments of a call.
pub(super) fn arguments(text: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'[' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    found.push(&text[start..=at]);
                }
            }
            _ => {}
        }
    }
    found
}
